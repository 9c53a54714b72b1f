"""PackedSamples: all structures of a training in a few long tensors, from which batches are gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ase_nbody.data.graph_samples import Sample, batch_samples
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.predictions import Targets


class PackedSamples:
    """Structures with labels, one after another in long tensors.

    A batch is gathered by some thirty indexings whatever its size, so that on a GPU, where each costs some
    microseconds, batches of hundreds of small molecules cost no more than the step that is taken with them.

    Args:
        samples: of one structure or more each.
        device: where the tensors are to live.

    Attributes:
        levels: number of the level of theory of each structure.

    Raises:
        ValueError: there is no sample, or they differ in the quantities that they have.
    """

    def __init__(self, samples: Sequence[Sample], device: torch.device | str = "cpu") -> None:
        self.levels = tuple(s.level for s in samples for _ in range(s.graph.n_structures))
        whole = batch_samples([replace(s, level=0) for s in samples])
        graph = whole.graph
        self._atoms = _parts(graph.structure, graph)
        self._edges = _parts(graph.structure[graph.edges.receivers], graph)
        self._groups = _parts(_structures_of_groups(graph), graph)
        self._graph, self._targets = graph.to(device), whole.targets.to(device)
        self._receiver_counts = self._graph.edges.receiver_offsets.diff()  # (N,)
        self._sender_counts = self._graph.edges.sender_offsets.diff()  # (N,)

    def __len__(self) -> int:
        return len(self.levels)

    def batch(self, chosen: Tensor) -> Sample:
        """Structures side by side, as `batch_samples` puts them; which edges may be contacts is left open.

        Args:
            chosen: their numbers, (B,) int64 on the CPU.

        Raises:
            ValueError: they are of several levels of theory.
        """
        device = self._graph.positions.device
        atoms, structures = self._atoms.rows(chosen, device), chosen.to(device)
        edges, shifts = self._gathered_edges(atoms, chosen)
        graph = Graph(
            atomic_numbers=self._graph.atomic_numbers[atoms],
            positions=self._graph.positions[atoms],
            cell=self._graph.cell[structures],
            pbc=self._graph.pbc[structures],
            structure=self._atoms.each(torch.arange(len(chosen)), chosen, device),
            edges=edges,
            shifts=shifts,
            groups=self._gathered_groups(atoms, chosen),
        )
        labels = self._targets.labels.items()
        targets = Targets({kind: values[atoms if kind.per_atom else structures] for kind, values in labels})
        return Sample(graph, targets, self._level(chosen))

    def _gathered_edges(self, atoms: Tensor, chosen: Tensor) -> tuple[EdgeList, Tensor]:
        """Edges and shifts of a batch of these atoms."""
        edges, device = self._graph.edges, atoms.device
        rows = self._edges.rows(chosen, device)
        by_atoms = self._edges.each(self._atoms.moved(chosen), chosen, device)
        gathered = EdgeList(
            senders=edges.senders[rows] + by_atoms,
            receivers=edges.receivers[rows] + by_atoms,
            receiver_offsets=_offsets(self._receiver_counts[atoms]),
            sender_order=edges.sender_order[rows] + self._edges.each(self._edges.moved(chosen), chosen, device),
            sender_offsets=_offsets(self._sender_counts[atoms]),
        )
        return gathered, self._graph.shifts[rows]

    def _gathered_groups(self, atoms: Tensor, chosen: Tensor) -> Tensor | None:
        """Groups of the atoms of a batch, counted through the batch."""
        if self._graph.groups is None:
            return None
        groups = self._graph.groups[atoms]
        moved = self._atoms.each(self._groups.moved(chosen), chosen, groups.device)
        return torch.where(groups < 0, groups, groups + moved)

    def _level(self, chosen: Tensor) -> int:
        levels: set[int] = {self.levels[n] for n in chosen.tolist()}
        if len(levels) > 1:
            raise ValueError("samples of a batch must be of one level of theory; make a batch for each")
        return levels.pop()


@dataclass(frozen=True)
class _Parts:
    """Parts of a long tensor, one for each structure; sizes are kept on the CPU, so that nothing waits for a GPU.

    Attributes:
        lengths: of the parts, (S,).
        starts: of the parts, (S,).
    """

    lengths: Tensor
    starts: Tensor

    def moved(self, chosen: Tensor) -> Tensor:
        """By how much each chosen part moves when these parts are put side by side, (B,)."""
        lengths = self.lengths[chosen]
        return lengths.cumsum(0) - lengths - self.starts[chosen]

    def each(self, values: Tensor, chosen: Tensor, device: torch.device) -> Tensor:
        """A value of each chosen part, (B,), for each of its rows, (rows,) on the device."""
        return values.repeat_interleave(self.lengths[chosen]).to(device, non_blocking=True)

    def rows(self, chosen: Tensor, device: torch.device) -> Tensor:
        """Rows of the chosen parts, (rows,) on the device."""
        moved = self.each(self.moved(chosen), chosen, device)
        return torch.arange(len(moved), device=device) - moved


def _parts(structures: Tensor, graph: Graph) -> _Parts:
    """The parts of a long tensor of which each row belongs to one of these structures, in their order."""
    lengths = structures.bincount(minlength=graph.n_structures).cpu()
    return _Parts(lengths, lengths.cumsum(0) - lengths)


def _offsets(counts: Tensor) -> Tensor:
    return functional.pad(counts.cumsum(0), (1, 0))


def _structures_of_groups(graph: Graph) -> Tensor:
    """Structure of each group, (groups,)."""
    if graph.groups is None:
        return graph.structure[:0]
    inside = graph.groups >= 0
    structures = torch.zeros_like(graph.groups[: int(graph.groups.max()) + 1])
    return structures.index_copy(0, graph.groups[inside], graph.structure[inside])
