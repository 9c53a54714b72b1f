"""Boxes, arrows and files of the figures of docs/: one look, and the same bytes from the same drawing."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
INK, PALE = "#2b2d33", "#e9ecef"
BLUE, ORANGE, GREEN, TEAL, RED, VIOLET = "#d0ebff", "#ffe8cc", "#d3f9d8", "#c3fae8", "#ffe3e3", "#e5dbff"


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure, inches, and axes that fill it, in tenths of an inch from the lower left corner."""
    figure = Figure(figsize=(width / 10, height / 10))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def box(
    axes: Axes, place: tuple[float, float], size: tuple[float, float], text: str, colour: str, fontsize: float = 11
) -> None:
    """A rounded box around a centre, with its text."""
    corner = (place[0] - size[0] / 2, place[1] - size[1] / 2)
    shape = FancyBboxPatch(corner, *size, boxstyle="round,pad=0,rounding_size=1", facecolor=colour, edgecolor=INK)
    axes.add_patch(shape)
    axes.text(*place, text, ha="center", va="center", fontsize=fontsize, color=INK, linespacing=1.35)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], bend: float = 0.0) -> None:
    """An arrow from one place to another, bent to one side."""
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.3, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", end, start, arrowprops=style)


def note(axes: Axes, place: tuple[float, float], text: str, fontsize: float = 10, align: str = "center") -> None:
    """Words without a box."""
    axes.text(*place, text, ha=align, va="center", fontsize=fontsize, color=INK, linespacing=1.35)


def save(figure: Figure, name: str, shown: str | None = None) -> None:
    """Write docs/figures/NAME.svg, the same bytes each time, with what of the package it shows as its description."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None, "Description": shown})
    print(f"figure written to {FIGURES / name}.svg")
