"""Errors of the validation structures during training, and the score that best weights are chosen by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.architectures.theory import at_level
from ase_nbody.data.graph_samples import Sample
from ase_nbody.data.mean_errors import MeanErrors
from ase_nbody.graph import Graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import Prediction, Property
from ase_nbody.thread_count import using_threads
from ase_nbody.training.loss import Errors, LossWeights, compared_as, errors

FEWEST_ATOMS = 1000
"""Atoms from which the tables that a compiled evaluation makes of new weights pay; both ways give the same numbers."""


ValidationErrors = Mapping[Property, MeanErrors]
"""Errors over all validation structures by property, of what it is `compared_as`."""


def score(errors: ValidationErrors, weights: LossWeights) -> float:
    """What chooses the best weights: the sum of mean absolute errors over the scale, each times the root of its weight.

    Raises:
        ValueError: no label of the validation structures has a weight.
    """
    weighed = [(of_kind, errors[kind].mae) for kind, of_kind in weights.items() if of_kind.weight and kind in errors]
    counted = [math.sqrt(of_kind.weight) * mae / of_kind.scale for of_kind, mae in weighed if mae is not None]
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
    """Mean errors over all labels of several batches, which have labels of the same properties."""
    return {kind: _mean_errors(kind, torch.cat([one[kind] for one in errors])) for kind in errors[0]}


def _mean_errors(kind: Property, errors: Tensor) -> MeanErrors:
    square = _mean(errors.square())
    return MeanErrors(compared_as(kind), _mean(errors.abs()), None if square is None else math.sqrt(square))


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
