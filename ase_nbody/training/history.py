"""The history of a training as a table and as a picture beside the model."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from ase_nbody.files import replaced
from ase_nbody.training.state import HistoryRow

UNITS = {
    "seconds": "s",
    "energy_mae": "eV/atom",
    "forces_mae": "eV/angstrom",
    "forces_rmse": "eV/angstrom",
    "virial_mae": "eV/atom",
}


def history_path(output: Path) -> Path:
    """Where the table of a model file's training stands."""
    return output.with_suffix(".history.csv")


def learning_curve_path(output: Path) -> Path:
    """Where the picture of a model file's training stands."""
    return output.with_suffix(".learning-curve.png")


def write_history(path: Path, history: Sequence[HistoryRow]) -> None:
    """Write the validations as CSV, one line each, under a temporary name first; empty fields have no labels."""
    names = [field.name for field in fields(HistoryRow)]
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{name} ({UNITS[name]})" if name in UNITS else name for name in names])
        writer.writerows([asdict(row)[name] for name in names] for row in history)


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
    curves = {
        "energy, meV/atom": [row.energy_mae for row in history],
        "forces, meV/Å": [row.forces_mae for row in history],
        "virial, meV/atom": [row.virial_mae for row in history],
    }
    for label, values in curves.items():
        labelled = [(epoch, 1000.0 * value) for epoch, value in zip(epochs, values, strict=True) if value is not None]
        if labelled:
            error_axes.plot(*zip(*labelled, strict=True), label=label)
    error_axes.set(xlabel="epoch", ylabel="validation mean absolute error", yscale="log")
    error_axes.legend()
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
