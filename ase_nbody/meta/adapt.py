"""Adaptation: candidates compared by held-out errors, the choice, and its fit to all structures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from ase_nbody.data import Dataset, without_isolated_atoms
from ase_nbody.meta.calibrated import calibrated_by_folds
from ase_nbody.meta.candidates import SCRATCH, START, AdaptationMethod, AdaptationTask, candidates
from ase_nbody.meta.closed_form import SlowClosedFormError, with_linear_errors
from ase_nbody.meta.fitting import Fit, Structures, copied, prepared, referenced
from ase_nbody.meta.held_out import Fold, Row, folds, held_out_errors, score_of
from ase_nbody.meta.new_elements import with_new_elements
from ase_nbody.meta.references import Referenced
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.shares import SHORT, Time, budget_of_folds, share_of_each
from ase_nbody.potential import Potential
from ase_nbody.training.budget import StepBudget
from ase_nbody.training.stopping import TrainingDivergedError

NEAR = 1.5
"""How much worse than the best a candidate that changes more may be in the comparison, to have more time too."""


class WorseModelError(ValueError):
    """An adaptation would be worse than what is there without it."""


class TooFewStepsError(ValueError):
    """A method was asked for that has no time to show anything."""


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
) -> Adaptation:
    """Adapt a potential to labelled structures.

    Args:
        start: what is adapted; it is not changed, and its repulsion is not looked at.
        data: structures; isolated atoms among them give reference energies and nothing else.
        settings: what is tried, and for how long.
        say: takes a line of text on the progress.
        now: tells the time, seconds, which `settings.minutes` bounds.

    Raises:
        WorseModelError: what was chosen is worse than the start, or than a training from scratch.
        TooFewStepsError: the method asked for has no time to show anything.
        ValueError: new elements that are refused, too few structures, or a method that the start does not have.
    """
    search = _Search.begun(start, data, settings, say, now)
    rows = search.compared()
    if settings.steps is None:
        rows += search.longer(worth_more_time(rows), rows[0].seconds)
    best = _best(rows, search.candidates, settings)
    reason = _reason(rows, best, settings)
    _refuse_worse(rows, best, settings)
    say(f"chosen: {best.candidate.words}; {reason}")
    fit = search.fitted_to_all(best)
    search.check_fit(fit)
    known = calibrated_by_folds(fit.referenced.potential, search.structures.dataset, search.parts, best.squares)
    return Adaptation(
        referenced=replace(fit.referenced, potential=known),
        rows=tuple(rows),
        chosen=best,
        reason=reason,
        n_held_out=(sum(len(fold.held_out) for fold in search.parts), len(search.parts)),
        steps=fit.steps.taken,
        seconds=search.time.spent(),
        new_elements=search.new_elements,
    )


@dataclass(frozen=True)
class _Search:
    """What is compared, on which structures, in which time."""

    start: Potential
    structures: Structures
    parts: Sequence[Fold]
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
    ) -> _Search:
        clock = Time.begun(settings, now)
        widened = with_new_elements(start, data)
        for element, near in widened.nearest.items():
            say(f"{element}: the start does not know it; its weights begin as those of {near}")
        chosen = _candidates(widened.potential, settings)
        own = replace(copied(widened.potential), repulsion=None, posterior=None, environments=None)
        own.network.to(device="cpu", dtype=torch.float32).requires_grad_(True)
        structures = prepared(without_isolated_atoms(data), own)
        parts = folds(len(structures.dataset), settings)
        search = cls(own, structures, parts, chosen, settings, say, clock, widened.nearest)
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

    def rows(self, several: Iterable[AdaptationMethod], seconds: float) -> list[Row]:
        """A row for each candidate, with a time for its steps; those that diverge have none."""
        rows = []
        budget = budget_of_folds(seconds, len(self.parts), self.settings)
        for candidate in several:
            try:
                row = held_out_errors(
                    candidate, self.start, self.structures, self.parts, budget, self.settings, self.time.now
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


def worth_more_time(rows: Sequence[Row]) -> list[AdaptationMethod]:
    """Candidates that take steps: the best, those near it that change more, and scratch where it is better than that.

    Whatever changes more learns slower, so that it may lead in the end without leading after the short comparison. A
    closed form gains nothing from time. Where all had too few steps to be compared, it is the one that changes most.
    """
    trained = [row for row in rows if row.candidate.takes_steps and row.candidate is not SCRATCH]
    stepping = [row for row in trained if row.compared]
    if not stepping:
        return [row.candidate for row in trained[-1:]]
    leader = min(stepping, key=lambda row: row.score)
    larger = [row for row in stepping[stepping.index(leader) + 1 :] if row.score < NEAR * leader.score]
    scratch = [row for row in rows if row.candidate is SCRATCH and row.compared and row.score < leader.score]
    return [row.candidate for row in (leader, *larger[-1:], *scratch)]


def row_words(row: Row) -> str:
    """Errors of a row in words."""
    report, words = row.report, []
    if report.forces_mae_mev_per_angstrom is not None:
        words.append(f"forces MAE {report.forces_mae_mev_per_angstrom:.1f} meV/Å")
    if report.energy_mae_mev_per_atom is not None:
        words.append(f"energy MAE {report.energy_mae_mev_per_atom:.2f} meV/atom")
    few = [] if row.compared else ["too few steps to be compared"]
    return ", ".join([*words, f"{row.seconds:.0f} s", *few])


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


def _best(rows: Sequence[Row], among: Sequence[AdaptationMethod], settings: AdaptationSettings) -> Row:
    known = [row for row in rows if row.candidate in among]
    compared = [row for row in known if row.compared]
    if known and not compared and not settings.accept_worse:
        raise TooFewStepsError(
            f"{known[-1].candidate.words}: so few steps in its part of {settings.minutes:g} minutes that its errors "
            "say nothing. Give more --minutes, or --steps; or take it nevertheless with --accept-worse"
        )
    known = compared or known
    if not known:
        raise TrainingDivergedError(
            f"{', '.join(candidate.words for candidate in among)}: diverged; lower --learning-rate, "
            "or leave out --method"
        )
    return min(known, key=lambda row: row.score)


def _reason(rows: Sequence[Row], best: Row, settings: AdaptationSettings) -> str:
    if settings.method != "choose":
        return f"asked for; score {best.score:.1f} on held-out structures, the start has {rows[0].score:.1f}"
    others = [row for row in rows if row.compared and row.candidate not in (best.candidate, SCRATCH)]
    if not others:
        return f"the others had too few steps to be compared; score {best.score:.1f} on held-out structures"
    second = min(others, key=lambda row: row.score)
    return (
        f"lowest score on held-out structures, {best.score:.1f}; next is {second.candidate.words} with "
        f"{second.score:.1f}, the start has {rows[0].score:.1f}"
    )


def _refuse_worse(rows: Sequence[Row], best: Row, settings: AdaptationSettings) -> None:
    scratch = [row for row in rows if row.candidate is SCRATCH and row.compared]
    for other in (rows[0], *scratch[-1:]):
        if best.score > other.score and not settings.accept_worse:
            raise WorseModelError(
                f"{best.candidate.words} would be worse than {other.candidate.words}: held-out {row_words(best)}, "
                f"against {row_words(other)}. Give more --minutes or structures, another start, no --method, train "
                "from scratch (nbody train), or take it nevertheless with --accept-worse"
            )
