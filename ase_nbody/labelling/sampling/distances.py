"""Structures of one composition compared by their interatomic distances."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_PAIRS_OF_EIGHT = 28  # atoms


def composition(atoms: Atoms) -> tuple[object, ...]:
    """What two structures must share to be compared: their elements and periodic directions."""
    return (*sorted(atoms.numbers.tolist()), "|", *atoms.pbc.tolist())


def interatomic_distances(atoms: Atoms) -> Floats:
    """Distances sorted within each pair of elements, angstrom: equal for equal structures however atoms are ordered.

    Of a crystal those of nearest images, and the lengths of the cell vectors and their sums and differences.

    Args:
        atoms: N atoms.

    Returns:
        (N (N - 1) / 2,), and 4, 13 or 1 more for crystals; of one length for one composition.
    """
    first, second = np.triu_indices(len(atoms), k=1)
    matrix = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    lengths = matrix[first, second]
    low = np.minimum(atoms.numbers[first], atoms.numbers[second])
    high = np.maximum(atoms.numbers[first], atoms.numbers[second])
    by_pair = lengths[np.lexsort((lengths, high, low))]
    return np.concatenate([by_pair, _lattice_lengths(atoms)])


def _lattice_lengths(atoms: Atoms) -> Floats:
    """Lengths of the shortest lattice vectors along the periodic directions, sorted."""
    ranges = [(-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc]
    shifts = [shift for shift in product(*ranges) if shift > (0, 0, 0)]
    return np.sort(np.linalg.norm(np.array(shifts).reshape(-1, 3) @ atoms.cell.array, axis=1))


def differences(distances: Floats, others: Sequence[Floats]) -> Floats:
    """Root mean square differences of distances to those of other structures of the composition, (S,), angstrom."""
    if not others or not distances.size:
        return np.zeros(len(others))
    rms: Floats = np.sqrt(np.mean((np.array(others) - distances) ** 2, axis=1))
    return rms


def are_one(distances: Floats, others: Sequence[Floats], resolution: float) -> bool:
    """Whether a structure differs from one of others of its composition by less than the resolution.

    Sorting many distances evens their differences out, so that two frames of dynamics of a crystal look alike: beyond
    8 atoms the resolution falls as the root of their number. Atoms alone, which have no distances, are one.

    Args:
        distances: as `interatomic_distances` gives them.
        others: of structures of the same composition.
        resolution: root mean square difference, angstrom.
    """
    finer = resolution * min(1.0, (_PAIRS_OF_EIGHT / max(distances.size, 1)) ** 0.25)
    return bool(len(others)) and float(differences(distances, others).min()) <= finer
