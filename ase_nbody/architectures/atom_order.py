"""An order of the atoms in which those that are near in space, and of one element, are near in memory.

Gradients by the states of an atom are sums over its neighbours, of each of which some kilobytes are read. Where atoms
that follow each other have the same neighbours, these are still in the processor's cache; where they are of one
element, tables of radial functions are too. In a file of molecules, or a crystal that has melted, it is not so: an
evaluation may take twice as long. `benchmarks/atom_order.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.structures import cell_frame

FEWEST = 128
"""Atoms below which everything stays in the cache whatever the order is."""
_WIDTH = 4.0  # angstrom, of the columns of space in which atoms follow each other
_BLOCK = 32  # atoms whose neighbours are counted together
_BLOCKS = 8
_GAIN = 0.8  # neighbours of blocks in the other order, over those in the own, from which on it is worth taking


@dataclass(frozen=True)
class AtomOrder:
    """Atoms and edges of a graph in another order.

    Attributes:
        atoms: the atom at each place, (N,) int64.
        edges: the edge at each place, (E,) int64.
        edge_list: who is whose neighbour, by places.
    """

    atoms: Tensor
    edges: Tensor
    edge_list: EdgeList

    def of_atoms(self, values: Tensor) -> Tensor:
        """What stands at places, (N, ...), by the atoms."""
        return torch.empty_like(values).index_copy_(0, self.atoms, values)

    def of_edges(self, values: Tensor) -> Tensor:
        """What stands at places of edges, (E, ...), by the edges."""
        return torch.empty_like(values).index_copy_(0, self.edges, values)


def local_order(graph: Graph) -> AtomOrder | None:
    """Another order of the atoms of one structure, if one is much better than theirs.

    Args:
        graph: on the CPU.
    """
    if graph.n_structures > 1 or graph.n_atoms < FEWEST:
        return None
    atoms = _along_columns(graph)
    edges = graph.edges
    offsets, senders = edges.receiver_offsets.numpy(), edges.senders.numpy()
    own = np.arange(graph.n_atoms)
    if _neighbours_of_blocks(atoms, offsets, senders) >= _GAIN * _neighbours_of_blocks(own, offsets, senders):
        return None
    return _ordered(edges, torch.from_numpy(atoms))


def _along_columns(graph: Graph) -> NDArray[np.int64]:
    """Atoms of each element column by column of space, there and back, so that whoever follows is near."""
    positions, pbc = graph.positions.double().numpy(), graph.pbc[0].numpy()
    cell = cell_frame(graph.cell[0].double().numpy(), pbc)
    fractions = positions @ np.linalg.inv(cell)
    wrapped = positions - np.where(pbc, np.floor(fractions), 0.0) @ cell
    places = wrapped - wrapped.min(axis=0)
    longest, *others = np.argsort(-np.ptp(places, axis=0), kind="stable")
    row, column = (places[:, direction] // _WIDTH for direction in others)
    column = np.where(row % 2, -column, column)
    turns = (row + np.abs(column)) % 2  # odd for every second column of the way
    along = np.where(turns, -places[:, longest], places[:, longest])
    return np.lexsort((along, column, row, graph.atomic_numbers.numpy()))


def _neighbours_of_blocks(order: NDArray[np.int64], offsets: NDArray[np.int64], senders: NDArray[np.int64]) -> int:
    """Different neighbours of some blocks of atoms that follow each other, summed over the blocks."""
    starts = np.linspace(0, len(order) - _BLOCK, _BLOCKS).astype(int)
    blocks = (order[start : start + _BLOCK] for start in starts)
    return sum(
        len(np.unique(np.concatenate([senders[offsets[atom] : offsets[atom + 1]] for atom in block])))
        for block in blocks
    )


def _ordered(edges: EdgeList, atoms: Tensor) -> AtomOrder:
    """The edges of atoms in an order, (N,), without sorting."""
    place_of = torch.empty_like(atoms).index_copy_(0, atoms, torch.arange(len(atoms)))
    numbers, receiver_offsets = _ranges(edges.receiver_offsets, atoms)
    listed, sender_offsets = _ranges(edges.sender_offsets, atoms)
    edge_place = torch.empty_like(numbers).index_copy_(0, numbers, torch.arange(len(numbers)))
    edge_list = EdgeList(
        senders=place_of[edges.senders[numbers]],
        receivers=place_of[edges.receivers[numbers]],
        receiver_offsets=receiver_offsets,
        sender_order=edge_place[edges.sender_order[listed]],
        sender_offsets=sender_offsets,
    )
    return AtomOrder(atoms, numbers, edge_list)


def _ranges(offsets: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """What stands in the range of each atom, one atom after another, and where their ranges begin there, (N + 1,)."""
    counts = offsets.diff()[atoms]
    moved = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    shifts = (offsets[atoms] - moved[:-1]).repeat_interleave(counts)
    return torch.arange(len(shifts)) + shifts, moved
