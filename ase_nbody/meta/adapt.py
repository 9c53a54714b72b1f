"""Adaptation: candidates compared by held-out errors, the choice, and its fit to all structures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ase_nbody.calibration.calibrate import covered_surroundings, posterior_in_turn
from ase_nbody.data import Dataset, without_isolated_atoms
from ase_nbody.data.evaluation import labels_left_out
from ase_nbody.meta.auxiliary import auxiliary_samples
from ase_nbody.meta.candidates import SCRATCH, START, AdaptationMethod, AdaptationTask, candidates
from ase_nbody.meta.choice import (
    TooFewStepsError,
    WorseModelError,
    best_row,
    reason_of,
    refuse_worse,
    row_words,
    worth_more_time,
)
from ase_nbody.meta.closed_form import SlowClosedFormError, with_linear_errors
from ase_nbody.meta.fitting import MILLI, Fit, Structures, copied, prepared, referenced
from ase_nbody.meta.held_out import Fold, Row, folds, held_out_errors, score_of
from ase_nbody.meta.new_elements import with_new_elements
from ase_nbody.meta.references import Referenced
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.shares import SHORT, Time, budget_of_folds, share_of_each
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES
from ase_nbody.training.budget import StepBudget
from ase_nbody.training.stopping import TrainingDivergedError
from ase_nbody.uncertainties import no_readouts


@dataclass(frozen=True)
class Adaptation:
    """An adapted potential and how it was chosen.

    Attributes:
        referenced: potential, fitted to all structures, in float32 and without repulsion.
        rows: held-out errors of all that was tried; the first is the start with new reference energies.
        chosen: the row of the candidate that was taken.
        reason: why, one sentence.
        n_held_out: structures held out in all folds, and the number of folds.
        steps: that the fit to all structures took.
        seconds: time of everything.
        new_elements: that the start did not know, and the elements that they began as.
    """

    referenced: Referenced
    rows: tuple[Row, ...]
    chosen: Row
    reason: str
    n_held_out: tuple[int, int]
    steps: int
    seconds: float
    new_elements: Mapping[str, str]


def adapt(
    start: Potential,
    data: Dataset,
    settings: AdaptationSettings,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    auxiliary: Dataset | None = None,
) -> Adaptation:
    """Adapt a potential to labelled structures.

    Args:
        start: what is adapted; it is not changed, and its repulsion is not looked at.
        data: structures; isolated atoms among them give reference energies and nothing else.
        settings: what is tried, and for how long.
        say: takes a line of text on the progress.
        now: tells the time, seconds, which `settings.minutes` bounds.
        auxiliary: structures of the same system with forces of a cheap level of theory, learnt beside by what steps.

    Raises:
        WorseModelError: what was chosen is worse than the start, or than a training from scratch.
        TooFewStepsError: the method asked for has no time to show anything.
        ValueError: new elements that are refused, too few structures, or a method that the start does not have.
    """
    search = _Search.begun(start, data, settings, say, now, auxiliary)
    rows = search.compared()
    if settings.steps is None:
        rows += search.longer(worth_more_time(rows), rows[0].seconds)
    best = best_row(rows, search.candidates, settings)
    reason = reason_of(rows, best, settings)
    refuse_worse(rows, best, settings)
    say(f"chosen: {best.candidate.words}; {reason}")
    fit = search.fitted_to_all(best)
    search.check_fit(fit)
    return Adaptation(
        referenced=search.calibrated(fit, best),
        rows=tuple(rows),
        chosen=best,
        reason=reason,
        n_held_out=(sum(len(fold.held_out) for fold in search.folds), len(search.folds)),
        steps=fit.steps.taken,
        seconds=search.time.spent(),
        new_elements=search.new_elements,
    )


@dataclass(frozen=True)
class _Search:
    """What is compared, on which structures, in which time."""

    start: Potential
    structures: Structures
    folds: Sequence[Fold]
    candidates: Sequence[AdaptationMethod]
    settings: AdaptationSettings
    say: Callable[[str], None]
    time: Time
    new_elements: Mapping[str, str]

    @classmethod
    def begun(
        cls,
        start: Potential,
        data: Dataset,
        settings: AdaptationSettings,
        say: Callable[[str], None],
        now: Callable[[], float],
        auxiliary: Dataset | None,
    ) -> _Search:
        clock = Time.begun(settings, now)
        if all(labels.energy is None and labels.forces is None for labels in data.labels):
            raise ValueError(f"{data.source} has no energies or forces, which are adapted to; label its structures")
        widened = with_new_elements(start, data)
        for element, near in widened.nearest.items():
            say(f"{element}: the start does not know it; its weights begin as those of {near}")
        chosen = _candidates(widened.potential, settings)
        own = replace(copied(widened.potential), repulsion=None, posteriors=(), surroundings=None)
        own.network.to(device="cpu", dtype=torch.float32).requires_grad_(True)
        structures = prepared(without_isolated_atoms(data), own)
        structures.weights(settings, MILLI)  # refuses weights of what has no labels, before anything takes time
        for words in labels_left_out(own, structures.dataset):
            say(words)
        if auxiliary is not None:
            structures = replace(structures, auxiliary=auxiliary_samples(auxiliary, own))
        in_turn = folds(structures.dataset.structures, settings)
        search = cls(own, structures, in_turn, chosen, settings, say, clock, widened.nearest)
        return search.with_closed_form()

    def with_closed_form(self) -> _Search:
        """With what the closed form needs; without this candidate where that takes too long."""
        closed = [candidate for candidate in self.candidates if candidate.name == "readout"]
        if not closed:
            return self
        limit = self.time.closed_form(self.settings)
        try:
            return replace(self, structures=with_linear_errors(self.structures, self.start, limit, self.time.now))
        except SlowClosedFormError as error:
            if self.settings.method == "readout":
                minutes = self.settings.minutes * error.seconds / limit
                raise TooFewStepsError(f"{error}; give --minutes {math.ceil(minutes)}, or another --method") from error
            self.say(f"{closed[0].words}: left out; {error}")
            return replace(self, candidates=[c for c in self.candidates if c not in closed])

    def longer(self, several: Sequence[AdaptationMethod], evaluation: float) -> list[Row]:
        """Rows of candidates that share the time with the fit to all structures, as many as it is enough for.

        Args:
            several: candidates, the first ones first.
            evaluation: seconds of a row besides its steps.
        """
        for number in range(len(several), 0, -1):
            share = share_of_each(self.time.left(), number, evaluation)
            if share > SHORT * self.time.left():
                return self.rows(several[:number], share)
        return []

    def fitted_to_all(self, best: Row) -> Fit:
        """What was best, fitted to all structures: the steps that were best, in the time that is left."""
        last = best.candidate if best.steps or not best.candidate.takes_steps else START  # no step was better than none
        budget = StepBudget(max(best.steps, 1), self.time.left())
        fit = last.fitted(AdaptationTask(self.start, self.structures, None, budget, self.settings, self.time.now))
        if fit.steps.taken < best.steps:
            words = f"{fit.steps.taken} of {best.steps} steps"
            self.say(f"the fit to all structures ended after {words}: --minutes was used up")
        return fit

    def check_fit(self, fit: Fit) -> None:
        """The fit to all structures, which no others judge, must be better than the start on these at least.

        Raises:
            WorseModelError: it is not, and is not to be accepted.
        """
        start = referenced(self.start, self.structures).potential
        before, after = (score_of(p, self.structures, self.settings) for p in (start, fit.referenced.potential))
        if after <= before:
            return
        words = (
            f"the fit to all structures is worse than the start on these very structures: score {after:.1f}, the start "
            f"has {before:.1f}, after {fit.steps.taken} steps"
        )
        if not self.settings.accept_worse:
            raise WorseModelError(
                f"{words}. Give more --minutes, or --steps, or take it nevertheless with --accept-worse"
            )
        self.say(words)

    def calibrated(self, fit: Fit, best: Row) -> Referenced:
        """What was fitted, with uncertainties by the held-out errors of its candidate, where there can be any."""
        found, folds = fit.referenced.potential, [(fold.learnt, fold.held_out) for fold in self.folds]
        if no_readouts(found) or np.isnan(best.evaluation.of(FORCES).labels).all():
            return fit.referenced
        dataset = self.structures.dataset
        posterior = posterior_in_turn(found, dataset, folds, best.evaluation)
        surroundings = covered_surroundings(found, [dataset])
        known = replace(found, posteriors=(posterior,), surroundings=surroundings)
        return replace(fit.referenced, potential=known)

    def rows(self, several: Iterable[AdaptationMethod], seconds: float) -> list[Row]:
        """A row for each candidate, with a time for its steps; those that diverge have none."""
        rows = []
        budget = budget_of_folds(seconds, len(self.folds), self.settings)
        for candidate in several:
            try:
                row = held_out_errors(
                    candidate, self.start, self.structures, self.folds, budget, self.settings, self.time.now
                )
            except TrainingDivergedError:
                self.say(f"{candidate.words}: diverged, and is left out")
                continue
            self.say(f"{candidate.words}: held-out {row_words(row)}")
            rows.append(row)
        return rows

    def compared(self) -> list[Row]:
        """Rows of the start, the candidates and a training from scratch; each that takes steps has the same time."""
        rows = self.rows([START], 0.0)
        others = [candidate for candidate in self.candidates if candidate is not START]
        closed = self.rows([c for c in others if not c.takes_steps], 0.0)
        stepping = [c for c in others if c.takes_steps]
        return rows + closed + self.rows([*stepping, SCRATCH], SHORT * self.time.left())


def _candidates(start: Potential, settings: AdaptationSettings) -> list[AdaptationMethod]:
    known = candidates(start)
    if settings.method == "choose":
        return list(known.values())
    if settings.method not in known:
        raise ValueError(
            f"the method '{settings.method}' is not there for {type(start.network).__name__}; it has "
            f"{', '.join(known)}, or leave the method out"
        )
    return [known[settings.method]]
