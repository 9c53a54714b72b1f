"""Episodes: systems of which a few structures are learnt in an inner loop and others judge what came of it.

Model-agnostic meta-learning (Finn et al. 2017, doi 10.48550/arXiv.1703.03400), to first and to second order, and
Reptile (Nichol et al. 2018, doi 10.48550/arXiv.1803.02999).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.theory import at_level
from ase_nbody.data import Dataset, PackedSamples, Sample, samples
from ase_nbody.meta.inner_rates import InnerRates
from ase_nbody.meta.meta_settings import InnerSettings
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import Prediction
from ase_nbody.thread_count import using_threads
from ase_nbody.training.loss import Errors, LossWeights, errors, loss
from ase_nbody.training.objective import Objective, epoch_order
from ase_nbody.training.validation import ValidationErrors, exchanged, mean_errors

Gradients = list[tuple[Parameter, Tensor]]
"""What parameters are stepped against."""

FEWEST = 2
"""Structures of a system: one to learn and one to judge."""


@dataclass(frozen=True)
class Systems:
    """Structures by system: those of one composition, and of one name where they have names, at one level of theory.

    Attributes:
        samples: all structures.
        members: numbers of the structures of each system.
    """

    samples: PackedSamples
    members: tuple[Tensor, ...]


def systems(dataset: Dataset, cutoff: float, dtype: torch.dtype, device: torch.device | str = "cpu") -> Systems:
    """The systems of a dataset that have two structures at least, in the order of their first structures.

    Args:
        dataset: labelled structures.
        cutoff: largest distance between neighbours, angstrom.
        dtype: of positions and forces.
        device: where the tensors live.

    Raises:
        ValueError: no system has two structures.
    """
    groups: dict[tuple[str, str, int], list[int]] = {}
    for number, (atoms, label) in enumerate(zip(dataset.structures, dataset.labels, strict=True)):
        groups.setdefault((label.system, atoms.get_chemical_formula(), label.level), []).append(number)
    members = tuple(torch.tensor(numbers) for numbers in groups.values() if len(numbers) >= FEWEST)
    if not members:
        raise ValueError(
            f"{dataset.source} has no two structures of one composition; episodes need systems with several structures"
        )
    return Systems(PackedSamples(samples(dataset, cutoff, dtype=dtype), device), members)


@dataclass(frozen=True)
class Episodes(Objective):
    """Systems to learn to adapt to; each is an example, with other structures in every pass.

    Attributes:
        learnt: systems that are learnt.
        validation: systems after whose adaptation errors are taken.
        weights: of the loss.
        inner: what an adaptation is.
        names: parameters that it changes.
        rates: at which it changes them.
    """

    learnt: Systems
    validation: Systems
    weights: LossWeights
    inner: InnerSettings
    names: tuple[str, ...]
    rates: InnerRates

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
        """All systems in a new order."""
        n = len(self.learnt.members)
        return list(epoch_order(n, seed, epoch).tensor_split(-(-n // batch_size)))

    def gradient(self, potential: Potential, chosen: Tensor, epoch: int) -> float:
        """Of the mean loss after the adaptation to each system, or Reptile's mean direction."""
        total = 0.0
        for system in chosen.tolist():
            support, query = self._episode(self.learnt, system, epoch)
            with at_level(potential.network, support.level):
                value, gradients = self._gradients(potential, support, query)
            for parameter, gradient in gradients:
                share = gradient.detach() / len(chosen)
                parameter.grad = share if parameter.grad is None else parameter.grad + share
            total += value / len(chosen)
        return total

    def errors(self, potential: Potential, parameters: Mapping[str, Tensor]) -> ValidationErrors:
        """Of the query structures of systems that are not learnt, after the adaptation to their support."""
        with using_threads(1), exchanged(potential.network, parameters):
            errors = [self._errors_after(potential, n) for n in range(len(self.validation.members))]
        return mean_errors(errors)

    def own_parameters(self) -> dict[str, Parameter]:
        """Logarithms of the rates of the inner loop, where they are learnt."""
        if not self.inner.learned_rates:
            return {}
        return {f"log_rate_{group}": logarithm for group, logarithm in self.rates.logarithms.items()}

    def _errors_after(self, potential: Potential, system: int) -> Errors:
        support, query = self._episode(self.validation, system, epoch=0)
        with at_level(potential.network, support.level), self._adapted(potential, support):
            return errors(predict(potential, query.graph), query.targets, query.graph)

    def _episode(self, among: Systems, system: int, epoch: int) -> tuple[Sample, Sample]:
        """Support and query of a system in one pass; nothing but the arguments decides them."""
        members = among.members[system]
        order = members[epoch_order(len(members), seed=system, epoch=epoch)]
        n_support = min(self.inner.support, len(members) - 1)
        query = order[n_support : n_support + self.inner.query]
        return among.samples.batch(order[:n_support]), among.samples.batch(query)

    def _gradients(self, potential: Potential, support: Sample, query: Sample) -> tuple[float, Gradients]:
        """The loss after an adaptation, and what the parameters are stepped against."""
        if self.inner.method == "maml":
            return self._second_order(potential, support, query)
        own = dict(potential.network.named_parameters())
        with self._adapted(potential, support) as updates:
            value = _loss(trainable_prediction(potential, query.graph), query, self.weights)
            if self.inner.method == "reptile":
                path = self.inner.rate * self.inner.steps
                return value.item(), [(own[name], -update / path) for name, update in updates.items()]
            names = [*self.names, *self._shared(own)]
            by_parameters = torch.autograd.grad(value, [own[name] for name in names], materialize_grads=True)
        by_name = dict(zip(names, by_parameters, strict=True))
        gradients: Gradients = [(own[name], gradient) for name, gradient in by_name.items()]
        if self.inner.learned_rates:
            of_rates = self.rates.first_order_gradients(updates, by_name)
            gradients += [(self.rates.logarithms[group], gradient) for group, gradient in of_rates.items()]
        return value.item(), gradients

    def _second_order(self, potential: Potential, support: Sample, query: Sample) -> tuple[float, Gradients]:
        own = dict(potential.network.named_parameters())
        values = adapted_values(potential, support, self._rates(), self.weights, self.inner)
        value = _loss(predict(potential, query.graph, values, differentiable=True), query, self.weights)
        wanted = [own[name] for name in (*self.names, *self._shared(own))] + list(self.own_parameters().values())
        return value.item(), list(zip(wanted, torch.autograd.grad(value, wanted, materialize_grads=True), strict=True))

    def _shared(self, own: Mapping[str, Parameter]) -> list[str]:
        """Parameters that the inner loop leaves and that all systems share."""
        names = set(self.names)
        return [n for n, value in own.items() if n not in names and value.requires_grad and "theory." not in n]

    def _adapted(self, potential: Potential, support: Sample) -> AbstractContextManager[dict[str, Tensor]]:
        rates = {name: rate.detach() for name, rate in self._rates().items()}
        return adapted(potential, support, rates, self.weights, self.inner)

    def _rates(self) -> dict[str, Tensor]:
        return {name: self.rates.of(name) for name in self.names}


@contextmanager
def adapted(
    potential: Potential, support: Sample, rates: Mapping[str, Tensor], weights: LossWeights, inner: InnerSettings
) -> Iterator[dict[str, Tensor]]:
    """A potential whose network has taken some steps of gradient descent on a few structures, for a while.

    The gradients are made by the architecture's own way where it has one.

    Args:
        potential: where it begins, and ends.
        support: structures and labels.
        rates: of each parameter that is changed, ().
        weights: of the loss.
        inner: number of steps, and largest norm of a gradient.

    Yields:
        What the steps changed, by name.
    """
    network = potential.network
    parameters = {name: network.get_parameter(name) for name in rates}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with exchanged(network, dict(network.named_parameters())):
        for _ in range(inner.steps):
            value = _loss(trainable_prediction(potential, support.graph), support, weights)
            updates = _updates(value, parameters, rates, inner)
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.add_(updates[name])
        yield {name: parameter.detach() - before[name] for name, parameter in parameters.items()}


def adapted_values(
    potential: Potential, support: Sample, rates: Mapping[str, Tensor], weights: LossWeights, inner: InnerSettings
) -> dict[str, Tensor]:
    """Values of parameters after the steps of `adapted`, differentiable by where it begins and by the rates."""
    values: dict[str, Tensor] = {name: potential.network.get_parameter(name) for name in rates}
    for _ in range(inner.steps):
        now = _loss(predict(potential, support.graph, values, differentiable=True), support, weights)
        updates = _updates(now, values, rates, inner, differentiable=True)
        values = {name: value + updates[name] for name, value in values.items()}
    return values


def _updates(
    value: Tensor,
    parameters: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    inner: InnerSettings,
    *,
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """One step of gradient descent. Where nothing depends on a parameter, as in the last level, it is zero."""
    gradients = torch.autograd.grad(
        value, list(parameters.values()), create_graph=differentiable, materialize_grads=True
    )
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    shrunk = inner.clip / norm.clamp(min=inner.clip)
    return {name: -rates[name] * shrunk * g for name, g in zip(parameters, gradients, strict=True)}


def _loss(prediction: Prediction, sample: Sample, weights: LossWeights) -> Tensor:
    return loss(prediction, sample.targets, sample.graph, weights)
