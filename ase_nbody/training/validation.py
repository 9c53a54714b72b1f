"""Errors of the validation structures during training, and the score that best weights are chosen by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.architectures.theory import at_level
from ase_nbody.data.graph_samples import Sample
from ase_nbody.graph import Graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import Prediction
from ase_nbody.thread_count import using_threads
from ase_nbody.training.loss import Errors, LossWeights, errors

FEWEST_ATOMS = 1000
"""Atoms from which the tables that a compiled evaluation makes of new weights pay; both ways give the same numbers."""


@dataclass(frozen=True)
class ValidationErrors:
    """Errors over all validation structures; None where there are no labels.

    Attributes:
        energy_mae: eV/atom.
        forces_mae: per component, eV/angstrom.
        forces_rmse: per component, eV/angstrom.
        virial_mae: stress times volume per atom, per component, eV.
    """

    energy_mae: float | None
    forces_mae: float | None
    forces_rmse: float | None
    virial_mae: float | None


def score(errors: ValidationErrors, weights: LossWeights) -> float:
    """What chooses the best weights: the sum of mean absolute errors over the scale, each times the root of its weight.

    Raises:
        ValueError: no label of the validation structures has a weight.
    """
    terms = [
        (weights.energy, errors.energy_mae),
        (weights.forces, errors.forces_mae),
        (weights.stress, errors.virial_mae),
    ]
    counted = [math.sqrt(weight) * error / weights.scale for weight, error in terms if weight and error is not None]
    if not counted:
        raise ValueError("none of the labels that the loss weighs is in the validation structures; give other ones")
    return sum(counted)


def validation_errors(
    potential: Potential, batches: Sequence[Sample], parameters: Mapping[str, Tensor]
) -> ValidationErrors:
    """Errors of a potential with the given parameters in place of its network's, over batches of labelled samples."""
    # one thread: new weights ask for new tables first, many small products
    few = sum(batch.graph.n_atoms for batch in batches) < FEWEST_ATOMS
    prediction = trainable_prediction if few else predict
    with torch.no_grad(), using_threads(1), exchanged(potential.network, parameters):
        return mean_errors([_errors(prediction, potential, batch) for batch in batches])


def mean_errors(errors: Sequence[Errors]) -> ValidationErrors:
    """Mean errors over all labels of several batches."""
    energy = torch.cat([f.energy for f in errors])
    forces = torch.cat([f.forces for f in errors])
    virial = torch.cat([f.virial for f in errors])
    return ValidationErrors(
        energy_mae=_mean(energy.abs()),
        forces_mae=_mean(forces.abs()),
        forces_rmse=None if (square := _mean(forces.square())) is None else math.sqrt(square),
        virial_mae=_mean(virial.abs()),
    )


def _errors(prediction: Callable[[Potential, Graph], Prediction], potential: Potential, batch: Sample) -> Errors:
    with at_level(potential.network, batch.level):
        return errors(prediction(potential, batch.graph), batch.targets, batch.graph)


@contextmanager
def exchanged(network: Network, parameters: Mapping[str, Tensor]) -> Iterator[None]:
    """Other values in place of a network's parameters, by name, for a while; outside autograd."""
    own = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    try:
        assign(network, parameters)
        yield
    finally:
        assign(network, own)


def assign(network: Network, parameters: Mapping[str, Tensor]) -> None:
    """Write values into a network's parameters, by name."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(parameters[name])


def _mean(values: Tensor) -> float | None:
    return values.double().mean().item() if values.numel() else None
