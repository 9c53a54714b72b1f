"""symmetrix-xl with the random weights of with_mace.py, as in benchmarks/peers: time only."""

from __future__ import annotations

import torch
from ase.calculators.calculator import Calculator
from systems import box
from with_symmetrix import calculator as made


def calculator(kind: str, symbol: str, folder: str, dtype: str) -> Calculator:
    """The calculator of irreps such as 64x0e."""
    torch.set_num_threads(1)
    return made(box(symbol, 3), dtype, kind)
