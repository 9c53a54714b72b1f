"""Candidates: what of a start is changed, and how, from cheap to dear."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim import Optimizer

from ase_nbody.data import samples as samples_of
from ase_nbody.data import statistics
from ase_nbody.meta.design import design
from ase_nbody.meta.fitting import Fit, Structures, copied, loss_weights, referenced, stepped
from ase_nbody.meta.groups import only_trained, parameter_groups
from ase_nbody.meta.optimizers import LowRank, TowardsStart, of_rank
from ase_nbody.meta.ridge import cross_validated, with_readouts
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.potential import Potential
from ase_nbody.training.budget import Budget
from ase_nbody.training.scale import energy_scale
from ase_nbody.training.state import network_optimizers


@dataclass(frozen=True)
class AdaptationMethod(ABC):
    """One way to a model of the structures; it changes neither start nor structures.

    Attributes:
        name: as `AdaptationSettings.method` has it.
        words: what is done, for a table.
    """

    name: str
    words: str
    takes_steps = False

    @abstractmethod
    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """A potential of structures.

        Args:
            start: that is adapted.
            structures: what is learnt.
            held_out: structures that choose the best step; None: the budget's last is taken.
            budget: of candidates that take steps.
            settings: of the adaptation.

        Raises:
            TrainingDivergedError: a training diverged.
        """


@dataclass(frozen=True)
class StartItself(AdaptationMethod):
    """The start with new reference energies."""

    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """See `AdaptationMethod.fitted`."""
        begun = time.monotonic()
        return Fit(referenced(start, structures), 0, time.monotonic() - begun)


@dataclass(frozen=True)
class Readouts(AdaptationMethod):
    """Ridge regression of the readouts."""

    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """See `AdaptationMethod.fitted`; the strength comes from folds of the structures that are learnt."""
        begun = time.monotonic()
        own = copied(start)
        exact = replace(own, network=copied(start).network.double())
        exact = referenced(
            exact, Structures(structures.dataset, samples_of(structures.dataset, start.cutoff))
        ).potential
        weights = loss_weights(settings, start.energy_scale)
        ridge = cross_validated(design(exact, samples_of(structures.dataset, start.cutoff), weights))
        with_readouts(own.network, ridge.change)
        return Fit(referenced(own, structures), 0, time.monotonic() - begun)


@dataclass(frozen=True)
class Steps(AdaptationMethod):
    """Training from the start, of all or some of its parameters.

    Attributes:
        group: group of the parameters that are trained.
    """

    group: str
    takes_steps = True

    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """See `AdaptationMethod.fitted`."""
        begun = time.monotonic()
        own = referenced(copied(start), structures).potential
        with only_trained(own.network, parameter_groups(own.network)[self.group]):
            optimizers = network_optimizers(
                own.network, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=0.0
            )
            anchored = (*optimizers, _towards_start(own, settings))
            steps = stepped(own, anchored, structures, held_out, budget, settings)
        return Fit(referenced(own, structures), steps, time.monotonic() - begun)


@dataclass(frozen=True)
class LowRankUpdates(AdaptationMethod):
    """Updates of low rank of the mixing matrices."""

    takes_steps = True

    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """See `AdaptationMethod.fitted`."""
        begun = time.monotonic()
        own = referenced(copied(start), structures).potential
        network = own.network
        matrices = network.mixing_matrices()
        starts = [matrix.detach().clone() for matrix in matrices]
        generator = torch.Generator().manual_seed(settings.seed)
        with only_trained(network, parameter_groups(network)["mixing"]):
            adapters = LowRank(matrices, settings.rank, settings.learning_rate, settings.decay, generator=generator)
            steps = stepped(own, [adapters], structures, held_out, budget, settings)
        with torch.no_grad():
            for matrix, cut in zip(matrices, of_rank(matrices, starts, settings.rank), strict=True):
                matrix.copy_(cut)
        return Fit(referenced(own, structures), steps, time.monotonic() - begun)


@dataclass(frozen=True)
class FromScratch(AdaptationMethod):
    """A network like the start's with random weights, for comparison only."""

    takes_steps = True

    def fitted(
        self,
        start: Potential,
        structures: Structures,
        held_out: Structures | None,
        budget: Budget,
        settings: AdaptationSettings,
    ) -> Fit:
        """See `AdaptationMethod.fitted`."""
        begun = time.monotonic()
        build: Any = type(start.network)
        generator = torch.Generator().manual_seed(settings.seed)
        network = build(start.network.settings, generator=generator).to(start.dtype)
        silent = referenced(replace(start, network=network, energy_scale=0.0), structures).potential
        scale = energy_scale(statistics(structures.dataset, silent.reference_energies, start.cutoff))
        own = replace(silent, energy_scale=scale)
        optimizers = network_optimizers(
            network, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=0.0
        )
        steps = stepped(own, optimizers, structures, held_out, budget, settings)
        return Fit(referenced(own, structures), steps, time.monotonic() - begun)


START = StartItself("start", "the start, new reference energies")
SCRATCH = FromScratch("scratch", "from random weights, for comparison")


def candidates(start: Potential) -> dict[str, AdaptationMethod]:
    """What can be done with a start, by name, from cheap to dear; its architecture decides what there is."""
    groups = parameter_groups(start.network)
    known: Sequence[tuple[str, AdaptationMethod]] = (
        ("all", START),
        ("readout", Readouts("readout", "readouts, closed form")),
        ("radial", Steps("radial", "radial weights", "radial")),
        ("mixing", LowRankUpdates("low-rank", "low-rank updates of the mixing matrices")),
        ("all", Steps("all", "all weights", "all")),
    )
    return {candidate.name: candidate for group, candidate in known if group in groups}


def _towards_start(own: Potential, settings: AdaptationSettings) -> Optimizer:
    trained = [p for p in own.network.parameters() if p.requires_grad]
    return TowardsStart(trained, settings.learning_rate, settings.decay)
