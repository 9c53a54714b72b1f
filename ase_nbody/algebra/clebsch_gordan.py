"""Real Clebsch-Gordan coefficients in e3nn's basis with a phase convention of our own.

e3nn's `wigner_3j` changes sign between releases, and a model file must not. The convention: the first coefficient
that is not zero, in the order of its three components, is positive. The coefficients were taken from e3nn once
(`python -m ase_nbody.algebra.clebsch_gordan` writes them again) and are stored beside this file, so that e3nn need not
be imported to run a model.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_DEGREE = 4
_STORED = Path(__file__).with_name("clebsch_gordan.npz")
_ZERO = 1e-9  # e3nn's coefficients are exact to 1e-15; the smallest that is not zero is above 1e-3


def with_phase_convention(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same coefficients with rounding errors removed and the first one positive, (2l1+1, 2l2+1, 2l3+1)."""
    cleaned = np.where(np.abs(coefficients) > _ZERO, coefficients, 0.0)
    first = cleaned.ravel()[np.flatnonzero(cleaned)[0]]
    signed: NDArray[np.float64] = cleaned * np.sign(first)
    return signed


@cache
def _stored() -> dict[str, NDArray[np.float64]]:
    with np.load(_STORED, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@cache
def clebsch_gordan(degree1: int, degree2: int, degree3: int) -> NDArray[np.float64]:
    """Coefficients that project the product of two irreps on a third, (2l1+1, 2l2+1, 2l3+1), of unit norm.

    Raises:
        ValueError: the degrees break the triangle rule, or are higher than those stored.
    """
    if not abs(degree1 - degree2) <= degree3 <= degree1 + degree2:
        raise ValueError(f"degrees {degree1}, {degree2}, {degree3} break the triangle rule |l1 - l2| <= l3 <= l1 + l2")
    if max(degree1, degree2, degree3) > MAX_DEGREE:
        raise ValueError(f"degrees {degree1}, {degree2}, {degree3} go beyond the stored ones, at most {MAX_DEGREE}")
    return _stored()[f"{degree1}{degree2}{degree3}"]


def from_e3nn(degree1: int, degree2: int, degree3: int) -> NDArray[np.float64]:
    """The same coefficients from the installed e3nn, whatever its phases."""
    import torch
    from e3nn import o3

    return with_phase_convention(o3.wigner_3j(degree1, degree2, degree3, dtype=torch.float64).numpy())


def _write() -> None:
    degrees = range(MAX_DEGREE + 1)
    triples = [(a, b, c) for a in degrees for b in degrees for c in degrees if abs(a - b) <= c <= a + b]
    arrays = {f"{a}{b}{c}": from_e3nn(a, b, c) for a, b, c in triples}
    np.savez_compressed(_STORED, allow_pickle=False, **arrays)


if __name__ == "__main__":
    _write()
