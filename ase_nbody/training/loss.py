"""The loss: weighted mean squared errors of all that is labelled, of energies and virials per atom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.graph import Graph, stress_is_defined, volumes
from ase_nbody.predictions import ENERGY, FORCES, STRESS, Prediction, Property, Targets
from ase_nbody.training.settings import FittingSettings

VIRIAL_PER_ATOM = Property("virial", "eV/atom", per_atom=False, shape=(3, 3), always=False, voigt=True)

Values = TypeVar("Values", Tensor, NDArray[np.float64])

Errors = Mapping[Property, Tensor]
"""Differences prediction - target of what is labelled, (labelled components,), as `compared_as` says, by property."""


@dataclass(frozen=True)
class Weight:
    """Weight of a property in the loss.

    Attributes:
        weight: of the mean of (error / scale)^2 over the components of `compared_as` the property.
        scale: size of errors that count as one: in eV for energies per atom and virials per atom, and for forces with
            lengths in angstrom; for other properties in their unit.
    """

    weight: float
    scale: float


LossWeights = Mapping[Property, Weight]
"""Weights by property; what has none is not learnt."""


def loss_weights(
    settings: FittingSettings, energy_scale: float, scales: Mapping[Property, float] | None = None
) -> LossWeights:
    """Weights of the loss.

    Args:
        settings: have the weights by name.
        energy_scale: for energies, forces and stress, eV.
        scales: of other properties that are learnt.

    Raises:
        ValueError: the settings weigh something that is not learnt.
    """
    others = scales or {}
    unknown = sorted(set(settings.further_weights) - {kind.name for kind in others})
    if unknown:
        known = ", ".join(kind.name for kind in others) or "none"
        raise ValueError(
            f"weights are given for {', '.join(unknown)}, and the labels that terms of the potential predict are of "
            f"{known}; leave them out"
        )
    energy = {ENERGY: settings.energy_weight, FORCES: settings.forces_weight, STRESS: settings.stress_weight}
    return common_scale(energy, energy_scale) | {
        kind: Weight(settings.further_weights.get(kind.name, 1.0), scale) for kind, scale in others.items()
    }


def common_scale(weights: Mapping[Property, float], scale: float) -> dict[Property, Weight]:
    """Weights of the loss with one scale for all errors."""
    return {kind: Weight(weight, scale) for kind, weight in weights.items()}


def compared_as(kind: Property) -> Property:
    """What errors of a property are taken of: of a stress the virial per atom, of what is extensive its share per atom.

    >>> compared_as(ENERGY).unit, compared_as(FORCES) == FORCES, compared_as(STRESS).name
    ('eV/atom', True, 'virial')
    """
    if kind == STRESS:
        return VIRIAL_PER_ATOM
    return replace(kind, unit=f"{kind.unit}/atom", extensive=False) if kind.extensive else kind


def errors(prediction: Prediction, targets: Targets, graph: Graph) -> Errors:
    """Differences between prediction and targets, without those whose label is NaN or whose stress is not defined.

    Where a structure has no such property, as a crystal has no dipole, labels do not count either.

    Raises:
        ValueError: labels of what is not predicted.
    """
    atoms = torch.bincount(graph.structure, minlength=graph.n_structures)  # (B,)
    differences = {}
    for kind, labels in targets.labels.items():
        values = prediction.of(kind)
        known = _labelled(kind, values, labels, graph)
        differences[kind] = as_compared(kind, values - labels, atoms, volumes(graph))[known]
    return differences


def loss(prediction: Prediction, targets: Targets, graph: Graph, weights: LossWeights) -> Tensor:
    """Weighted sum of mean squared errors, see `Weight`, a scalar without unit; what has no labels adds nothing.

    Args:
        prediction: a differentiable prediction for the graph.
        targets: labels; NaN where one is missing.
        graph: the structures of both.
        weights: weights and scales.

    Raises:
        ValueError: labels of what is not predicted.
    """
    total = 0.0 * prediction.energy.sum()  # differentiable also where nothing is labelled
    for kind, difference in errors(prediction, targets, graph).items():
        of_kind = weights.get(kind)
        if of_kind is not None and of_kind.weight and difference.numel():
            total = total + of_kind.weight * (difference / of_kind.scale).square().mean()
    return total


def _labelled(kind: Property, values: Tensor, labels: Tensor, graph: Graph) -> Tensor:
    """Which components count, (rows, *shape) bool."""
    if kind == STRESS:
        return ~labels.isnan() & stress_is_defined(graph)[:, None, None]
    return ~labels.isnan() if kind.always else ~(labels.isnan() | values.isnan())


def as_compared(kind: Property, differences: Values, atoms: Values, volumes: Values) -> Values:
    """Differences of what a property is `compared_as`.

    Args:
        kind: the property.
        differences: of its values, (rows, *shape), rows of N atoms or B structures.
        atoms: of each structure, (B,).
        volumes: of each cell, (B,), angstrom^3.

    Returns:
        (rows, *shape), in the unit of `compared_as`.
    """
    by_structure = (-1, *(1 for _ in kind.shape))
    if kind == STRESS:
        return differences * (volumes / atoms).reshape(by_structure)
    return differences / atoms.reshape(by_structure) if kind.extensive else differences
