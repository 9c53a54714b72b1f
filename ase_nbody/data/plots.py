"""Parity plots: predictions over labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.data.errors import ErrorReport, Evaluation
from ase_nbody.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
# Forces by element: H grey, C black, N blue, O red as in molecular viewers; the others from matplotlib's cycle.
ELEMENT_COLOURS = {"H": "0.6", "C": "0.1", "N": "tab:blue", "O": "tab:red"}
SPARE_COLOURS = ("tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink", "tab:olive", "tab:cyan")


@dataclass(frozen=True)
class _Series:
    name: str
    labels: Floats
    predictions: Floats
    colour: str


def parity_plot(evaluation: Evaluation, report: ErrorReport, directory: str | Path) -> list[Path]:
    """Pictures of predicted over labelled energies, forces and stress, one file for each that is labelled.

    Args:
        evaluation: labels and predictions.
        report: their errors, for the titles.
        directory: made if it is not there; files in it named parity_*.png are replaced.

    Returns:
        The files written.

    Raises:
        ValueError: matplotlib is not installed.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    if report.energy_rmse_mev_per_atom is not None:
        title = _title(
            "energy beyond reference energies",
            report.energy_mae_mev_per_atom,
            report.energy_rmse_mev_per_atom,
            "meV/atom",
        )
        paths.append(_drawn(directory / "parity_energy.png", title, "eV/atom", [_energies(evaluation)]))
    if report.forces_rmse_mev_per_angstrom is not None:
        title = _title("forces", report.forces_mae_mev_per_angstrom, report.forces_rmse_mev_per_angstrom, "meV/Å")
        paths.append(_drawn(directory / "parity_forces.png", title, "eV/Å", _forces(evaluation)))
    if report.stress_rmse_mev_per_cubic_angstrom is not None:
        errors = report.stress_mae_mev_per_cubic_angstrom, report.stress_rmse_mev_per_cubic_angstrom
        title = _title("stress", *errors, "meV/Å³")
        paths.append(_drawn(directory / "parity_stress.png", title, "eV/Å³", _stress(evaluation)))
    return paths


def _title(quantity: str, mae: float | None, rmse: float | None, unit: str) -> str:
    return f"{quantity}\nMAE {mae:.3g}, RMSE {rmse:.3g} {unit}"


def _energies(evaluation: Evaluation) -> _Series:
    labels = (evaluation.energy_labels - evaluation.reference_energies) / evaluation.n_atoms
    predictions = (evaluation.energy_predictions - evaluation.reference_energies) / evaluation.n_atoms
    return _Series("", labels, predictions, "tab:blue")


def _forces(evaluation: Evaluation) -> list[_Series]:
    spare = iter(SPARE_COLOURS * len(chemical_symbols))
    series = []
    for z in np.unique(evaluation.atomic_numbers):
        chosen, symbol = evaluation.atomic_numbers == z, chemical_symbols[z]
        labels, predictions = evaluation.force_labels[chosen], evaluation.force_predictions[chosen]
        series.append(_Series(symbol, labels, predictions, ELEMENT_COLOURS.get(symbol) or next(spare)))
    return series


def _stress(evaluation: Evaluation) -> list[_Series]:
    off = ~np.eye(3, dtype=bool)
    labels, predictions = evaluation.stress_labels, evaluation.stress_predictions
    return [
        _Series("normal", labels[:, ~off], predictions[:, ~off], "tab:blue"),
        _Series("shear", labels[:, off], predictions[:, off], "tab:orange"),
    ]


def _drawn(path: Path, title: str, unit: str, series: list[_Series]) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("plots need matplotlib, which is not installed; pip install ase_nbody[plot]") from error
    figure = Figure(figsize=(4.8, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    parity, difference = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    for one in series:
        _scatter(parity, one, one.predictions)
        _scatter(difference, one, (one.predictions - one.labels) * 1e3)
    ends = parity.get_xlim()
    parity.plot(ends, ends, color="0.5", linewidth=0.8, zorder=0)
    parity.set(title=title, ylabel=f"predicted ({unit})", xlim=ends)
    difference.axhline(0.0, color="0.5", linewidth=0.8, zorder=0)
    difference.set(xlabel=f"reference ({unit})", ylabel=f"error (m{unit})")
    figure.align_ylabels()
    if len(series) > 1:
        for handle in parity.legend(frameon=False).legend_handles:
            handle.set(marker="o", markersize=6.0, alpha=1.0)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=160, format="png")
    return path


def _scatter(axes: Axes, series: _Series, values: Floats) -> None:
    style = "o" if series.labels.size < 2000 else "."
    axes.plot(
        series.labels.ravel(),
        values.ravel(),
        style,
        color=series.colour,
        markersize=2.5,
        markeredgewidth=0.0,
        alpha=0.5,
        label=series.name,
        rasterized=True,
    )
