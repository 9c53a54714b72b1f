"""The table of README.md, between its marks, and pareto.png, from the rows of run.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compared import MODELS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from systems import SYSTEMS

Row = dict[str, Any]
BEGIN, END = "<!-- table:begin -->\n", "<!-- table:end -->"
FORCES, FORCES_MAE = "forces_rmse_mev_per_angstrom", "forces_mae_mev_per_angstrom"
ENERGY = "energy_rmse_mev_per_atom"
SHIFTED = f"{ENERGY}_without_shift"  # of models of another level of theory
COLOURS = {"ase_nbody": "#0072B2", "lammps": "#D55E00"}  # of Okabe and Ito's palette
OTHER = "#009E73"
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write the table into folder/README.md and the figure to folder/pareto.png.

    Raises:
        ValueError: README.md has no marks for the table.
    """
    file = folder / "README.md"
    text = file.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{file} has no lines {BEGIN.strip()} and {END}, between which the table goes")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    file.write_text(before + BEGIN + "\n".join(table(rows)) + "\n" + END + after)
    plot(rows, folder / "pareto.png")


def by_model(rows: Sequence[Row], system: str) -> dict[str, dict[str, Row]]:
    """Rows of each model that has any: "errors", and times by the place of the box among the system's, "0" or "1"."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["system"] == system:
            place = "errors" if row["part"] == "errors" else str(SYSTEMS[system].repeats.index(row["repeat"]))
            found.setdefault(row["model"], {})[place] = row
    return {model: found[model] for model in MODELS if model in found}


def table(rows: Sequence[Row]) -> list[str]:
    """A table for each system; what failed says why below it."""
    lines: list[str] = []
    for name, system in SYSTEMS.items():
        models = by_model(rows, name)
        if not models:
            continue
        sizes = {place: atoms for place in "01" if (atoms := _atoms(models, place))}
        head = "".join(f" µs, {atoms} atoms |" for atoms in sizes.values())
        lines += ["", f"### {system.label}", ""]
        lines += [f"| model | weights | forces RMSE | forces MAE | energy RMSE |{head} wall clock |"]
        lines += ["| --- | --- | ---: | ---: | ---: |" + " ---: |" * (len(sizes) + 1)]
        lines += [_line(model, found, list(sizes)) for model, found in models.items()]
        lines += ["", *(_failure(found) for found in models.values() if _failure(found))]
    return [*lines, ""]


def _atoms(models: Mapping[str, Mapping[str, Row]], place: str) -> int | None:
    return next((row[place]["atoms"] for row in models.values() if "atoms" in row.get(place, {})), None)


def _line(model: str, found: Mapping[str, Row], sizes: Sequence[str]) -> str:
    weights = {"train": "training files", "other": "other data", "none": "not of these data"}[MODELS[model].learnt]
    errors = found.get("errors", {})
    energy = SHIFTED if MODELS[model].learnt == "other" else ENERGY
    cells = [number(errors.get(name)) for name in (FORCES, FORCES_MAE, energy)]
    cells += [number(found.get(place, {}).get("cpu_us")) for place in sizes]
    cells += [number(found.get("0", {}).get("wall_us"))]
    return f"| {MODELS[model].label} ({MODELS[model].dtype}) | {weights} | {' | '.join(cells)} |"


def _failure(found: Mapping[str, Row]) -> str:
    reasons = {row["failed"] for row in found.values() if "failed" in row}
    model = next(iter(found.values()))["model"]
    return f"- {MODELS[model].label}: not measured: {'; '.join(sorted(reasons))}." if reasons else ""


def number(value: float | None) -> str:
    """Three digits, a dash for nothing."""
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The models that no other beats in both time and error, by growing time.

    >>> front({"a": (1.0, 9.0), "b": (2.0, 9.5), "c": (3.0, 2.0)})
    ['a', 'c']
    """
    order = sorted(points, key=lambda name: points[name])
    best: list[str] = []
    for name in order:
        if not best or points[name][1] < points[best[-1]][1]:
            best.append(name)
    return best


def points_of(models: Mapping[str, Mapping[str, Row]]) -> dict[str, tuple[float, float]]:
    """Time in the first box, microseconds, and error of forces, meV/angstrom, of models that have both."""
    pairs = {
        model: (found.get("0", {}).get("cpu_us"), found.get("errors", {}).get(FORCES))
        for model, found in models.items()
    }
    return {model: pair for model, pair in pairs.items() if None not in pair}


def plot(rows: Sequence[Row], file: Path) -> None:
    """A panel for each system, logarithmic in both; those not of these data have a time only, below."""
    figure = Figure(figsize=(10.5, 9.0), layout="constrained")
    panels = figure.subplots(2, 2)
    for axes, (name, system) in zip(panels.flat, SYSTEMS.items(), strict=True):
        _panel(axes, by_model(rows, name))
        axes.set(title=system.label)
    for axes in panels[-1]:
        axes.set_xlabel("processor µs per atom and step")
    for axes in panels[:, 0]:
        axes.set_ylabel("RMSE of forces, meV/Å")
    figure.savefig(file, dpi=130)


def _panel(axes: Axes, models: Mapping[str, Mapping[str, Row]]) -> None:
    points = points_of(models)
    middle = {model: found["0"]["cpu_us"] for model, found in models.items() if "cpu_us" in found.get("0", {})}
    if not points:
        axes.text(0.5, 0.5, "not measured yet", transform=axes.transAxes, ha="center")
        return
    axes.set(xscale="log", yscale="log", xlim=(min(middle.values()) / 1.6, max(middle.values()) * 1.6))
    axes.plot(*zip(*(points[model] for model in front(points)), strict=True), "--", color="0.6", linewidth=1, zorder=1)
    for model in points:
        axes.plot(*points[model], MARKERS[list(MODELS).index(model)], color=_colour(model), markersize=8)
        _label(axes, model, points[model])
    errors = [error for _, error in points.values()]
    step = (max(errors) / min(errors)) ** 0.1  # between bars
    for place, model in enumerate(sorted(middle.keys() - points.keys(), key=lambda model: middle[model])):
        below = (middle[model], min(errors) / step ** (2 + place))
        axes.plot(*below, "|", color=_colour(model), markersize=11, markeredgewidth=2)
        _label(axes, model, below)
    axes.margins(y=0.1)
    for axis, subs in ((axes.xaxis, (1, 3)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.grid(alpha=0.2)


def _label(axes: Axes, model: str, point: tuple[float, float]) -> None:
    label = MODELS[model].label + (" (time only)" if MODELS[model].learnt == "none" else "")
    left, right = axes.get_xlim()
    side, shift = ("right", -6) if point[0] ** 2 > left * right else ("left", 6)  # towards the middle of the panel
    place = {"ha": side, "xytext": (shift, 5)}
    if model.startswith("ase_nbody"):
        label, place = (
            label.removeprefix("ours, "),
            {"ha": "center", "xytext": (0, -15)},
        )  # below, which the front leaves free
    axes.annotate(label, point, textcoords="offset points", fontsize=8, color=_colour(model), **place)


def _colour(model: str) -> str:
    return COLOURS.get(model.split()[0], OTHER)
