"""HistoryRow: one validation of a training, and its form in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ase_nbody.data.mean_errors import MeanErrors
from ase_nbody.predictions import ENERGY_PER_ATOM, FORCES, Property
from ase_nbody.training.loss import VIRIAL_PER_ATOM


@dataclass(frozen=True)
class HistoryRow:
    """One validation.

    Attributes:
        epoch: passes over the data, with the part of the current one.
        step: steps taken.
        seconds: time spent, seconds.
        progress: fraction of the budget used.
        learning_rate: of the last step.
        training_loss: mean over the steps since the row before; NaN before the first step.
        errors: of the validation structures with averaged weights, of each property.
        score: what the best weights are chosen by.
    """

    epoch: float
    step: int
    seconds: float
    progress: float
    learning_rate: float
    training_loss: float
    errors: tuple[MeanErrors, ...]
    score: float

    def of(self, kind: Property) -> MeanErrors:
        """Errors of one property; None in it where there are no labels."""
        return next((errors for errors in self.errors if errors.kind == kind), MeanErrors(kind))

    def to_json_dict(self) -> dict[str, Any]:
        """The row as plain numbers, strings, lists and dictionaries."""
        errors = [{"kind": asdict(e.kind), "mae": e.mae, "rmse": e.rmse} for e in self.errors]
        return {**vars(self), "errors": errors}


def history_row(values: Mapping[str, Any]) -> HistoryRow:
    """A row from `HistoryRow.to_json_dict`, or as checkpoints had it when errors were of energy, forces and virial."""
    if "errors" not in values:
        return _of_three(values)
    errors = tuple(MeanErrors(_property(e["kind"]), e["mae"], e["rmse"]) for e in values["errors"])
    return HistoryRow(**{**values, "errors": errors})


def _property(values: Mapping[str, Any]) -> Property:
    return Property(**{**values, "shape": tuple(values["shape"])})


def _of_three(values: Mapping[str, Any]) -> HistoryRow:
    kinds = {"energy": ENERGY_PER_ATOM, "forces": FORCES, "virial": VIRIAL_PER_ATOM}
    errors = tuple(MeanErrors(kind, values[f"{n}_mae"], values.get(f"{n}_rmse")) for n, kind in kinds.items())
    others = {name: value for name, value in values.items() if not name.endswith(("_mae", "_rmse"))}
    return HistoryRow(**others, errors=errors)
