"""Torch's devices by what users call them."""

from __future__ import annotations

import torch
from ase.calculators.calculator import CalculatorSetupError


def torch_device(name: str) -> torch.device:
    """The device of a name; "auto" is cuda where there is one.

    Raises:
        CalculatorSetupError: it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name in there or (name == "cuda" and len(there) > 1):
        return torch.device(name)
    raise CalculatorSetupError(f"device {name!r} is not there; on this machine there are: auto, {', '.join(there)}")
