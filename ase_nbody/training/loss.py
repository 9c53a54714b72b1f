"""Losses: weighted errors of energies per atom, forces and virials per atom, squared or as norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.graph import Graph, Prediction, Targets, volumes


@dataclass(frozen=True)
class LossWeights:
    """Weights of the squared errors, and the energy scale s (eV) in whose units errors are taken.

    Attributes:
        energy: of ((E - E') / (n s))^2, n the number of atoms of the structure.
        forces: of ((F - F') / s)^2 with lengths in angstrom, per component.
        stress: of (V (stress - stress') / (n s))^2, per component of the 3 x 3 matrix: the virial per atom.
        scale: energy scale, eV.
    """

    energy: float
    forces: float
    stress: float
    scale: float


@dataclass(frozen=True)
class Differences:
    """Prediction - target of one quantity, a vector per row.

    Attributes:
        vectors: (n, components), zero where there is no label.
        labelled: where there is one, (n, components) bool.
    """

    vectors: Tensor
    labelled: Tensor

    @property
    def components(self) -> Tensor:
        """All that are labelled, (n,)."""
        return self.vectors[self.labelled]

    @property
    def norms(self) -> Tensor:
        """Length of each vector with a label, (n,)."""
        lengths: Tensor = torch.linalg.vector_norm(self.vectors, dim=1)
        return lengths[self.labelled.any(dim=1)]


@dataclass(frozen=True)
class Errors:
    """Differences of the three quantities.

    Attributes:
        energy: per atom, (B, 1) float64, eV.
        forces: (N, 3), eV/angstrom.
        virial: stress times volume per atom, (B, 9), eV.
    """

    energy: Differences
    forces: Differences
    virial: Differences


def errors(prediction: Prediction, targets: Targets, graph: Graph) -> Errors:
    """Differences between prediction and targets; stress counts where there is a full cell."""
    atoms = torch.bincount(graph.structure, minlength=graph.n_structures)  # (B,)
    per_atom = (volumes(graph) / atoms)[:, None, None]
    stress = targets.stress
    if stress is not None:
        stress = torch.where(graph.pbc.all(dim=1)[:, None, None], stress, torch.nan)  # (B, 3, 3)
    return Errors(
        energy=_differences(prediction.energy, targets.energy, 1 / atoms),
        forces=_differences(prediction.forces, targets.forces),
        virial=_differences(prediction.stress, stress, per_atom),
    )


def squares_loss(prediction: Prediction, targets: Targets, graph: Graph, weights: LossWeights) -> Tensor:
    """Weighted sum of the mean squared errors of `LossWeights`, a scalar without unit; terms without labels are zero.

    Args:
        prediction: a differentiable prediction for the graph.
        targets: labels; NaN where one is missing.
        graph: the structures of both.
        weights: weights and scale.
    """
    found = errors(prediction, targets, graph)
    total = 0.0 * prediction.energy.sum()  # differentiable also where nothing is labelled
    for weight, differences in _terms(found, weights):
        total = total + weight * (differences.components / weights.scale).square().mean()
    return total


def norms_loss(prediction: Prediction, targets: Targets, graph: Graph, weights: LossWeights) -> Tensor:
    """The sum of mean lengths of the errors, each times the root of its weight; otherwise as `squares_loss`.

    A length is that of an atom's force vector, of a structure's virial as nine numbers, and the energy's absolute
    value. Rare large errors count less than squared.
    """
    found = errors(prediction, targets, graph)
    total = 0.0 * prediction.energy.sum()
    for weight, differences in _terms(found, weights):
        total = total + weight**0.5 * (differences.norms / weights.scale).mean()
    return total


Loss = Callable[[Prediction, Targets, Graph, LossWeights], Tensor]
LOSSES: Mapping[str, Loss] = {"squares": squares_loss, "norms": norms_loss}


def _terms(found: Errors, weights: LossWeights) -> list[tuple[float, Differences]]:
    """Those that are weighed and labelled."""
    terms = [(weights.energy, found.energy), (weights.forces, found.forces), (weights.stress, found.virial)]
    return [(weight, differences) for weight, differences in terms if weight and differences.labelled.any()]


def _differences(prediction: Tensor, target: Tensor | None, factor: Tensor | float = 1.0) -> Differences:
    if target is None:
        target = torch.full_like(prediction, torch.nan)
    labelled = ~target.isnan()
    vectors = torch.where(labelled, prediction - target, 0.0) * factor
    return Differences(
        vectors.flatten(1) if vectors.ndim > 1 else vectors.unsqueeze(1), labelled.view(len(labelled), -1)
    )
