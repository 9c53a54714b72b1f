"""Episodes: systems of which a few structures are learnt in an inner loop and others judge what came of it.

Model-agnostic meta-learning (Finn et al. 2017, doi 10.48550/arXiv.1703.03400), to first and to second order, and
Reptile (Nichol et al. 2018, doi 10.48550/arXiv.1803.02999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.theory import at_level
from ase_nbody.data import Dataset, PackedSamples, Sample, samples
from ase_nbody.kernels.workers import torch_threads
from ase_nbody.meta.inner_rates import InnerRates
from ase_nbody.meta.meta_settings import InnerSettings
from ase_nbody.potential import Potential, predict
from ase_nbody.training.lessons import Lessons, epoch_order
from ase_nbody.training.loss import Errors, LossWeights, errors, loss
from ase_nbody.training.validation import ValidationErrors, exchanged, mean_errors

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
class Episodes(Lessons):
    """Systems to learn to adapt to; each is a lesson, with other structures in every pass.

    Attributes:
        learnt: systems that are learnt.
        judged: systems after whose adaptation errors are taken.
        weights: of the loss.
        inner: what an adaptation is.
        names: parameters that it changes.
        rates: at which it changes them.
    """

    learnt: Systems
    judged: Systems
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
        with torch_threads(1), exchanged(potential.network, parameters):
            found = [self._errors_after(potential, n) for n in range(len(self.judged.members))]
        return mean_errors(found)

    def own_parameters(self) -> dict[str, Parameter]:
        """Logarithms of the rates of the inner loop, where they are learnt."""
        if not self.inner.learned_rates:
            return {}
        return {f"log_rate_{group}": logarithm for group, logarithm in self.rates.logarithms.items()}

    def _errors_after(self, potential: Potential, system: int) -> Errors:
        support, query = self._episode(self.judged, system, epoch=0)
        with at_level(potential.network, support.level):
            values = self._adapted(potential, support)
            prediction = predict(potential, query.graph, {n: v.detach() for n, v in values.items()})
            return errors(prediction, query.targets, query.graph)

    def _episode(self, among: Systems, system: int, epoch: int) -> tuple[Sample, Sample]:
        """Support and query of a system in one pass; nothing but the arguments decides them."""
        members = among.members[system]
        order = members[epoch_order(len(members), seed=system, epoch=epoch)]
        n_support = min(self.inner.support, len(members) - 1)
        query = order[n_support : n_support + self.inner.query]
        return among.samples.batch(order[:n_support]), among.samples.batch(query)

    def _gradients(
        self, potential: Potential, support: Sample, query: Sample
    ) -> tuple[float, list[tuple[Parameter, Tensor]]]:
        """The loss after an adaptation, and what the parameters are stepped against."""
        own = dict(potential.network.named_parameters())
        second = self.inner.method == "maml"
        values = self._adapted(potential, support, differentiable=second)
        if self.inner.method == "reptile":
            path = self.inner.rate * self.inner.steps
            moved = [(own[name], (own[name] - values[name]) / path) for name in self.names]
            return _loss(potential, query, {n: v.detach() for n, v in values.items()}, self.weights).item(), moved
        value = _loss(potential, query, values, self.weights)
        shared = [name for name in own if name not in self.names and own[name].requires_grad and "theory." not in name]
        rates = self.rates.logarithms if self.inner.learned_rates else {}
        wanted: list[Tensor] = [own[name] if second else values[name] for name in self.names]
        wanted += [own[name] for name in shared]
        of_steps: list[Tensor] = list(rates.values()) if second else []
        found = torch.autograd.grad(value, wanted + of_steps, materialize_grads=True)
        gradients = list(zip([own[name] for name in [*self.names, *shared]], found, strict=False))
        if second:
            return value.item(), gradients + list(zip(rates.values(), found[len(wanted) :], strict=True))
        changes = {name: values[name].detach() - own[name].detach() for name in self.names}
        of_rates = self.rates.first_order_gradients(changes, dict(zip(self.names, found, strict=False)))
        return value.item(), gradients + [(rates[group], of_rates[group]) for group in rates]

    def _adapted(self, potential: Potential, support: Sample, *, differentiable: bool = False) -> dict[str, Tensor]:
        rates = {name: self.rates.of(name) for name in self.names}
        return adapted(potential, support, rates, self.weights, self.inner, differentiable=differentiable)


def adapted(
    potential: Potential,
    support: Sample,
    rates: Mapping[str, Tensor],
    weights: LossWeights,
    inner: InnerSettings,
    *,
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """Parameters after some steps of gradient descent on a few structures; the network stays as it is.

    Args:
        potential: where it begins.
        support: structures and labels.
        rates: of each parameter that is changed, ().
        weights: of the loss.
        inner: number of steps, and largest norm of a gradient.
        differentiable: keep the graph, so that the result can be differentiated by where it began and by the rates.

    Returns:
        Values by name. Without `differentiable` they are leaves that want gradients.
    """
    own = dict(potential.network.named_parameters())
    values: dict[str, Tensor] = {name: own[name] for name in rates}
    if not differentiable:
        rates = {name: rate.detach() for name, rate in rates.items()}
        values = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
    for _ in range(inner.steps):
        now = _loss(potential, support, values, weights)
        found = torch.autograd.grad(
            now, list(values.values()), create_graph=differentiable, materialize_grads=True
        )  # of zero where nothing depends on a parameter, as on those of higher degrees in the last level
        norm = torch.stack([g.square().sum() for g in found]).sum().sqrt()
        shrunk = inner.clip / norm.clamp(min=inner.clip)
        values = {name: v - rates[name] * shrunk * g for (name, v), g in zip(values.items(), found, strict=True)}
        if not differentiable:
            values = {name: value.detach().requires_grad_() for name, value in values.items()}
    return values


def _loss(potential: Potential, sample: Sample, values: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    prediction = predict(potential, sample.graph, values, differentiable=True)
    return loss(prediction, sample.targets, sample.graph, weights)
