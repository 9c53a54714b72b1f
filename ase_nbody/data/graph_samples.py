"""Sample: a graph and its labels, ready for training; neighbour lists are built once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.graph import Graph, Targets, batch_graphs
from ase_nbody.neighbours import neighbour_graph


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
        dtype: of positions, forces and stress; energies are float64.
        device: where the tensors live.

    Raises:
        ValueError: a structure has a cell without volume along a periodic direction.
    """
    return [
        Sample(
            graph=neighbour_graph(atoms, cutoff, dtype=dtype, device=device),
            targets=targets(atoms, labels, dtype=dtype, device=device),
            level=labels.level,
        )
        for atoms, labels in zip(dataset.structures, dataset.labels, strict=True)
    ]


def targets(
    atoms: Atoms, labels: Labels, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> Targets:
    """Labels of one structure as tensors; every quantity is there, of NaN where it has no label.

    Returns:
        Energy (1,) float64, forces (N, 3) and stress (1, 3, 3) in the dtype.
    """
    energy = np.nan if labels.energy is None else labels.energy
    forces = np.full((len(atoms), 3), np.nan) if labels.forces is None else labels.forces
    stress = np.full((3, 3), np.nan) if labels.stress is None else labels.stress
    return Targets(
        energy=torch.tensor([energy], dtype=torch.float64, device=device),
        forces=torch.tensor(forces, dtype=dtype, device=device),
        stress=torch.tensor(stress[None], dtype=dtype, device=device),
    )


def batch_samples(several: Sequence[Sample]) -> Sample:
    """One sample of several: structures side by side.

    Raises:
        ValueError: no sample, a quantity that only some samples have (give the others NaN), or several levels.
    """
    if len({s.level for s in several}) > 1:
        raise ValueError("samples of a batch must be of one level of theory; make a batch for each")
    graph = batch_graphs([s.graph for s in several])
    return Sample(
        graph=graph,
        targets=Targets(
            energy=_joined([s.targets.energy for s in several]),
            forces=_joined([s.targets.forces for s in several]),
            stress=_joined([s.targets.stress for s in several]),
        ),
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


def _joined(labels: Sequence[Tensor | None]) -> Tensor | None:
    present = [label for label in labels if label is not None]
    if present and len(present) != len(labels):
        raise ValueError("some samples of a batch have a label and some have None; use NaN for a missing label")
    return torch.cat(present) if present else None
