"""The time of an adaptation on the wall clock: what is left of it, and the shares that its parts have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.training.budget import Budget, StepBudget, TimeBudget

CLOSED = 0.2
"""Share of the whole time that the closed form may take where it is one candidate of several."""
CLOSED_ALONE = 0.7
"""Likewise where it is asked for."""
SHORT = 0.07
"""Share, of the time left after the start's errors and the closed form, of each candidate that takes steps."""
LONG = 0.9
"""Share of the time left after the comparison, for the best of them with structures held out and the fit to all."""
LEAST = 1e-3
"""Seconds of a budget that has nothing left; one step is always taken."""


@dataclass(frozen=True)
class Time:
    """A budget on the wall clock.

    Attributes:
        total: seconds; infinite where steps are counted in its place.
        now: tells the time, seconds.
        begun_at: what it told at the beginning.
    """

    total: float
    now: Callable[[], float]
    begun_at: float

    @classmethod
    def begun(cls, settings: AdaptationSettings, now: Callable[[], float]) -> Self:
        """The time of an adaptation that begins now."""
        return cls(60.0 * settings.minutes if settings.steps is None else math.inf, now, now())

    def spent(self) -> float:
        """Seconds since the beginning."""
        return self.now() - self.begun_at

    def left(self) -> float:
        """Seconds that are left, `LEAST` at least."""
        return max(self.total - self.spent(), LEAST)

    def closed_form(self, settings: AdaptationSettings) -> float:
        """Seconds that the closed form may take."""
        return self.total * (CLOSED_ALONE if settings.method == "readout" else CLOSED)


def share_of_each(left: float, several: int, evaluation: float) -> float:
    """Seconds for the steps of each of several candidates that share a time with the fit to all structures.

    Args:
        left: seconds after the comparison.
        several: candidates.
        evaluation: seconds of a candidate besides its steps.

    Example:
        >>> round(share_of_each(100.0, 2, 6.0), 6)
        26.0
    """
    return (LONG * left - several * evaluation) / (several + 1)


def budget_of_folds(seconds: float, n_folds: int, settings: AdaptationSettings) -> Budget:
    """The budget of each fold of a candidate for a time of all, seconds; the settings' steps where they count steps."""
    return TimeBudget(max(seconds / n_folds, LEAST)) if settings.steps is None else StepBudget(settings.steps)
