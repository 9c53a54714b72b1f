"""Round: what became of one training, and when there is another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

FALL = 0.95
"""An error falls where it is below this part of the best of all rounds before; the number is a choice."""
_LEAST = 0.1
"""Part of the budget that a training needs which is not the last."""
_SHORTEST = 0.02  # part of the budget that any training has, also where labels have used it up


class Round(BaseModel):
    """One training and its check on the student's own dynamics.

    Attributes:
        number: from 0.
        n_train: structures that it learnt.
        n_labels: labels of the teacher, up to the end of the round.
        seconds: up to the end of the round.
        check_seconds: for the check alone.
        errors: on the own dynamics, as `ErrorReport` has them.
        mean_force: mean absolute force component of the teacher there, meV/angstrom.
        n_outside: structures of the own dynamics outside the student's envelope.
        failure: why the watchdog ended its dynamics; empty where it did not.
        last: it was meant to be the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    n_train: int
    n_labels: int
    seconds: float
    check_seconds: float
    errors: dict[str, Any]
    mean_force: float
    n_outside: int
    failure: str
    last: bool

    @property
    def error(self) -> float:
        """MAE of the forces on the own dynamics, meV/angstrom."""
        return float(self.errors["forces_mae_mev_per_angstrom"])

    @property
    def relative_error(self) -> float:
        """In units of the mean size of the teacher's forces."""
        return self.error / max(self.mean_force, 1e-6)

    def __str__(self) -> str:
        """Its error, one sentence."""
        words = f"round {self.number + 1}: forces are off by {self.error:.2f} meV/Å on the student's own dynamics"
        stopped = f"; it was stopped {self.failure}" if self.failure else ""
        return f"{words}, {self.relative_error:.1%} of their mean size{stopped}"


def stalled(rounds: Sequence[Round]) -> bool:
    """Whether the error of the last round did not fall; False before there are two."""
    return len(rounds) > 1 and rounds[-1].error > FALL * min(row.error for row in rounds[:-1])


def best_round(rounds: Sequence[Round]) -> Round | None:
    """The round of the smallest error whose dynamics did not explode; None where there is none."""
    return min((row for row in rounds if not row.failure), key=lambda row: row.error, default=None)


def is_last(rounds: Sequence[Round], most: int, minutes: float, left: float) -> bool:
    """Whether the round to come is to be the last: by number, because the error stalls, or for want of time.

    Args:
        rounds: that are done.
        most: rounds.
        minutes: the budget.
        left: of it, seconds.
    """
    return len(rounds) + 1 >= most or stalled(rounds) or left < 2 * _LEAST * 60.0 * minutes


def training_minutes(rounds: Sequence[Round], most: int, minutes: float, left: float) -> float:
    """Time of the training to come: an equal share of what is left, and for the last one all but its check.

    The last is as long as two of the others.

    Args:
        rounds: that are done.
        most: rounds.
        minutes: the budget.
        left: of it, seconds.
    """
    check = rounds[-1].check_seconds if rounds else _LEAST * left
    to_come = 1 if is_last(rounds, most, minutes, left) else most - len(rounds)
    share = 1.0 if to_come == 1 else 1.0 / (to_come + 1)
    return max(share * (left - check * to_come) / 60.0, _SHORTEST * minutes)
