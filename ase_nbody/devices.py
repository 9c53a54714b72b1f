"""Torch's devices by what users call them, and its modes, which other packages may have set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from ase.calculators.calculator import CalculatorSetupError

from ase_nbody.thread_count import forked, using_threads


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


@contextmanager
def plain_torch() -> Iterator[None]:
    """Torch without inference mode, default device and autocast inside, in this thread; as it was afterwards.

    In a forked process it uses one thread: its own threads are gone. Tensors made in inference mode cannot be
    differentiated later, and calculators keep what they make. It decorates functions too.
    """
    if _is_plain():
        yield
        return
    with ExitStack() as modes:
        modes.enter_context(using_threads(None))
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        yield


_AUTOCAST = ("cpu", "cuda")


def _is_plain() -> bool:
    """Whether `plain_torch` has nothing to do."""
    return not (
        forked()
        or torch.is_inference_mode_enabled()
        or torch.get_default_device().type != "cpu"
        or any(torch.is_autocast_enabled(kind) for kind in _AUTOCAST)
    )
