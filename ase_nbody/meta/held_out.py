"""Held-out errors of a candidate: what it gives on structures that it was not fitted to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.data import ErrorReport, Evaluation, evaluate
from ase_nbody.data.copies import copy_numbers
from ase_nbody.data.errors import error_report
from ase_nbody.data.evaluation import joined
from ase_nbody.data.mean_errors import MeanErrors
from ase_nbody.meta.candidates import AdaptationMethod, AdaptationTask
from ase_nbody.meta.fitting import MILLI, Structures
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM, FORCES
from ase_nbody.training.budget import Budget
from ase_nbody.training.loss import LossWeights, as_compared
from ase_nbody.training.validation import score, validation_errors

Floats = NDArray[np.float64]
FEWEST_PASSES = 2
"""Passes over what is learnt below which a training on the clock says nothing of its method."""


@dataclass(frozen=True)
class Fold:
    """Numbers of the structures that are learnt and of those that are held out."""

    learnt: tuple[int, ...]
    held_out: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A candidate's errors on held-out structures.

    Attributes:
        candidate: what was fitted.
        report: errors over the held-out structures of all folds.
        score: what is compared: mean absolute errors after `steps` of all that is labelled, each times the root of its
            weight, meV and meV/angstrom; of properties beside energies, forces and stress see `Structures.scales`.
        steps: after which the mean score of all folds is the least; 0 where nothing was stepped.
        seconds: time of all folds, their errors too.
        evaluation: on the held-out structures, fold by fold, each after the steps that are best for it.
        structure_scores: the score of each of them, (S,).
        compared: its budget was enough to say anything: `FEWEST_PASSES`, or what the settings ask for.
    """

    candidate: AdaptationMethod
    report: ErrorReport
    score: float
    steps: int
    seconds: float
    evaluation: Evaluation
    structure_scores: Floats
    compared: bool = True

    @property
    def errors(self) -> tuple[MeanErrors, ...]:
        """Of forces and energies per atom, and of all else that is labelled."""
        others = (e for e in self.report.errors if e.kind not in (ENERGY, ENERGY_PER_ATOM, FORCES))
        labelled = (errors for errors in others if errors.mae is not None)
        return (self.report.of(FORCES), self.report.of(ENERGY_PER_ATOM), *labelled)


def folds(structures: Sequence[Atoms], settings: AdaptationSettings) -> list[Fold]:
    """Disjoint random parts of the structures, each held out once, with all copies of a structure in one part.

    Raises:
        ValueError: fewer different structures than two.
    """
    numbers = copy_numbers(structures)  # (S,)
    n_different = int(numbers.max(initial=-1)) + 1
    if n_different < 2:
        raise ValueError(
            f"{n_different} structure(s), copies aside, cannot be learnt and held out; label at least 2, about 50 are "
            "a good number"
        )
    size = max(1, round(settings.hold_out * n_different))
    order = torch.randperm(n_different, generator=torch.Generator().manual_seed(settings.seed)).numpy()
    number = min(settings.number_of_folds(n_different), n_different // size)
    held_out = [np.isin(numbers, order[n * size : (n + 1) * size]) for n in range(number)]
    return [Fold(tuple(np.flatnonzero(~out).tolist()), tuple(np.flatnonzero(out).tolist())) for out in held_out]


def held_out_errors(
    candidate: AdaptationMethod,
    start: Potential,
    structures: Structures,
    folds: Sequence[Fold],
    budget: Budget,
    settings: AdaptationSettings,
    now: Callable[[], float] = time.monotonic,
) -> Row:
    """Fit a candidate to what is left of each fold, and compare with what is held out.

    Args:
        candidate: what is fitted.
        start: that is adapted.
        structures: all of them.
        folds: what each learns and holds out.
        budget: of each fold.
        settings: of the adaptation.
        now: tells the time, seconds.

    Raises:
        TrainingDivergedError: a training diverged.
    """
    begun, weights = now(), structures.weights(settings, MILLI)
    evaluations, scores, curves, compared = [], [], [], True
    for fold in folds:
        out = structures.subset(fold.held_out)
        fit = candidate.fitted(AdaptationTask(start, structures.subset(fold.learnt), out, budget, settings, now))
        potential = fit.referenced.potential
        evaluations.append(evaluate(potential, out.dataset)[1])
        scores.append(score_of(potential, out, settings))
        curves.append(fit.steps.scores)
        fewest = FEWEST_PASSES * len(fold.learnt) / settings.batch_size
        compared &= not candidate.takes_steps or settings.steps is not None or fit.steps.taken >= fewest
    steps, excess = common_steps(curves) if candidate.takes_steps else (0, 0.0)
    evaluation, seconds = joined(evaluations), now() - begun
    volumes = [structures.dataset.structures[i].cell.volume for fold in folds for i in fold.held_out]
    of_each = structure_scores(evaluation, np.array(volumes), weights)
    return Row(
        candidate, error_report(evaluation), fmean(scores) + excess, steps, seconds, evaluation, of_each, compared
    )


def common_steps(curves: Sequence[Sequence[tuple[int, float]]]) -> tuple[int, float]:
    """Steps with the least mean score of all folds, and by how much it is above the mean of each fold's own least.

    The mean of the folds' own best steps is no number of steps to take: where one fold is better than its start after
    sixty steps and two are never, twenty may be worse for all.

    Args:
        curves: steps and scores of each fold, from the first step on.

    Example:
        >>> common_steps([[(0, 4.0), (20, 6.0), (60, 1.0)], [(0, 2.0), (20, 5.0), (60, 3.0)]])
        (60, 0.5)
    """
    last = min(curve[-1][0] for curve in curves)
    steps = sorted({step for curve in curves for step, _ in curve if step <= last})
    scores = np.mean([np.interp(steps, *np.transpose(curve)) for curve in curves], axis=0)
    own = fmean(min(score for _, score in curve) for curve in curves)
    best = int(np.argmin(scores))
    return steps[best], float(scores[best] - own)


def score_of(potential: Potential, structures: Structures, settings: AdaptationSettings) -> float:
    """What candidates are compared by, of a potential on structures; see `Row.score`."""
    own = {name: parameter.detach() for name, parameter in potential.network.named_parameters()}
    return score(validation_errors(potential, structures.batches(), own), structures.weights(settings, MILLI))


def structure_scores(evaluation: Evaluation, volumes: Floats, weights: LossWeights) -> Floats:
    """What `score_of` gives each structure alone, (S,); 0 where it has no labels.

    Args:
        evaluation: of S structures.
        volumes: of their cells, (S,), angstrom^3.
        weights: of the score.
    """
    atoms = evaluation.n_atoms
    scores = np.zeros(len(atoms))
    for compared in evaluation.compared:
        kind = compared.kind
        if kind not in weights:
            continue
        sizes = np.abs(as_compared(kind, compared.errors, atoms.astype(float), volumes))  # (rows, *shape)
        owners = np.repeat(np.arange(len(atoms)), atoms if kind.per_atom else 1)  # (rows,)
        rows = sizes.reshape(len(owners), -1)
        labelled = np.bincount(owners, weights=(~np.isnan(rows)).sum(axis=1))  # (S,)
        means = np.bincount(owners, weights=np.nansum(rows, axis=1)) / np.maximum(labelled, 1)
        scores += weights[kind].weight ** 0.5 / weights[kind].scale * means
    return scores
