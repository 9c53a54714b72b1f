"""Held-out errors of a candidate: what it gives on structures that it was not fitted to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from ase import Atoms

from ase_nbody.data import ErrorReport, Evaluation, evaluate
from ase_nbody.data.copies import copy_numbers
from ase_nbody.data.errors import error_report
from ase_nbody.data.evaluation import joined
from ase_nbody.meta.candidates import AdaptationMethod, AdaptationTask
from ase_nbody.meta.fitting import MILLI, Structures
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.potential import Potential
from ase_nbody.training.budget import Budget
from ase_nbody.training.loss import loss_weights
from ase_nbody.training.validation import score, validation_errors

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
        score: what is compared: mean absolute errors after `steps`, each times the root of its weight, meV and
            meV/angstrom.
        steps: after which the mean score of all folds is the least; 0 where nothing was stepped.
        seconds: time of all folds, their errors too.
        evaluation: on the held-out structures, fold by fold, each after the steps that are best for it.
        compared: its budget was enough to say anything: `FEWEST_PASSES`, or what the settings ask for.
    """

    candidate: AdaptationMethod
    report: ErrorReport
    score: float
    steps: int
    seconds: float
    evaluation: Evaluation
    compared: bool = True


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
    begun = now()
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
    report = error_report(evaluation)
    return Row(candidate, report, fmean(scores) + excess, steps, seconds, evaluation, compared)


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
    return score(validation_errors(potential, structures.batches(), own), loss_weights(settings, MILLI))
