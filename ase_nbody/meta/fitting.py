"""Training for adaptation: the loop of `nbody train` without files, on a copy of a potential."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lightning_fabric import Fabric
from rich.console import Console
from torch.optim import Optimizer

from ase_nbody.data import Dataset, PackedSamples, Sample, batches_of_samples, samples
from ase_nbody.meta.auxiliary import WithAuxiliary
from ase_nbody.meta.design import StructureErrors
from ase_nbody.meta.references import Referenced, with_reference_energies
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES, Property
from ase_nbody.stopping import StopRequest
from ase_nbody.training.budget import Budget, Clock
from ase_nbody.training.display import Display
from ase_nbody.training.loop import Task, fit
from ase_nbody.training.loss import LossWeights, loss_weights
from ase_nbody.training.objective import LabelledStructures
from ase_nbody.training.scale import label_scales
from ase_nbody.training.state import TrainingState, further_optimizers
from ase_nbody.training.validation import assign

VALIDATION_ATOMS = 500
MILLI = 1e-3
"""eV and eV/angstrom, in which candidates are compared."""


@dataclass(frozen=True)
class Structures:
    """Labelled structures, prepared for potentials of one cutoff.

    Attributes:
        dataset: structures and labels.
        samples: the same, with neighbour lists, in float32.
        linear: errors of each as a function of the start's readouts; empty where nothing asks for them.
        scales: errors of properties beside energies, forces and stress that count as 1 eV and 1 eV/angstrom, by
            property: the size of its labels in all structures, over the energy scale of the start.
        auxiliary: other structures, with forces of a cheap level of theory; see `auxiliary`.
    """

    dataset: Dataset
    samples: Sequence[Sample]
    linear: Sequence[StructureErrors] = ()
    scales: Mapping[Property, float] = field(default_factory=dict)
    auxiliary: Sequence[Sample] = ()

    def subset(self, indices: Sequence[int]) -> Structures:
        """The structures at some indices, with all auxiliary ones."""
        return replace(
            self,
            dataset=self.dataset.subset(indices),
            samples=[self.samples[i] for i in indices],
            linear=[self.linear[i] for i in indices] if self.linear else (),
        )

    def batches(self) -> list[Sample]:
        """All of them in batches for an evaluation."""
        return batches_of_samples(self.samples, VALIDATION_ATOMS)

    def weights(self, settings: AdaptationSettings, unit: float) -> LossWeights:
        """Weights of all that is labelled, with scales in a unit of energy, eV; see `loss_weights`."""
        return loss_weights(settings, unit, {kind: unit * scale for kind, scale in self.scales.items()})


def prepared(dataset: Dataset, potential: Potential) -> Structures:
    """A dataset with neighbour lists within a potential's cutoff, in its dtype."""
    scales = {kind: scale / potential.energy_scale for kind, scale in label_scales(dataset).items()}
    return Structures(dataset, samples(dataset, potential.cutoff, dtype=potential.dtype), scales=scales)


@dataclass(frozen=True)
class Fit:
    """A potential that was fitted to structures.

    Attributes:
        referenced: the potential, with reference energies of these structures.
        steps: what was stepped.
        seconds: time that it took.
    """

    referenced: Referenced
    steps: Steps
    seconds: float


@dataclass(frozen=True)
class Steps:
    """Steps of a training.

    Attributes:
        kept: steps of the weights that are kept.
        taken: all of them.
        scores: steps and scores on held-out structures of each validation, meV and meV/angstrom.
    """

    kept: int = 0
    taken: int = 0
    scores: tuple[tuple[int, float], ...] = ()


def copied(potential: Potential) -> Potential:
    """A potential with a network and further terms of its own."""
    network, others = copy.deepcopy((potential.network, potential.others))
    return replace(potential, network=network, others=others)


def referenced(potential: Potential, structures: Structures) -> Referenced:
    """A potential with reference energies of structures; see `with_reference_energies`."""
    return with_reference_energies(potential, structures.dataset, structures.samples)


def stepped(
    potential: Potential,
    optimizers: Sequence[Optimizer],
    structures: Structures,
    held_out: Structures | None,
    budget: Budget,
    settings: AdaptationSettings,
    now: Callable[[], float],
) -> Steps:
    """Train a potential in place, up to the best averaged weights, or the last without held-out structures.

    Args:
        potential: of which parameters that want a gradient are trained, those of its further terms too.
        optimizers: of those of the network.
        structures: to train on.
        held_out: structures that choose the best step; None: the last is taken.
        budget: when to end.
        settings: of the steps.
        now: tells the time, seconds.

    Raises:
        TrainingDivergedError: the training diverged.
    """
    network, terms = potential.network, potential.further_parameters
    averaged = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    all_optimizers = (*optimizers, *further_optimizers(list(terms.values()), settings.learning_rate))
    state = TrainingState(network, all_optimizers, averaged, terms=terms)
    task = Task(potential, _objective(potential, structures, held_out, settings), budget, settings, from_start=True)
    clock, display = Clock(started=now(), now=now), Display(Console(quiet=True))
    fit(task, state, clock, Fabric(accelerator="cpu", devices=1), display, StopRequest())
    taken = state.counters.step
    if held_out is None:
        assign(network, state.averaged)
        return Steps(taken, taken)
    state.take_best()
    unit = potential.energy_scale / MILLI
    scores = tuple((row.step, row.score * unit) for row in state.history)
    return Steps(min(scores, key=lambda score: score[1])[0], taken, scores)


def _objective(
    potential: Potential, structures: Structures, held_out: Structures | None, settings: AdaptationSettings
) -> LabelledStructures:
    weights = structures.weights(settings, potential.energy_scale)
    validation = [] if held_out is None else held_out.batches()
    packed = PackedSamples(structures.samples)
    if not structures.auxiliary:
        return LabelledStructures(packed, validation, weights)
    of_forces = {FORCES: replace(weights[FORCES], weight=settings.auxiliary_weight)}
    auxiliary = LabelledStructures(PackedSamples(structures.auxiliary), [], of_forces)
    return WithAuxiliary(packed, validation, weights, auxiliary, settings.seed)
