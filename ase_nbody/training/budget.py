"""Budgets: how much of a training is done, by passes over the data or by the wall clock."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field


class Budget(ABC):
    """Says what fraction of a training is done."""

    @abstractmethod
    def progress(self, step: int, seconds: float) -> float:
        """Fraction of the budget that is used, 0 at the start, 1 or more when it is used up.

        Args:
            step: steps taken.
            seconds: time spent, seconds.
        """


@dataclass(frozen=True)
class EpochBudget(Budget):
    """A number of passes over the data."""

    epochs: int
    steps_per_epoch: int

    def progress(self, step: int, seconds: float) -> float:
        """Steps taken over all steps."""
        return step / (self.epochs * self.steps_per_epoch)


@dataclass(frozen=True)
class TimeBudget(Budget):
    """A time on the wall clock, seconds."""

    budget: float

    def progress(self, step: int, seconds: float) -> float:
        """Time spent over all time."""
        return seconds / self.budget


@dataclass(frozen=True)
class StepBudget(Budget):
    """A number of steps, or fewer where a time on the wall clock, seconds, is used up before."""

    steps: int
    seconds: float = math.inf

    def progress(self, step: int, seconds: float) -> float:
        """The larger of both fractions."""
        return max(step / self.steps, seconds / self.seconds)


@dataclass(frozen=True)
class Clock:
    """Time spent, seconds, counted on from an earlier run.

    Attributes:
        earlier: time of the earlier run, seconds.
        started: when this run began, as `now` tells it.
        now: tells the time, seconds.
    """

    earlier: float = 0.0
    started: float = field(default_factory=lambda: time.monotonic())
    now: Callable[[], float] = field(default=lambda: time.monotonic())

    def seconds(self) -> float:
        """Time spent in this and the earlier run, seconds."""
        return self.earlier + self.now() - self.started
