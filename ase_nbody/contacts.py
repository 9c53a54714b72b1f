"""Contacts: edges shorter than a limit of their pair of elements, found at little cost along a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.edges import EdgeList

Table = NDArray[np.float64]
"""A distance for each pair of atomic numbers, (119, 119), symmetric, angstrom."""


def pair_name(first: int, second: int) -> str:
    """The pair of two atomic numbers as a word of sorted symbols, such as "C-H"."""
    return "-".join(sorted((chemical_symbols[first], chemical_symbols[second])))


def distance_table(distances: Mapping[str, float], default: float = 0.0) -> Table:
    """Distances by pair of elements as a table.

    Args:
        distances: angstrom, by pair such as "C-H".
        default: of all other pairs, angstrom.
    """
    table = np.full((len(chemical_symbols), len(chemical_symbols)), default)
    for pair, distance in distances.items():
        first, second = (atomic_numbers[symbol] for symbol in pair.split("-"))
        table[first, second] = table[second, first] = distance
    return table


def larger_limits(first: Table | None, second: Table | None) -> Table | None:
    """The larger limit of each pair; None where there are none."""
    if first is None or second is None:
        return second if first is None else first
    return np.maximum(first, second)


class ContactSearch:
    """Finds the contacts of a structure whose list of edges is kept while its atoms move.

    An edge of length r0 when the list was built is at least narrowing * r0 - 2 u_max long now (see NeighbourCache).
    So edges that were longer than their limit by a margin need not be looked at while that bound holds.

    Args:
        senders: (E,).
        receivers: (E,).
        shifts: whole cells, (E, 3).
        numbers: atomic numbers, (N,).
        limits: distance below which an edge is a contact.
        margin: angstrom.
        positions: when the list was built, (N, 3), angstrom.
        cell: likewise, (3, 3), angstrom.
    """

    def __init__(
        self,
        senders: NDArray[np.int64],
        receivers: NDArray[np.int64],
        shifts: NDArray[np.float64] | NDArray[np.int64],
        numbers: NDArray[np.int64],
        limits: Table,
        margin: float,
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
    ) -> None:
        self._senders, self._receivers, self._shifts = senders, receivers, shifts
        self._limits = limits[numbers[senders], numbers[receivers]]  # (E,)
        self._largest_limit = float(self._limits.max(initial=0.0))
        self._margin = margin
        squared = _squared_lengths(senders, receivers, shifts, positions, cell)
        self._near = np.flatnonzero(squared < (self._limits + margin) ** 2)
        near = (senders[self._near], receivers[self._near], shifts[self._near])
        self._near_edges, self._near_squares = near, self._limits[self._near] ** 2

    def contacts(
        self, positions: NDArray[np.float64], cell: NDArray[np.float64], displacement: float, narrowing: float
    ) -> NDArray[np.int64]:
        """Numbers of the edges that are shorter than their limit, ascending.

        Args:
            positions: now, (N, 3), angstrom.
            cell: now, (3, 3), angstrom.
            displacement: largest of an atom since the list was built, u_max, angstrom.
            narrowing: smallest singular value of the deformation of the cell since then.
        """
        narrowing = min(narrowing, 1.0)
        bound_holds = 2.0 * displacement <= narrowing * self._margin - (1.0 - narrowing) * self._largest_limit
        if not bound_holds:
            squared = _squared_lengths(self._senders, self._receivers, self._shifts, positions, cell)
            return np.flatnonzero(squared < self._limits**2)
        if not len(self._near):
            return self._near
        return self._near[_squared_lengths(*self._near_edges, positions, cell) < self._near_squares]


def near_edges(atoms: Atoms, edges: EdgeList, shifts: Tensor, limits: Table, margin: float) -> Tensor:
    """Numbers of the edges shorter than their limits and a margin, ascending, (K,), found where the edges are.

    Args:
        atoms: the structure whose edges they are.
        edges: E edges.
        shifts: whole cells, (E, 3).
        limits: distance below which an edge is a contact.
        margin: angstrom.
    """

    def there(array: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float64, device=shifts.device)

    positions = there(atoms.positions)
    of_kinds, kinds = np.unique(atoms.numbers, return_inverse=True)
    table = there(limits[of_kinds][:, of_kinds])  # (T, T)
    kind = torch.as_tensor(kinds, device=shifts.device)
    vectors = positions[edges.senders] - positions[edges.receivers]
    vectors += shifts.double() @ there(atoms.cell.array)
    limit = table[kind[edges.receivers], kind[edges.senders]] + margin  # (E,)
    return (vectors.square().sum(dim=1) < limit**2).nonzero().squeeze(1)


def _squared_lengths(
    senders: NDArray[np.int64],
    receivers: NDArray[np.int64],
    shifts: NDArray[np.float64] | NDArray[np.int64],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> NDArray[np.float64]:
    vectors = positions.take(senders, axis=0) - positions.take(receivers, axis=0)
    if cell.any():
        vectors += shifts @ cell
    squared: NDArray[np.float64] = np.einsum("ex,ex->e", vectors, vectors)
    return squared
