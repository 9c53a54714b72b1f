"""The loss: weighted mean squared errors of energies per atom, forces and virials per atom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.graph import Graph, Targets, stress_is_defined, volumes
from ase_nbody.predictions import Prediction
from ase_nbody.training.settings import FittingSettings


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three terms, and the energy scale s (eV) in whose units the errors are taken.

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


def loss_weights(settings: FittingSettings, scale: float) -> LossWeights:
    """Weights of the loss at an energy scale, eV."""
    return LossWeights(settings.energy_weight, settings.forces_weight, settings.stress_weight, scale)


@dataclass(frozen=True)
class Errors:
    """Differences prediction - target of what is labelled; missing labels are left out.

    Attributes:
        energy: per atom, (labelled structures,) float64, eV.
        forces: components, (labelled components,), eV/angstrom.
        virial: stress times volume per atom, (labelled components,), eV.
    """

    energy: Tensor
    forces: Tensor
    virial: Tensor


def errors(prediction: Prediction, targets: Targets, graph: Graph) -> Errors:
    """Differences between prediction and targets, without those whose label is NaN or whose stress is not defined."""
    atoms = torch.bincount(graph.structure, minlength=graph.n_structures)  # (B,)
    energy = prediction.energy.new_empty(0)
    forces = prediction.forces.new_empty(0)
    virial = prediction.stress.new_empty(0)
    if targets.energy is not None:
        energy = _labelled((prediction.energy - targets.energy) / atoms, targets.energy)
    if targets.forces is not None:
        forces = _labelled(prediction.forces - targets.forces, targets.forces)
    if targets.stress is not None:
        per_atom = (volumes(graph) / atoms)[:, None, None]
        known = torch.where(stress_is_defined(graph)[:, None, None], targets.stress, torch.nan)  # (B, 3, 3)
        virial = _labelled((prediction.stress - targets.stress) * per_atom, known)
    return Errors(energy=energy, forces=forces, virial=virial)


def loss(prediction: Prediction, targets: Targets, graph: Graph, weights: LossWeights) -> Tensor:
    """Weighted sum of the mean squared errors of `LossWeights`, a scalar without unit; terms without labels are zero.

    Args:
        prediction: a differentiable prediction for the graph.
        targets: labels; NaN where one is missing.
        graph: the structures of both.
        weights: weights and scale.
    """
    differences = errors(prediction, targets, graph)
    terms = [
        (weights.energy, differences.energy),
        (weights.forces, differences.forces),
        (weights.stress, differences.virial),
    ]
    total = 0.0 * prediction.energy.sum()  # differentiable also where nothing is labelled
    for weight, difference in terms:
        if weight and difference.numel():
            total = total + weight * (difference / weights.scale).square().mean()
    return total


def _labelled(difference: Tensor, target: Tensor) -> Tensor:
    return difference[~target.isnan()]
