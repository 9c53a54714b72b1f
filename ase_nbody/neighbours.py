"""From ase.Atoms to Graph: checked structures, neighbour lists, and reuse of a list with a skin."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ase_nbody.graph import Graph
from ase_nbody.kernels.edges import EdgeList
from ase_nbody.pairs import narrow, neighbour_pairs
from ase_nbody.structures import cell_frame, check_structure


def neighbour_graph(
    atoms: Atoms,
    cutoff: float,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    groups: ArrayLike | None = None,
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

    Returns:
        A graph of one structure. `graph.cell` is the cell of `atoms`, zero vectors included.

    Raises:
        ValueError: the cutoff is not positive, the structure fails `check_structure`, or groups do not fit it.
    """
    _check_cutoff(cutoff)
    check_structure(atoms)
    cell = atoms.cell.array
    receivers, senders, shifts = neighbour_pairs(atoms.positions, cell, atoms.pbc, cutoff)
    groups = atoms.arrays.get("groups") if groups is None else groups
    return Graph(
        atomic_numbers=torch.tensor(atoms.numbers, dtype=torch.int64, device=device),
        positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
        cell=torch.tensor(cell[None], dtype=dtype, device=device),
        pbc=torch.tensor(atoms.pbc[None], dtype=torch.bool, device=device),
        structure=torch.zeros(len(atoms), dtype=torch.int64, device=device),
        edges=_edge_list(senders, receivers, len(atoms)).to(device),
        shifts=torch.tensor(shifts, dtype=dtype, device=device),
        groups=None if groups is None else _group_tensor(groups, len(atoms), device),
    )


class NeighbourCache:
    """Graphs of a moving structure from one neighbour list, built with a skin and reused while it is complete.

    Let x0, h0 be positions and cell (rows) when the list was built, h = h0 F the cell now, and x = x0 F + u.
    An edge with shift S was v0 = x0_j - x0_i + S h0 long and is now v = x_j - x_i + S h = v0 F + u_j - u_i.
    Hence |v0| = |(v - u_j + u_i) F^-1| <= ||F^-1||_2 (|v| + 2 u_max). Where ||F^-1||_2 (cutoff + 2 u_max) <=
    cutoff + skin, every pair with |v| < cutoff had |v0| < cutoff + skin: it is in the list, with the same S. Rows of h
    without pbc carry no shift, so any will do: unit normals of the periodic vectors in h0, and F keeps them.

    Edges between the cutoff and cutoff + skin stay in the graph; cutoff envelopes are zero there.

    Attributes:
        cutoff: largest distance between neighbours, angstrom, above zero.
        skin: how much farther the list reaches, angstrom; with zero only the very same structure reuses it.
        builds: lists built so far.
        reuses: graphs made from a list built earlier.

    Raises:
        ValueError: the cutoff is not positive or the skin is negative.
    """

    def __init__(self, cutoff: float, skin: float) -> None:
        _check_cutoff(cutoff)
        if not 0 <= skin < np.inf:
            raise ValueError(f"the skin is {skin} angstrom; it must be a finite number, zero or more")
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self.reuses = 0
        self._built: _BuiltList | None = None

    def graph(self, atoms: Atoms, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Graph:
        """The structure as it is now, with every pair closer than the cutoff and perhaps some up to cutoff + skin.

        Args:
            atoms: the structure; it is only read.
            dtype: of positions, cell and shifts.
            device: where the tensors are put.

        Raises:
            ValueError: the structure fails `check_structure`.
        """
        built = self._built
        made_for = (dtype, torch.device(device))
        if built is None or built.made_for != made_for or not self._complete(built, atoms):
            graph = neighbour_graph(atoms, self.cutoff + self.skin, dtype=dtype, device=device)
            self._built = _built_list(atoms, graph, made_for)
            self.builds += 1
            return graph
        self.reuses += 1
        return replace(
            built.graph,
            positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
            cell=torch.tensor(atoms.cell.array[None], dtype=dtype, device=device),
        )

    def _complete(self, built: _BuiltList, atoms: Atoms) -> bool:
        """Whether the list surely holds every pair closer than the cutoff. NaN anywhere makes it False."""
        if not (np.array_equal(atoms.numbers, built.numbers) and np.array_equal(atoms.pbc, built.pbc)):
            return False
        if not _same(atoms.arrays.get("groups"), built.groups):
            return False
        cell = atoms.cell.array
        expected, narrowing = built.positions, 1.0
        if not np.array_equal(cell, built.cell):
            if not np.isfinite(cell).all():
                return False
            deformation = built.inverse_frame @ np.where(built.pbc[:, None], cell, built.frame)  # F
            expected = built.positions @ deformation
            narrowing = float(np.linalg.svd(deformation, compute_uv=False)[-1])  # 1 / ||F^-1||_2, 0 if singular
        displacements = atoms.positions - expected  # (N, 3)
        largest = float(np.sqrt(np.einsum("nx,nx->n", displacements, displacements).max()))
        return self.cutoff + 2.0 * largest <= (self.cutoff + self.skin) * narrowing


@dataclass(frozen=True)
class _BuiltList:
    """The structure a list was built for, and its graph."""

    numbers: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    frame: NDArray[np.float64]
    inverse_frame: NDArray[np.floating]
    graph: Graph
    made_for: tuple[torch.dtype, torch.device]


def _same(groups: NDArray[np.int64] | None, others: NDArray[np.int64] | None) -> bool:
    if groups is None or others is None:
        return groups is others
    return np.array_equal(groups, others)


def _built_list(atoms: Atoms, graph: Graph, made_for: tuple[torch.dtype, torch.device]) -> _BuiltList:
    frame = cell_frame(atoms.cell.array, atoms.pbc)
    return _BuiltList(
        numbers=atoms.numbers.copy(),
        groups=None if "groups" not in atoms.arrays else atoms.arrays["groups"].copy(),
        positions=atoms.positions.copy(),
        cell=atoms.cell.array.copy(),
        pbc=atoms.pbc.copy(),
        frame=frame,
        inverse_frame=np.linalg.inv(frame),
        graph=graph,
        made_for=made_for,
    )


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


def _check_cutoff(cutoff: float) -> None:
    if not 0 < cutoff < np.inf:
        raise ValueError(f"the cutoff is {cutoff} angstrom; it must be a finite number above zero")
