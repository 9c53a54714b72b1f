"""Figures: time per step of all models, and time and memory of one, against atoms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LARGE = 500  # atoms from which on slopes are fitted

Rows = Sequence[dict[str, Any]]


def plot_steps(rows: Rows, dtype: str, file: Path) -> None:
    """Milliseconds per step against atoms, a line for each model."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for model in dict.fromkeys(row["model"] for row in rows):
        line = sorted((row["atoms"], row["ms"]) for row in rows if row["model"] == model and "ms" in row)
        if line:
            axes.plot(*zip(*line, strict=True), "o-", markersize=4, label=model)
    _finish(axes, f"ms per step, {dtype}")
    names = {row["atoms"]: row["structure"].split("-")[0] for row in rows if "atoms" in row}
    for atoms, name in names.items():
        axes.text(atoms, 1.01, name, transform=axes.get_xaxis_transform(), fontsize=7, rotation=30)
    figure.savefig(file, dpi=110)


def plot_scale(rows: Rows, file: Path) -> None:
    """Milliseconds per step and peak memory against atoms, a line for each material."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    times, memories = figure.subplots(1, 2)
    for material, line in by_material(rows).items():
        atoms = np.array([row["atoms"] for row in line])
        points = times.plot(atoms, [row["ms"] for row in line], "o", markersize=5, label=material)
        times.plot(atoms, line[-1]["ms"] / atoms[-1] * atoms, ":", color=points[0].get_color())
        memories.plot(atoms, [row["memory_mb"] for row in line], "o", markersize=5, label=material)
        if len(line) > 1:
            per_atom, constant = memory_line(line)
            memories.plot(atoms, constant + per_atom * atoms, ":", color=points[0].get_color())
    _finish(times, "ms per step (dotted: proportional to atoms)")
    _finish(memories, "MB (dotted: a + b · atoms)")
    figure.savefig(file, dpi=110)


def time_exponent(rows: Rows) -> float | None:
    """Slope of the time per step against atoms in the plot, of the large structures of one material; 1 is linear."""
    large = [row for row in rows if row["atoms"] >= LARGE]
    if len(large) < 2:
        return None
    return float(np.polyfit(np.log([row["atoms"] for row in large]), np.log([row["ms"] for row in large]), 1)[0])


def memory_line(rows: Rows) -> tuple[float, float]:
    """MB for each atom and MB without atoms, a straight line through the peaks of one material."""
    per_atom, constant = np.polyfit([row["atoms"] for row in rows], [row["memory_mb"] for row in rows], 1)
    return float(per_atom), float(constant)


def by_material(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """Rows of each material, by growing size."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["atoms"]):
        found.setdefault(row["structure"].split("-")[0], []).append(row)
    return found


def _finish(axes: Axes, label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel=label)
    axes.grid(which="both", alpha=0.2)
    if axes.lines:
        axes.legend(fontsize=8)
