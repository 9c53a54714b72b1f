"""Moving parts of molecules: turned about an axis, or to given distances between atoms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
_LARGEST_STEP = 0.1  # angstrom of a distance in one step: linear enough for Gauss-Newton
_PRECISION = 1e-3  # angstrom


def moved(atoms: Atoms, positions: Floats, sampled_by: str) -> Atoms:
    """A copy elsewhere, which says what it was sampled by; without calculator and momenta.

    Args:
        atoms: the structure.
        positions: (N, 3), angstrom.
        sampled_by: words for a reader, such as "stretch O-H 1.80".
    """
    info: Mapping[str, Any] = {**atoms.info, "sampled_by": sampled_by}
    return Atoms(numbers=atoms.numbers, positions=positions, cell=atoms.cell, pbc=atoms.pbc, info=dict(info))


def turned(positions: Floats, chosen: NDArray[np.intp], centre: Floats, axis: Floats, angle: float) -> Floats:
    """Positions with some atoms turned about an axis, (N, 3).

    Args:
        positions: (N, 3), angstrom.
        chosen: indices of what turns.
        centre: a point of the axis, (3,).
        axis: its direction, (3,), of any length but zero.
        angle: degrees, right-handed.
    """
    rotation = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))
    result = positions.copy()
    result[chosen] = rotation.apply(positions[chosen] - centre) + centre
    return result


def with_distances(positions: Floats, pairs: NDArray[np.intp], distances: Floats, steps: int = 60) -> Floats | None:
    """Positions nearby at which pairs of atoms have given distances, by Gauss-Newton steps of the smallest norm.

    Args:
        positions: start, (N, 3), angstrom.
        pairs: (P, 2).
        distances: (P,), angstrom.
        steps: largest number of steps.

    Returns:
        Positions, (N, 3); None where there are none within these steps, such as for a triangle that cannot be.
    """
    result = positions.copy()
    rows = np.arange(len(pairs))
    for _ in range(steps):
        vectors = result[pairs[:, 0]] - result[pairs[:, 1]]  # (P, 3)
        lengths = np.linalg.norm(vectors, axis=1)
        missing = distances - lengths
        if np.abs(missing).max(initial=0.0) < _PRECISION:
            return result
        units = vectors / np.maximum(lengths, 1e-9)[:, None]
        jacobian = np.zeros((len(pairs), *positions.shape))
        jacobian[rows, pairs[:, 0]] = units
        jacobian[rows, pairs[:, 1]] = -units
        step = np.clip(missing, -_LARGEST_STEP, _LARGEST_STEP)
        result += np.linalg.lstsq(jacobian.reshape(len(pairs), -1), step, rcond=1e-6)[0].reshape(-1, 3)
    return None
