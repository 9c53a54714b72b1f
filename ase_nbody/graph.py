"""Graph: with Prediction and Targets the only thing that travels between the parts; a structure is always a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from ase.data import chemical_symbols
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.kernels.sums import node_sums


@dataclass(frozen=True)
class Graph:
    """B structures with N atoms and E neighbour pairs in all. Lengths in angstrom, cell vectors as rows.

    Attributes:
        atomic_numbers: (N,) int64.
        positions: (N, 3).
        cell: (B, 3, 3); zero vectors where a structure has none.
        pbc: (B, 3) bool.
        structure: index of the structure of each atom, (N,) int64, ascending.
        edges: pairs within the cutoff; atom `receivers[e]` is the centre, `senders[e]` its neighbour.
        shifts: whole cells by which the neighbour is moved, (E, 3), same dtype as positions.
        groups: group of each atom for fragment schemes, (N,) int64 counted through the batch from 0 without gaps, -1 in
            structures without, or None. Atoms of one group belong to one structure.
        contacts: numbers of the edges that may be shorter than the limits of a potential, (K,) int64; None: all may be.
        vectors: of the edges, (E, 3), in place of those that positions and cell give, or None. Only inside a
            potential, which changes short ones; such a graph is neither batched nor split.
    """

    atomic_numbers: Tensor
    positions: Tensor
    cell: Tensor
    pbc: Tensor
    structure: Tensor
    edges: EdgeList
    shifts: Tensor
    groups: Tensor | None = None
    contacts: Tensor | None = None
    vectors: Tensor | None = None

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the batch."""
        return self.positions.shape[0]

    @property
    def n_structures(self) -> int:
        """Number of structures in the batch."""
        return self.cell.shape[0]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Graph:
        """The same structures on another device, real numbers in another dtype."""
        return replace(
            self,
            atomic_numbers=self.atomic_numbers.to(device),
            positions=self.positions.to(device, dtype),
            cell=self.cell.to(device, dtype),
            pbc=self.pbc.to(device),
            structure=self.structure.to(device),
            edges=self.edges.to(device),
            shifts=self.shifts.to(device, dtype),
            groups=None if self.groups is None else self.groups.to(device),
            contacts=None if self.contacts is None else self.contacts.to(device),
            vectors=None if self.vectors is None else self.vectors.to(device, dtype),
        )


def edge_vectors(graph: Graph) -> Tensor:
    """Vectors from each centre to its neighbour, r_child - r_parent of Kondor 2018 definition 3, (E, 3), angstrom."""
    if graph.vectors is not None:
        return graph.vectors
    vectors = graph.positions[graph.edges.senders] - graph.positions[graph.edges.receivers]
    if graph.n_structures == 1:  # no cell for every edge
        return vectors + graph.shifts @ graph.cell[0]
    cells = graph.cell[graph.structure[graph.edges.receivers]]  # (E, 3, 3)
    return vectors + torch.bmm(graph.shifts.unsqueeze(1), cells).squeeze(1)


def inverted(graph: Graph) -> Graph:
    """The mirror images of all structures: positions, cells and vectors with the other sign, the same edges."""
    vectors = None if graph.vectors is None else -graph.vectors
    return replace(graph, positions=-graph.positions, cell=-graph.cell, vectors=vectors)


def sums_of_structures(rows: Tensor, graph: Graph) -> Tensor:
    """What atoms carry, (N, ...), summed in float64 over the atoms of each structure, (B, ...), in the same dtype."""
    if graph.n_structures == 1:
        return rows.sum(dim=0, keepdim=True, dtype=torch.float64).to(rows.dtype)
    return node_sums(rows.double(), graph.structure, graph.n_structures).to(rows.dtype)


def closest_distances(graph: Graph, before: Mapping[str, float] | None = None) -> dict[str, float]:
    """Length of the shortest edge by pair of elements, angstrom; keys are sorted symbols such as "C-H".

    Args:
        graph: structures and their edges.
        before: what was found in other structures, to be taken where it is smaller.
    """
    distances = torch.linalg.vector_norm(edge_vectors(graph), dim=1)  # (E,)
    first, second = graph.atomic_numbers[graph.edges.senders], graph.atomic_numbers[graph.edges.receivers]
    pairs, index = torch.unique(first * len(chemical_symbols) + second, return_inverse=True)
    smallest = torch.full(pairs.shape, torch.inf, dtype=distances.dtype).scatter_reduce(0, index, distances, "amin")
    closest = dict(before or {})
    for pair, distance in zip(pairs.tolist(), smallest.tolist(), strict=True):
        name = "-".join(sorted(chemical_symbols[z] for z in divmod(pair, len(chemical_symbols))))
        closest[name] = min(distance, closest.get(name, distance))
    return closest


def bounds_of_structures(graph: Graph) -> list[int]:
    """Number of the first atom of each structure, and of all atoms, B + 1 numbers."""
    if graph.n_structures == 1:
        return [0, graph.n_atoms]
    return [0, *torch.bincount(graph.structure, minlength=graph.n_structures).cumsum(0).tolist()]


def volumes(graph: Graph) -> Tensor:
    """Volume of each cell, (B,), angstrom^3; zero where a cell vector is missing.

    A product of vectors: torch's determinant is made by several threads even for one small matrix.
    """
    first, second, third = graph.cell.unbind(1)
    signed: Tensor = (first * torch.linalg.cross(second, third)).sum(dim=1)
    return signed.abs()


def stress_is_defined(graph: Graph) -> Tensor:
    """Whether each structure has a stress, (B,) bool: a cell of three vectors and at least one periodic direction."""
    return graph.pbc.any(dim=1) & (volumes(graph) > 0)


def batch_graphs(graphs: Sequence[Graph]) -> Graph:
    """One graph of several: structures side by side, no edges between them.

    Raises:
        ValueError: no graph.
    """
    if not graphs:
        raise ValueError("a batch needs at least one structure")
    if len(graphs) == 1:
        return graphs[0]
    atoms = _starts([g.n_atoms for g in graphs])
    structures = _starts([g.n_structures for g in graphs])
    return Graph(
        atomic_numbers=torch.cat([g.atomic_numbers for g in graphs]),
        positions=torch.cat([g.positions for g in graphs]),
        cell=torch.cat([g.cell for g in graphs]),
        pbc=torch.cat([g.pbc for g in graphs]),
        structure=torch.cat([g.structure + s for g, s in zip(graphs, structures, strict=True)]),
        edges=_batch_edges([g.edges for g in graphs], atoms),
        shifts=torch.cat([g.shifts for g in graphs]),
        groups=_batch_groups(graphs),
        contacts=_batch_contacts(graphs),
    )


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes[:-1]:
        starts.append(starts[-1] + size)
    return starts


def _batch_edges(lists: Sequence[EdgeList], atoms: Sequence[int]) -> EdgeList:
    edges = _starts([e.n_edges for e in lists])
    first = lists[0].receiver_offsets[:1]
    return EdgeList(
        senders=torch.cat([e.senders + a for e, a in zip(lists, atoms, strict=True)]),
        receivers=torch.cat([e.receivers + a for e, a in zip(lists, atoms, strict=True)]),
        receiver_offsets=torch.cat([first, *(e.receiver_offsets[1:] + s for e, s in zip(lists, edges, strict=True))]),
        sender_order=torch.cat([e.sender_order + s for e, s in zip(lists, edges, strict=True)]),
        sender_offsets=torch.cat([first, *(e.sender_offsets[1:] + s for e, s in zip(lists, edges, strict=True))]),
    )


def _batch_contacts(graphs: Sequence[Graph]) -> Tensor | None:
    starts = _starts([g.edges.n_edges for g in graphs])
    contacts = [g.contacts + s for g, s in zip(graphs, starts, strict=True) if g.contacts is not None]
    return torch.cat(contacts) if len(contacts) == len(graphs) else None


def _batch_groups(graphs: Sequence[Graph]) -> Tensor | None:
    if all(g.groups is None for g in graphs):
        return None
    groups = [torch.full_like(g.structure, -1) if g.groups is None else g.groups for g in graphs]
    starts = _starts([int(g.max()) + 1 for g in groups])
    return torch.cat([torch.where(g < 0, g, g + s) for g, s in zip(groups, starts, strict=True)])


def split_graph(graph: Graph, n_parts: int) -> list[Graph]:
    """A batch as up to `n_parts` graphs of consecutive structures with about equally many edges."""
    ends = torch.bincount(graph.structure, minlength=graph.n_structures).cumsum(
        0
    )  # last atom of each structure, plus 1
    edges_before = graph.edges.receiver_offsets[ends]
    wanted = torch.arange(1, n_parts, device=ends.device) * (graph.edges.n_edges / n_parts)
    nearest = (edges_before.unsqueeze(0) - wanted.unsqueeze(1)).abs().argmin(dim=1) + 1
    bounds = sorted({0, *nearest.tolist(), graph.n_structures})
    if len(bounds) == 2:
        return [graph]
    atoms = [0, *ends.tolist()]
    return [_structures(graph, (a, b), (atoms[a], atoms[b])) for a, b in pairwise(bounds)]


def _structures(graph: Graph, structures: tuple[int, int], atoms: tuple[int, int]) -> Graph:
    """Those of a batch from the first to before the last, whose atoms are given likewise."""
    edges = graph.edges
    whole, own = slice(*structures), slice(*atoms)
    first, last = (int(edges.receiver_offsets[atom]) for atom in atoms)
    places = slice(first, last)
    offsets = slice(atoms[0], atoms[1] + 1)
    groups = None if graph.groups is None else graph.groups[own]
    if groups is not None and bool((groups >= 0).any()):
        groups = torch.where(groups < 0, groups, groups - groups[groups >= 0].min())
    return Graph(
        atomic_numbers=graph.atomic_numbers[own],
        positions=graph.positions[own],
        cell=graph.cell[whole],
        pbc=graph.pbc[whole],
        structure=graph.structure[own] - structures[0],
        edges=EdgeList(
            senders=edges.senders[places] - atoms[0],
            receivers=edges.receivers[places] - atoms[0],
            receiver_offsets=edges.receiver_offsets[offsets] - first,
            sender_order=edges.sender_order[places] - first,
            sender_offsets=edges.sender_offsets[offsets] - first,
        ),
        shifts=graph.shifts[places],
        groups=groups,
        contacts=None if graph.contacts is None else _within(graph.contacts, first, last),
    )


def _within(edges: Tensor, first: int, last: int) -> Tensor:
    return edges[(edges >= first) & (edges < last)] - first
