"""Parity plots: predictions over labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.data.errors import ErrorReport
from ase_nbody.data.evaluation import Compared, Evaluation
from ase_nbody.data.mean_errors import MILLI, MeanErrors, shown
from ase_nbody.files import replaced
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM

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
    """Pictures of predictions over labels, one file for each property that is labelled.

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
    for compared in evaluation.compared:
        kind = compared.kind
        if kind == ENERGY:
            kind, name, series = ENERGY_PER_ATOM, "energy beyond reference energies", [_energies(evaluation)]
        else:
            name, series = kind.name, _series(compared, evaluation)
        if report.of(kind).mae is not None:
            path = directory / f"parity_{kind.name}.png"
            paths.append(_drawn(path, name, report.of(kind), series))
    return paths


def _energies(evaluation: Evaluation) -> _Series:
    energies, n_atoms = evaluation.of(ENERGY), evaluation.n_atoms
    labels, predictions = (
        (values - evaluation.reference_energies) / n_atoms for values in (energies.labels, energies.predictions)
    )
    return _Series("", labels, predictions, "tab:blue")


def _series(compared: Compared, evaluation: Evaluation) -> list[_Series]:
    if compared.kind.per_atom:
        return _by_element(compared, evaluation.atomic_numbers)
    if compared.kind.shape == (3, 3):
        return _by_component(compared)
    return [_Series("", compared.labels, compared.predictions, "tab:blue")]


def _by_element(compared: Compared, atomic_numbers: NDArray[np.int64]) -> list[_Series]:
    spare = iter(SPARE_COLOURS * len(chemical_symbols))
    series = []
    for z in np.unique(atomic_numbers):
        chosen, symbol = atomic_numbers == z, chemical_symbols[z]
        colour = ELEMENT_COLOURS.get(symbol) or next(spare)
        series.append(_Series(symbol, compared.labels[chosen], compared.predictions[chosen], colour))
    return series


def _by_component(compared: Compared) -> list[_Series]:
    off = ~np.eye(3, dtype=bool)
    labels, predictions = compared.labels, compared.predictions
    return [
        _Series("normal", labels[:, ~off], predictions[:, ~off], "tab:blue"),
        _Series("shear", labels[:, off], predictions[:, off], "tab:orange"),
    ]


def _drawn(path: Path, name: str, errors: MeanErrors, series: list[_Series]) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("plots need matplotlib, which is not installed; pip install ase_nbody[plot]") from error
    mae, rmse = (MILLI * error for error in (errors.mae, errors.rmse) if error is not None)
    title, unit = f"{name}\nMAE {mae:.3g}, RMSE {rmse:.3g} {errors.unit}", shown(errors.kind.unit)
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
    difference.set(xlabel=f"reference ({unit})", ylabel=f"error ({errors.unit})")
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
