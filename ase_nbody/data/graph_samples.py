"""Sample: a graph and its labels, ready for training; neighbour lists are built once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ase import Atoms
from torch import Tensor

from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.predictions import ENERGY, LABELLED, Property, Targets


@dataclass(frozen=True)
class Sample:
    """Structures and their labels, in the same order.

    Attributes:
        graph: one structure or a batch.
        targets: labels; NaN where a structure has none.
        level: number of the level of theory of all labels.
    """

    graph: Graph
    targets: Targets
    level: int = 0

    def to(self, device: torch.device | str) -> Sample:
        """The same on another device."""
        return Sample(self.graph.to(device), self.targets.to(device), self.level)


def samples(
    dataset: Dataset, cutoff: float, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> list[Sample]:
    """One sample per structure of a dataset.

    Args:
        dataset: labelled structures.
        cutoff: largest distance between neighbours, angstrom.
        dtype: of positions and labels; energies are float64.
        device: where the tensors live.

    Raises:
        ValueError: a structure has a cell without volume along a periodic direction.
    """
    properties = dataset.properties
    return [
        Sample(
            graph=neighbour_graph(atoms, cutoff, dtype=dtype, device=device),
            targets=targets(atoms, labels, properties, dtype=dtype, device=device),
            level=labels.level,
        )
        for atoms, labels in zip(dataset.structures, dataset.labels, strict=True)
    ]


def targets(
    atoms: Atoms,
    labels: Labels,
    properties: Sequence[Property] = LABELLED,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Targets:
    """Labels of one structure as tensors; every property is there, of NaN where it has no label.

    Args:
        atoms: the structure, with n atoms.
        labels: its labels.
        properties: what labels may be of.
        dtype: of the labels; energies are float64.
        device: where the tensors live.

    Returns:
        Rows (n, *shape) of properties of atoms, and (1, *shape) of structures.
    """

    def tensor(kind: Property) -> Tensor:
        own = torch.float64 if kind == ENERGY else dtype
        return torch.tensor(labels.rows(kind, len(atoms)), dtype=own, device=device)

    return Targets({kind: tensor(kind) for kind in properties})


def batch_samples(several: Sequence[Sample]) -> Sample:
    """One sample of several: structures side by side.

    Raises:
        ValueError: no sample, a property that only some samples have (give the others NaN), or several levels.
    """
    if len({s.level for s in several}) > 1:
        raise ValueError("samples of a batch must be of one level of theory; make a batch for each")
    graph = batch_graphs([s.graph for s in several])
    return Sample(
        graph=graph,
        targets=_joined([s.targets for s in several]),
        level=several[0].level,
    )


def batches_of_samples(several: Sequence[Sample], largest: int) -> list[Sample]:
    """Samples side by side, in their order, in batches of one level and at most `largest` atoms or one structure."""
    groups: list[list[Sample]] = [[]]
    n_atoms = 0
    for sample in several:
        n_atoms += sample.graph.n_atoms
        if groups[-1] and (n_atoms > largest or sample.level != groups[-1][0].level):
            groups.append([])
            n_atoms = sample.graph.n_atoms
        groups[-1].append(sample)
    return [batch_samples(group) for group in groups]


def _joined(several: Sequence[Targets]) -> Targets:
    kinds = several[0].labels.keys()
    if any(targets.labels.keys() != kinds for targets in several):
        raise ValueError("samples of a batch must have labels of the same properties; use NaN for a missing label")
    return Targets({kind: torch.cat([targets.labels[kind] for targets in several]) for kind in kinds})
