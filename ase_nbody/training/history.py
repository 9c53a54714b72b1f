"""The history of a training as a table and as a picture beside the model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ase_nbody.data.mean_errors import MeanErrors
from ase_nbody.files import replaced
from ase_nbody.training.history_row import HistoryRow


def history_path(output: Path) -> Path:
    """Where the table of a model file's training stands."""
    return output.with_suffix(".history.csv")


def learning_curve_path(output: Path) -> Path:
    """Where the picture of a model file's training stands."""
    return output.with_suffix(".learning-curve.png")


def write_history(path: Path, history: Sequence[HistoryRow]) -> None:
    """Write the validations as CSV, one line each, under a temporary name first; empty fields have no labels."""
    rows = [_columns(row) for row in history]
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _columns(row: HistoryRow) -> dict[str, float | None]:
    """A line of the table by the heads of its columns."""
    columns: dict[str, float | None] = {}
    for name, value in vars(row).items():
        if name == "errors":
            columns |= {head: error for errors in row.errors for head, error in _error_columns(errors)}
        else:
            columns["seconds (s)" if name == "seconds" else name] = value
    return columns


def _error_columns(errors: MeanErrors) -> Iterator[tuple[str, float | None]]:
    yield f"{errors.kind.name}_mae ({errors.kind.unit})", errors.mae
    if errors.kind.per_atom:
        yield f"{errors.kind.name}_rmse ({errors.kind.unit})", errors.rmse


def write_learning_curve(path: Path, history: Sequence[HistoryRow]) -> None:
    """Draw the training loss and the validation errors over the passes, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, error_axes = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    loss_axes.plot(epochs, [row.training_loss for row in history], color="tab:blue")
    loss_axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
    for last in history[-1].errors:
        maes = [row.of(last.kind).mae for row in history]
        labelled = [(epoch, 1000.0 * mae) for epoch, mae in zip(epochs, maes, strict=True) if mae is not None]
        if labelled:
            error_axes.plot(*zip(*labelled, strict=True), label=f"{last.kind.name}, {last.unit}")
    error_axes.set(xlabel="epoch", ylabel="validation mean absolute error", yscale="log")
    error_axes.legend()
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
