"""PackedSamples: all structures of a training in a few long tensors, from which batches are gathered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ase_nbody.data.graph_samples import Sample, batch_samples, labels_of
from ase_nbody.graph import Graph, Targets
from ase_nbody.kernels.edges import EdgeList


class PackedSamples:
    """Structures with labels, one after another in long tensors.

    A batch is gathered by some thirty indexings whatever its size, so that on a GPU, where each costs some
    microseconds, batches of hundreds of small molecules cost no more than the step that is taken with them.

    Args:
        samples: one structure each, or batches, which are then parts that stay together.
        device: where the tensors are to live; None: where they are.

    Attributes:
        levels: number of the level of theory of each sample.

    Raises:
        ValueError: there is no sample, or they differ in the quantities that they have.
    """

    def __init__(self, samples: Sequence[Sample], device: torch.device | str | None = None) -> None:
        self.levels = tuple(s.level for s in samples)
        whole = batch_samples([replace(s, level=0) for s in samples])
        place = whole.graph.positions.device if device is None else torch.device(device)
        graphs = [s.graph for s in samples]
        self._n_atoms = torch.tensor([g.n_atoms for g in graphs])
        self._n_edges = torch.tensor([g.edges.n_edges for g in graphs])
        self._n_groups = torch.tensor([_n_groups(g) for g in graphs])
        self._n_structures = torch.tensor([g.n_structures for g in graphs])
        self._graph = whole.graph.to(place)
        self._contact = _flags(whole.graph).to(place) if whole.graph.contacts is not None else None
        self._targets = Sample(whole.graph, whole.targets).to(place).targets
        self._receiver_counts = self._graph.edges.receiver_offsets.diff()  # (N,)
        self._sender_counts = self._graph.edges.sender_offsets.diff()  # (N,)

    def __len__(self) -> int:
        return len(self._n_atoms)

    def batch(self, chosen: Tensor) -> Sample:
        """Samples side by side, as `batch_samples` puts them.

        Args:
            chosen: their numbers, (B,) int64 on the CPU.

        Raises:
            ValueError: they are of several levels of theory.
        """
        graph, device = self._graph, self._graph.positions.device
        atoms, new_atoms = _gathered(self._n_atoms, chosen, device)
        edges, new_edges = _gathered(self._n_edges, chosen, device)
        structures, new_structures = _gathered(self._n_structures, chosen, device)
        by_edge, by_edge_number = (_each(s, self._n_edges[chosen], device) for s in (new_atoms, new_edges))
        moved = EdgeList(
            senders=graph.edges.senders[edges] + by_edge,
            receivers=graph.edges.receivers[edges] + by_edge,
            receiver_offsets=_offsets(self._receiver_counts[atoms]),
            sender_order=graph.edges.sender_order[edges] + by_edge_number,
            sender_offsets=_offsets(self._sender_counts[atoms]),
        )
        together = replace(
            graph,
            atomic_numbers=graph.atomic_numbers[atoms],
            positions=graph.positions[atoms],
            cell=graph.cell[structures],
            pbc=graph.pbc[structures],
            structure=graph.structure[atoms] + _each(new_structures, self._n_atoms[chosen], device),
            edges=moved,
            shifts=graph.shifts[edges],
            groups=None if graph.groups is None else self._groups(graph.groups[atoms], chosen),
            contacts=None if self._contact is None else self._contact[edges].nonzero().squeeze(1),
        )
        energy, forces, stress = labels_of(self._targets)
        targets = Targets(
            energy=None if energy is None else energy[structures],
            forces=None if forces is None else forces[atoms],
            stress=None if stress is None else stress[structures],
        )
        return Sample(graph=together, targets=targets, level=self._level(chosen))

    def _level(self, chosen: Tensor) -> int:
        levels: set[int] = {self.levels[n] for n in chosen.tolist()}
        if len(levels) > 1:
            raise ValueError("samples of a batch must be of one level of theory; make a batch for each")
        return levels.pop()

    def _groups(self, groups: Tensor, chosen: Tensor) -> Tensor:
        """Groups of the atoms of a batch, counted through the batch."""
        _, moved = _gathered(self._n_groups, chosen, groups.device)
        return torch.where(groups < 0, groups, groups + _each(moved, self._n_atoms[chosen], groups.device))


def _flags(graph: Graph) -> Tensor:
    assert graph.contacts is not None
    return torch.zeros(graph.edges.n_edges, dtype=torch.bool).index_fill(0, graph.contacts.cpu(), True)


def _gathered(lengths: Tensor, chosen: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows of the chosen parts of a long tensor, (rows,) on the device; and by how much each part moves, (B,)."""
    starts, taken = lengths.cumsum(0)[chosen] - lengths[chosen], lengths[chosen]
    new_starts = taken.cumsum(0) - taken
    rows = torch.arange(int(taken.sum()), device=device) + _each(starts - new_starts, taken, device)
    return rows, new_starts - starts


def _each(values: Tensor, times: Tensor, device: torch.device) -> Tensor:
    """Each value as often as said; made on the CPU, where the sizes are known, and sent in one piece."""
    return values.repeat_interleave(times).to(device, non_blocking=True)


def _offsets(counts: Tensor) -> Tensor:
    return functional.pad(counts.cumsum(0), (1, 0))


def _n_groups(graph: Graph) -> int:
    return 0 if graph.groups is None else int(graph.groups.max()) + 1
