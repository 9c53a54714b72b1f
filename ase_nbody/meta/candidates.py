"""Candidates: what of a start is changed, and how, from cheap to dear."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer
from typing_extensions import override

from ase_nbody.architectures.theory import choose_level
from ase_nbody.data import statistics
from ase_nbody.meta.auxiliary import add_auxiliary_level, auxiliary_readouts
from ase_nbody.meta.design import design
from ase_nbody.meta.fitting import Fit, Steps, Structures, copied, referenced, stepped
from ase_nbody.meta.groups import only_trained, parameter_groups
from ase_nbody.meta.optimizers import LowRank, TowardsStart, of_rank
from ase_nbody.meta.ridge import cross_validated, with_readouts
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.term_fit import fit_terms
from ase_nbody.potential import Potential
from ase_nbody.training.budget import Budget
from ase_nbody.training.scale import energy_scale
from ase_nbody.training.settings import FittingSettings
from ase_nbody.training.state import further_optimizers, network_optimizers


@dataclass(frozen=True)
class AdaptationTask:
    """What a method is given.

    Attributes:
        start: that is adapted.
        structures: what is learnt.
        held_out: structures that choose the best step; None: the budget's last is taken.
        budget: of methods that take steps.
        settings: of the adaptation.
        now: tells the time, seconds.
    """

    start: Potential
    structures: Structures
    held_out: Structures | None
    budget: Budget
    settings: AdaptationSettings
    now: Callable[[], float] = field(default=lambda: time.monotonic())

    def stepped(self, own: Potential, optimizers: Sequence[Optimizer]) -> Steps:
        """Train a potential in place; the steps."""
        return stepped(own, optimizers, self.structures, self.held_out, self.budget, self.settings, self.now)

    def referenced(self, potential: Potential) -> Potential:
        """A potential with reference energies of the structures."""
        return referenced(potential, self.structures).potential

    def begun(self) -> Potential:
        """What steps begin with: the start, with reference energies, and a level of theory for auxiliary labels."""
        own = self.referenced(copied(self.start))
        if self.structures.auxiliary:
            add_auxiliary_level(own.network)
        return own


@dataclass(frozen=True)
class AdaptationMethod(ABC):
    """One way to a model of the structures; it changes neither start nor structures.

    Attributes:
        name: as `AdaptationSettings.method` has it.
        words: what is done, for a table.
        learning_rate: where the settings are not given another one.
    """

    name: str
    words: str
    takes_steps = False
    learning_rate: ClassVar[float] = AdaptationSettings.model_fields["learning_rate"].default

    def fitted(self, task: AdaptationTask) -> Fit:
        """A potential of structures, with reference energies of them.

        Raises:
            TrainingDivergedError: a training diverged.
        """
        begun = task.now()
        if "learning_rate" not in task.settings.model_fields_set:
            task = replace(task, settings=task.settings.model_copy(update={"learning_rate": self.learning_rate}))
        own, steps = self.changed(task)
        choose_level(own.network, 0)  # without the auxiliary one
        # from those of the start, also where they were fitted before the steps: fitted twice, they differ by rounding
        own = replace(own, reference_energies=task.start.reference_energies)
        return Fit(referenced(own, task.structures), steps, task.now() - begun)

    @abstractmethod
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        """A potential of other weights, and the steps of it."""


@dataclass(frozen=True)
class StartItself(AdaptationMethod):
    """The start with new reference energies."""

    @override
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        return task.start, Steps()


@dataclass(frozen=True)
class Readouts(AdaptationMethod):
    """Ridge regression of the readouts, from the structures' `linear` errors; further terms are fitted beside it."""

    @override
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        own = copied(task.start)
        weights = task.structures.weights(task.settings, task.start.energy_scale)
        with_readouts(own.network, cross_validated(design(task.structures.linear, weights)).update)
        fit_terms(own, task.structures, weights)
        return own, Steps()


@dataclass(frozen=True)
class SteppedGroup(AdaptationMethod):
    """Training from the start, of all or some of its parameters.

    Attributes:
        group: group of the parameters that are trained.
    """

    group: str
    takes_steps = True

    @override
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        own = task.begun()
        with only_trained(own.network, (*parameter_groups(own.network)[self.group], *auxiliary_readouts(own.network))):
            optimizers = network_optimizers(
                own.network, task.settings.optimizer, learning_rate=task.settings.learning_rate, weight_decay=0.0
            )
            anchored = (*optimizers, _towards_start(own, task.settings))
            steps = task.stepped(own, anchored)
        return own, steps


@dataclass(frozen=True)
class LowRankUpdates(AdaptationMethod):
    """Updates of low rank of the mixing matrices; their factors begin small, and want larger steps."""

    takes_steps = True
    learning_rate = 0.01

    @override
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        own = task.begun()
        network, readouts = own.network, auxiliary_readouts(own.network)
        matrices = network.mixing_matrices()
        starts = [matrix.detach().clone() for matrix in matrices]
        generator = torch.Generator().manual_seed(task.settings.seed)
        with only_trained(network, (*parameter_groups(network)["mixing"], *readouts)):
            adapters = LowRank(
                matrices, task.settings.rank, task.settings.learning_rate, task.settings.decay, generator=generator
            )
            beside = further_optimizers(list(readouts.values()), task.settings.learning_rate)
            steps = task.stepped(own, [adapters, *beside])
        with torch.no_grad():
            for matrix, cut in zip(matrices, of_rank(matrices, starts, task.settings.rank), strict=True):
                matrix.copy_(cut)
        return own, steps


@dataclass(frozen=True)
class FromScratch(AdaptationMethod):
    """A network like the start's with random weights, for comparison only; at the rate of `nbody train`.

    Further terms begin as those of the start, and auxiliary labels are not learnt.
    """

    takes_steps = True
    learning_rate = FittingSettings.model_fields["learning_rate"].default

    @override
    def changed(self, task: AdaptationTask) -> tuple[Potential, Steps]:
        task = replace(task, structures=replace(task.structures, auxiliary=()))
        build: Any = type(task.start.network)
        generator = torch.Generator().manual_seed(task.settings.seed)
        network = build(task.start.network.settings, generator=generator).to(task.start.dtype)
        silent = task.referenced(replace(copied(task.start), network=network, energy_scale=0.0))
        scale = energy_scale(statistics(task.structures.dataset, silent.reference_energies, task.start.cutoff))
        own = replace(silent, energy_scale=scale)
        optimizers = network_optimizers(
            network, task.settings.optimizer, learning_rate=task.settings.learning_rate, weight_decay=0.0
        )
        steps = task.stepped(own, optimizers)
        return own, steps


START = StartItself("start", "the start, new reference energies")
SCRATCH = FromScratch("scratch", "from random weights, for comparison")


def candidates(start: Potential) -> dict[str, AdaptationMethod]:
    """What can be done with a start, by name, from cheap to dear; its architecture decides what there is."""
    groups = parameter_groups(start.network)
    known: Sequence[tuple[str, AdaptationMethod]] = (
        ("all", START),
        ("readout", Readouts("readout", "readouts, closed form")),
        ("radial", SteppedGroup("radial", "radial weights", "radial")),
        ("mixing", LowRankUpdates("low-rank", "low-rank updates of the mixing matrices")),
        ("all", SteppedGroup("all", "all weights", "all")),
    )
    return {candidate.name: candidate for group, candidate in known if group in groups}


def _towards_start(own: Potential, settings: AdaptationSettings) -> Optimizer:
    trained = [p for p in own.network.parameters() if p.requires_grad]
    return TowardsStart(trained, settings.learning_rate, settings.decay)
