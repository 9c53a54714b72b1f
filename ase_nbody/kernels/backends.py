"""Which back end serves tensors on a device: chosen for the user, and can be named."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ase_nbody.cuda import backend as cuda

Backend = Literal["auto", "reference", "cpu", "cuda"]


def chosen(backend: Backend, states: Tensor) -> Literal["reference", "cpu", "cuda"]:
    """The back end that is meant.

    Args:
        backend: "reference" (torch, any device), "cpu" or "cuda" (compiled kernels), or "auto": the compiled kernels of
            the device where there are some.
        states: a tensor on the device of all.

    Raises:
        ValueError: there is no such back end, or it does not run on the device.
    """
    compiled = of_device(states)
    if backend == "auto":
        return compiled or "reference"
    if backend not in ("reference", "cpu", "cuda"):
        raise ValueError(f"back end {backend!r} is not there; choose auto, reference, cpu or cuda")
    if backend not in ("reference", compiled):
        others = f"auto, reference or {compiled}" if compiled else "auto or reference"
        raise ValueError(f"the {backend} back end does not take tensors on {_place(states)}; choose {others}")
    return backend


def of_device(states: Tensor) -> Literal["cpu", "cuda"] | None:
    """The compiled kernels that take tensors where these are."""
    if states.device.type == "cpu":
        return "cpu"
    return "cuda" if cuda.serves(states) else None


def _place(states: Tensor) -> str:
    without = states.device.type == "cuda" and not cuda.has_triton()
    return f"{states.device} without Triton 3.3 or newer (pip install triton)" if without else str(states.device)
