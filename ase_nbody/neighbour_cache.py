"""Reuse of a neighbour list along a run, as long as that is proved safe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.contacts import ContactSearch, Table, near_edges
from ase_nbody.graph import Graph
from ase_nbody.neighbours import check_cutoff, neighbour_graph
from ase_nbody.structures import cell_frame


class NeighbourCache:
    """Graphs of a moving structure from one neighbour list, built with a skin and reused while it is complete.

    Let x0, h0 be positions and cell (rows) when the list was built, h = h0 F the cell now, and x = x0 F + u.
    An edge with shift S was v0 = x0_j - x0_i + S h0 long and is now v = x_j - x_i + S h = v0 F + u_j - u_i.
    Hence |v0| = |(v - u_j + u_i) F^-1| <= ||F^-1||_2 (|v| + 2 u_max). Where ||F^-1||_2 (cutoff + 2 u_max) <=
    cutoff + skin, every pair with |v| < cutoff had |v0| < cutoff + skin: it is in the list, with the same S. Rows of h
    without pbc carry no shift, so any will do: unit normals of the periodic vectors in h0, and F keeps them.

    Edges between the cutoff and cutoff + skin stay in the graph; cutoff envelopes are zero there.

    Args:
        cutoff: largest distance between neighbours, angstrom, above zero.
        skin: how much farther the list reaches, angstrom; with zero only the very same structure reuses it.
        limits: edges shorter than these are the contacts of the graphs; nobody looks for contacts if None.

    Attributes:
        cutoff: as given.
        skin: as given.
        builds: lists built so far.
        reuses: graphs made from a list built earlier.

    Raises:
        ValueError: the cutoff is not positive or the skin is negative.
    """

    def __init__(self, cutoff: float, skin: float, limits: Table | None = None) -> None:
        check_cutoff(cutoff)
        if not 0 <= skin < np.inf:
            raise ValueError(f"the skin is {skin} angstrom; it must be a finite number, zero or more")
        self.cutoff = cutoff
        self.skin = skin
        self._limits = limits
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
        movement = None if built is None or built.made_for != made_for else _movement(built, atoms)
        if built is None or movement is None or not self._complete(built, movement):
            graph = neighbour_graph(atoms, self.cutoff + self.skin, dtype=dtype, device=device)
            self._built = _built_list(atoms, graph, made_for, self._limits, self.skin)
            self.builds += 1
            return replace(graph, contacts=_contacts(self._built, atoms, _Movement(0.0, 1.0)))
        self.reuses += 1
        return replace(
            built.graph,
            positions=torch.tensor(atoms.positions, dtype=dtype, device=device),
            cell=torch.tensor(atoms.cell.array[None], dtype=dtype, device=device),
            contacts=_contacts(built, atoms, movement),
        )

    def _complete(self, built: _BuiltList, movement: _Movement) -> bool:
        """Whether the list surely holds every pair closer than the cutoff, and its near edges every contact.

        NaN anywhere makes it False. Where only near edges are known, what a wider cell allows is not used: then the
        bound of `ContactSearch` holds too.
        """
        narrowing = movement.narrowing if built.near is None else min(movement.narrowing, 1.0)
        reach = (self.cutoff + self.skin) * narrowing
        return self.cutoff + 2.0 * movement.displacement <= reach


@dataclass(frozen=True)
class _Movement:
    """Since a list was built: largest displacement, u_max, angstrom, and 1 / ||F^-1||_2, 0 if F is singular."""

    displacement: float
    narrowing: float


@dataclass(frozen=True)
class _BuiltList:
    """The structure a list was built for, and its graph.

    Attributes:
        search: finds contacts; among the near edges alone if there are such.
        near: numbers of edges that may become contacts, for lists on a GPU, whose other edges stay there.
    """

    numbers: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    frame: NDArray[np.float64]
    inverse_frame: NDArray[np.floating]
    graph: Graph
    made_for: tuple[torch.dtype, torch.device]
    search: ContactSearch | None
    near: Tensor | None


def _movement(built: _BuiltList, atoms: Atoms) -> _Movement | None:
    """What has moved since a list was built; None where the structure is another one."""
    if not (np.array_equal(atoms.numbers, built.numbers) and np.array_equal(atoms.pbc, built.pbc)):
        return None
    if not _same(atoms.arrays.get("groups"), built.groups):
        return None
    cell = atoms.cell.array
    expected, narrowing = built.positions, 1.0
    if not np.array_equal(cell, built.cell):
        if not np.isfinite(cell).all():
            return None
        deformation = built.inverse_frame @ np.where(built.pbc[:, None], cell, built.frame)  # F
        expected = built.positions @ deformation
        narrowing = float(np.linalg.svd(deformation, compute_uv=False)[-1])
    displacements = atoms.positions - expected  # (N, 3)
    largest = float(np.sqrt(np.einsum("nx,nx->n", displacements, displacements).max()))
    return _Movement(largest, narrowing)


def _contacts(built: _BuiltList, atoms: Atoms, movement: _Movement) -> Tensor | None:
    if built.search is None:
        return None
    found = built.search.contacts(atoms.positions, atoms.cell.array, movement.displacement, movement.narrowing)
    contacts = torch.from_numpy(found).to(built.made_for[1])
    return contacts if built.near is None else built.near[contacts]


def _same(groups: NDArray[np.int64] | None, others: NDArray[np.int64] | None) -> bool:
    if groups is None or others is None:
        return groups is others
    return np.array_equal(groups, others)


def _built_list(
    atoms: Atoms, graph: Graph, made_for: tuple[torch.dtype, torch.device], limits: Table | None, skin: float
) -> _BuiltList:
    frame = cell_frame(atoms.cell.array, atoms.pbc)
    search = near = None
    if limits is not None:
        senders, receivers, shifts = graph.edges.senders, graph.edges.receivers, graph.shifts
        if shifts.is_cuda:
            near = near_edges(atoms, graph.edges, shifts, limits, skin)
            senders, receivers, shifts = senders[near], receivers[near], shifts[near]
        ends, steps = (senders.cpu().numpy(), receivers.cpu().numpy()), shifts.double().cpu().numpy()
        search = ContactSearch(*ends, steps, atoms.numbers, limits, skin, atoms.positions, atoms.cell.array)
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
        search=search,
        near=near,
    )
