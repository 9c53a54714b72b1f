"""From ase.Atoms to Graph: checked structures and their neighbour lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_nbody.contacts import Table, near_edges
from ase_nbody.cuda.binned_pairs import binned_pairs
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.pairs import narrow, neighbour_pairs
from ase_nbody.structures import check_structure


def neighbour_graph(
    atoms: Atoms,
    cutoff: float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    groups: ArrayLike | None = None,
    limits: Table | None = None,
) -> Graph:
    """One structure and all its pairs closer than the cutoff, images included.

    Positions are kept as they are, wrapped or not, and shifts belong to them: the vector of an edge is
    positions[sender] - positions[receiver] + shift @ cell. Edges are sorted by receiver, then sender, then shift.

    Args:
        atoms: the structure; it is only read. Along directions without pbc its cell vectors may be zero.
        cutoff: largest distance between neighbours, angstrom.
        dtype: of positions, cell and shifts.
        device: where the tensors are put.
        groups: group of each atom for fragment schemes, (N,) whole numbers from 0 without gaps; the array "groups" of
            `atoms` if not given, and none where that is not there.
        limits: edges shorter than these are the graph's contacts; nobody looks for contacts if None.

    Returns:
        A graph of one structure. `graph.cell` is the cell of `atoms`, zero vectors included.

    Raises:
        ValueError: the cutoff is not positive, the structure fails `check_structure`, or groups do not fit it.
    """
    check_cutoff(cutoff)
    check_structure(atoms)
    edges, shifts = _pairs(atoms, cutoff, device)
    groups = atoms.arrays.get("groups") if groups is None else groups
    return Graph(
        atomic_numbers=torch.tensor(atoms.numbers, dtype=torch.int64, device=device),
        positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
        cell=torch.tensor(atoms.cell.array[None], dtype=dtype, device=device),
        pbc=torch.tensor(atoms.pbc[None], dtype=torch.bool, device=device),
        structure=torch.zeros(len(atoms), dtype=torch.int64, device=device),
        edges=edges.to(device),
        shifts=shifts.to(device, dtype),
        groups=None if groups is None else _group_tensor(groups, len(atoms), device),
        contacts=None if limits is None else near_edges(atoms, edges, shifts, limits, 0.0).to(device),
    )


def batch_graph(
    structures: Sequence[Atoms],
    cutoff: float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    limits: Table | None = None,
    elements: Sequence[str] | None = None,
    numbers: Sequence[int] | None = None,
) -> Graph:
    """Structures side by side: `batch_graphs` of `neighbour_graph`, and for molecules much faster.

    Args:
        structures: one at least; they are only read.
        cutoff: largest distance between neighbours, angstrom.
        dtype: of positions, cells and shifts.
        device: where the tensors are put.
        limits: edges shorter than these are the graph's contacts; nobody looks for contacts if None.
        elements: chemical symbols that are allowed; None: all.
        numbers: of the structures, which errors name; None: they do not.

    Returns:
        A graph of all structures.

    Raises:
        ValueError: as of `neighbour_graph` and `check_structure`.
    """
    check_cutoff(cutoff)
    for place, atoms in enumerate(structures):
        with _naming(None if numbers is None else numbers[place]):
            check_structure(atoms, elements)
    if len(structures) > 1 and not any(atoms.pbc.any() or "groups" in atoms.arrays for atoms in structures):
        return _graph_of_molecules(structures, cutoff, dtype, device, limits)
    graphs = []
    for place, atoms in enumerate(structures):
        with _naming(None if numbers is None else numbers[place]):
            graphs.append(neighbour_graph(atoms, cutoff, dtype=dtype, device=device, limits=limits))
    return batch_graphs(graphs)


def _graph_of_molecules(
    molecules: Sequence[Atoms], cutoff: float, dtype: torch.dtype, device: torch.device | str, limits: Table | None
) -> Graph:
    """Molecules in a row, so far apart that one search for pairs does for all."""
    sizes = [len(atoms) for atoms in molecules]
    positions = np.concatenate([atoms.positions for atoms in molecules])
    starts = np.cumsum([0, *sizes[:-1]])
    lowest, highest = (extreme.reduceat(positions, starts) for extreme in (np.minimum, np.maximum))  # (B, 3)
    moves = -lowest
    moves[1:, 0] += np.cumsum(highest - lowest, axis=0)[:-1, 0] + 2 * cutoff * np.arange(1, len(molecules))
    row = Atoms(np.concatenate([atoms.numbers for atoms in molecules]), positions + np.repeat(moves, sizes, axis=0))
    edges, shifts = _pairs(row, cutoff, device)
    return Graph(
        atomic_numbers=torch.tensor(row.numbers, dtype=torch.int64, device=device),
        positions=torch.tensor(positions, dtype=dtype, device=device),
        cell=torch.tensor(np.stack([atoms.cell.array for atoms in molecules]), dtype=dtype, device=device),
        pbc=torch.zeros(len(molecules), 3, dtype=torch.bool, device=device),
        structure=torch.arange(len(molecules), device=device).repeat_interleave(torch.tensor(sizes, device=device)),
        edges=edges.to(device),
        shifts=shifts.to(device, dtype),
        contacts=None if limits is None else near_edges(row, edges, shifts, limits, 0.0).to(device),
    )


@contextmanager
def _naming(number: int | None) -> Iterator[None]:
    """Errors with the number of a structure, where it has one."""
    try:
        yield
    except ValueError as error:
        if number is None:
            raise
        raise ValueError(f"structure {number}: {error}") from error


def _pairs(atoms: Atoms, cutoff: float, device: torch.device | str) -> tuple[EdgeList, Tensor]:
    """Edges and shifts, (E, 3) float64: on a GPU where that pays, and else on the CPU."""
    structure = (atoms.positions, atoms.cell.array, atoms.pbc, cutoff)
    found = binned_pairs(*structure, device) if torch.device(device).type == "cuda" else None
    if found is not None:
        return found
    receivers, senders, shifts = neighbour_pairs(*structure)
    return _edge_list(senders, receivers, len(atoms)), torch.from_numpy(shifts.astype(np.float64))


def _edge_list(senders: NDArray[np.int64], receivers: NDArray[np.int64], n_atoms: int) -> EdgeList:
    return EdgeList(
        senders=torch.from_numpy(senders),
        receivers=torch.from_numpy(receivers),
        receiver_offsets=_offsets(receivers, n_atoms),
        sender_order=torch.from_numpy(np.argsort(narrow(senders), kind="stable")),
        sender_offsets=_offsets(senders, n_atoms),
    )


def _offsets(nodes: NDArray[np.int64], n_nodes: int) -> Tensor:
    offsets = np.zeros(n_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(nodes, minlength=n_nodes), out=offsets[1:])
    return torch.from_numpy(offsets)


def _group_tensor(groups: ArrayLike, n_atoms: int, device: torch.device | str) -> Tensor:
    numbers = np.asarray(groups)
    if numbers.shape != (n_atoms,) or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"groups must be {n_atoms} whole numbers, one per atom, not {numbers.dtype} {numbers.shape}")
    found = np.unique(numbers)
    if not np.array_equal(found, np.arange(len(found))):
        raise ValueError(f"groups must be numbered 0, 1, 2, ... without gaps, not {found.tolist()}")
    return torch.tensor(numbers, dtype=torch.int64, device=device)


def check_cutoff(cutoff: float) -> None:
    """Refuse a cutoff that is not a length.

    Raises:
        ValueError: it is not a finite number above zero.
    """
    if not 0 < cutoff < np.inf:
        raise ValueError(f"the cutoff is {cutoff} angstrom; it must be a finite number above zero")
