"""Pairs of atoms closer than a cutoff: by matscipy's bins, or by a k-d tree where the box is nearly empty."""

from __future__ import annotations

import numpy as np
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ase_nbody.structures import cell_frame, cell_heights, reduced_cell

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]

_ALWAYS_BINNED = 100_000  # bins of the size of the cutoff, 4 bytes each: they cost nothing
_BINS_PER_ATOM = 10  # beyond that, bins cost more than a k-d tree, whose memory grows with the atoms alone
_ROUNDING = 1e-12  # relative; far above that of wrapped positions, so that no pair is lost by it


def neighbour_pairs(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> Pairs:
    """All pairs closer than the cutoff, images included, sorted by receiver, then sender, then shift.

    Memory grows with the number of atoms and pairs, however large or skewed the cell is.

    Args:
        positions: (N, 3), angstrom, wrapped or not; shifts belong to them.
        cell: rows, (3, 3), angstrom; rows without pbc are not used.
        pbc: (3,).
        cutoff: angstrom.

    Returns:
        Receivers (E,), senders (E,) and shifts (E, 3), zero along directions without pbc: the vector of a pair is
        positions[sender] - positions[receiver] + shift @ cell.
    """
    short, whole = reduced_cell(cell, pbc)
    box, origin = periodic_box(positions, short, pbc, cutoff)
    bins = np.prod(np.maximum(cell_heights(box) / cutoff, 1.0))
    if bins <= max(_ALWAYS_BINNED, _BINS_PER_ATOM * len(positions)):
        receivers, senders, shifts = neighbour_list(
            "ijS", cutoff=cutoff, positions=positions - origin, cell=box, pbc=pbc
        )
        shifts = np.where(pbc, shifts, 0)  # older matscipy: not zero outside the box, its issue 313
    else:
        receivers, senders, shifts = _tree_pairs(positions, box, pbc, cutoff)
    shifts = shifts @ whole
    keys = (shifts[:, 2], shifts[:, 1], shifts[:, 0], senders, receivers)
    order = np.lexsort(tuple(narrow(key) for key in keys))
    return receivers[order].astype(np.int64), senders[order].astype(np.int64), shifts[order]


def narrow(numbers: NDArray[np.int64]) -> NDArray[np.int64] | NDArray[np.int16]:
    """The same numbers in 16 bits where they fit: numpy sorts these by radix, in linear time."""
    fits = numbers.size and -(2**15) <= numbers.min() and numbers.max() < 2**15
    return numbers.astype(np.int16) if fits else numbers


def periodic_box(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The non-singular cell matscipy bins atoms in, (3, 3), and its origin, (3,); it spans the atoms without pbc."""
    box = cell_frame(cell, pbc)
    normals = box[~pbc]  # (D, 3)
    heights = positions @ normals.T  # (N, D)
    lowest = heights.min(axis=0)
    box[~pbc] *= np.maximum(heights.max(axis=0) - lowest, cutoff)[:, None]
    return box, lowest @ normals


def _tree_pairs(
    positions: NDArray[np.float64], box: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> Pairs:
    """Pairs of the atoms with all images that are near any atom, unsorted, by distances in a k-d tree."""
    radius = cutoff + _ROUNDING * (cutoff + np.abs(positions).max() + np.abs(box).max())
    fractions = positions @ np.linalg.inv(box)  # (N, 3)
    cells = np.where(pbc, np.floor(fractions), 0.0).astype(np.int64)
    atoms, steps = _images(fractions - cells, radius / cell_heights(box), pbc)
    wrapped = positions - cells @ box
    near = cKDTree(wrapped).sparse_distance_matrix(cKDTree(wrapped[atoms] + steps @ box), radius, output_type="ndarray")
    receivers, senders = near["i"], atoms[near["j"]]
    shifts = steps[near["j"]] - cells[senders] + cells[receivers]
    vectors = positions[senders] - positions[receivers] + shifts @ box
    itself = (receivers == senders) & ~shifts.any(axis=1)
    close = (np.linalg.norm(vectors, axis=1) < cutoff) & ~itself
    return receivers[close], senders[close], shifts[close]


def _images(
    fractions: NDArray[np.float64], reach: NDArray[np.float64], pbc: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Atoms (M,) and steps in whole cells (M, 3) of all images within reach of the span of the atoms, themselves too.

    Direction by direction, so that what is too far along one is not copied along the next.

    Args:
        fractions: of each cell vector, (N, 3), from 0 to 1 along directions with pbc.
        reach: fractions beyond the span that an image may lie, (3,).
        pbc: (3,).
    """
    lowest, highest = fractions.min(axis=0) - reach, fractions.max(axis=0) + reach
    atoms = np.arange(len(fractions))
    steps = np.zeros((len(fractions), 3), dtype=np.int64)
    for direction in np.flatnonzero(pbc):
        most = int(np.ceil(highest[direction] - lowest[direction]))
        tried = np.arange(-most, most + 1)
        places = fractions[atoms, direction][:, None] + tried  # (M, 2 most + 1)
        kept, chosen = np.nonzero((places >= lowest[direction]) & (places <= highest[direction]))
        atoms, steps = atoms[kept], steps[kept]
        steps[:, direction] = tried[chosen]
    return atoms, steps
