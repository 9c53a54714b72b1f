"""From ase.Atoms to Graph: checked structures and neighbour lists by matscipy."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from matscipy.neighbours import neighbour_list
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_nbody.contacts import ContactSearch, Table
from ase_nbody.graph import Graph
from ase_nbody.kernels.edges import EdgeList
from ase_nbody.structures import cell_frame, check_structure

_LARGEST_BOX = 100.0  # cutoffs along a direction without pbc: bounds matscipy's memory when atoms have flown away


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
    cell = atoms.cell.array
    receivers, senders, shifts = _pairs(atoms.positions, cell, atoms.pbc, cutoff)
    groups = atoms.arrays.get("groups") if groups is None else groups
    contacts = None
    if limits is not None:
        search = ContactSearch(senders, receivers, shifts, atoms.numbers, limits, 0.0, atoms.positions, cell)
        contacts = torch.from_numpy(search.contacts(atoms.positions, cell, 0.0, 1.0)).to(device)
    return Graph(
        atomic_numbers=torch.tensor(atoms.numbers, dtype=torch.int64, device=device),
        positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
        cell=torch.tensor(cell[None], dtype=dtype, device=device),
        pbc=torch.tensor(atoms.pbc[None], dtype=torch.bool, device=device),
        structure=torch.zeros(len(atoms), dtype=torch.int64, device=device),
        edges=_edge_list(senders, receivers, len(atoms)).to(device),
        shifts=torch.tensor(shifts, dtype=dtype, device=device),
        groups=None if groups is None else _group_tensor(groups, len(atoms), device),
        contacts=contacts,
    )


def _pairs(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Receivers (E,), senders (E,) and shifts (E, 3) of all pairs closer than the cutoff, sorted."""
    box, origin = _box(positions, cell, pbc, cutoff)
    receivers, senders, shifts = neighbour_list("ijS", cutoff=cutoff, positions=positions - origin, cell=box, pbc=pbc)
    shifts = np.where(pbc, shifts, 0)  # older matscipy: not zero outside the box, its issue 313
    keys = (shifts[:, 2], shifts[:, 1], shifts[:, 0], senders, receivers)
    order = np.lexsort(tuple(_narrow(key) for key in keys))
    return receivers[order].astype(np.int64), senders[order].astype(np.int64), shifts[order]


def _box(
    positions: NDArray[np.float64], cell: NDArray[np.float64], pbc: NDArray[np.bool_], cutoff: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The non-singular cell matscipy bins atoms in, (3, 3), and its origin, (3,).

    Along directions without pbc it spans the atoms. Atoms outside fall into the outermost bins: none is lost, so the
    span may be bounded; it then lies around the median, where the atoms that have not flown away are.
    """
    box = cell_frame(cell, pbc)
    normals = box[~pbc]  # (D, 3)
    heights = positions @ normals.T  # (N, D)
    lowest = heights.min(axis=0)
    extent = heights.max(axis=0) - lowest
    length = np.clip(extent, cutoff, _LARGEST_BOX * cutoff)
    start = np.where(extent <= length, lowest, np.median(heights, axis=0) - 0.5 * length)
    box[~pbc] *= length[:, None]
    return box, start @ normals


def _edge_list(senders: NDArray[np.int64], receivers: NDArray[np.int64], n_atoms: int) -> EdgeList:
    return EdgeList(
        senders=torch.from_numpy(senders),
        receivers=torch.from_numpy(receivers),
        receiver_offsets=_offsets(receivers, n_atoms),
        sender_order=torch.from_numpy(np.argsort(_narrow(senders), kind="stable")),
        sender_offsets=_offsets(senders, n_atoms),
    )


def _offsets(nodes: NDArray[np.int64], n_nodes: int) -> Tensor:
    offsets = np.zeros(n_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(nodes, minlength=n_nodes), out=offsets[1:])
    return torch.from_numpy(offsets)


def _narrow(numbers: NDArray[np.int64]) -> NDArray[np.int64] | NDArray[np.int16]:
    """The same numbers in 16 bits where they fit: numpy sorts these by radix, in linear time."""
    fits = numbers.size and -(2**15) <= numbers.min() and numbers.max() < 2**15
    return numbers.astype(np.int16) if fits else numbers


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
