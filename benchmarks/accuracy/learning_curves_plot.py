"""The picture of the learning curves: a row for each molecule, forces left, energy right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from learning_curves_slopes import CLAIMS, QUANTITIES, Curve, Quantity
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter


@dataclass(frozen=True)
class Look:
    """How an architecture is drawn. Colours: Okabe and Ito 2008, distinct for the colour-blind."""

    label: str
    colour: str
    marker: str
    line: str = "-"


LOOKS = {
    "schnet": Look("SchNet", "#E69F00", "s"),
    "dimenet_pp": Look("DimeNet++", "#009E73", "^"),
    "nequip_l0": Look("NequIP, l = 0", "#56B4E9", "D", "--"),
    "nequip_l2": Look("NequIP, l ≤ 2", "#0072B2", "o"),
    "nbody": Look("N-body", "#D55E00", "v"),
}
ROOM_FOR_LEGEND = 2.5  # times the largest error
MARKED = (1, 2, 5)  # digits of the labelled errors


def plot_curves(found: Mapping[str, Mapping[str, Mapping[str, Curve]]], file: Path) -> None:
    """Draw all curves, with bars from the smallest to the largest error over seeds, and the claims of the notes.

    Args:
        found: curves by molecule, key of the quantity and architecture.
        file: PNG to write.
    """
    figure = Figure(figsize=(11, 4.6 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(found), len(QUANTITIES), squeeze=False)
    for row, (molecule, by_quantity) in zip(rows, found.items(), strict=True):
        for axes, quantity in zip(row, QUANTITIES, strict=True):
            for architecture, curve in by_quantity[quantity.key].items():
                _draw(axes, curve, LOOKS[architecture])
            _draw_claims(axes, quantity)
            _finish(axes, f"{molecule}: {quantity.words}")
    figure.savefig(file, format="png", dpi=130)


def _draw(axes: Axes, curve: Curve, look: Look) -> None:
    sizes = list(curve.values)
    several = [curve.at(size) for size in sizes]
    means = [values.mean() for values in several]
    bars = [(v.mean() - v.min(), v.max() - v.mean()) if len(v) > 1 else (np.nan, np.nan) for v in several]
    slopes = curve.slopes()
    label = f"{look.label} (slope {slopes.mean():.2f})".replace("(slope -", "(slope −") if len(slopes) else look.label
    axes.errorbar(
        sizes,
        means,
        yerr=np.transpose(bars),
        label=label,
        color=look.colour,
        marker=look.marker,
        linestyle=look.line,
        markersize=6,
        capsize=4,
        linewidth=1.6,
    )


def _draw_claims(axes: Axes, quantity: Quantity) -> None:
    for number, claim in enumerate(CLAIMS):
        look, value = LOOKS[claim.architecture], getattr(claim, quantity.claim)
        label = "claims of the notes" if number == 0 else None
        axes.plot(
            claim.configurations,
            value,
            "*",
            markersize=15,
            mfc="none",
            mec="black",
            label=label,
            linestyle="none",
            zorder=5,
        )
        axes.plot(claim.configurations, value, "*", markersize=11, mfc=look.colour, mec="none", zorder=5)
        axes.annotate(
            look.label.split(",")[0],
            (claim.configurations, value),
            textcoords="offset points",
            xytext=(9, -3),
            fontsize=8,
        )


def _finish(axes: Axes, title: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="configurations", title=title, xlim=(7, 400_000))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(_minor))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(top=ROOM_FOR_LEGEND * axes.get_ylim()[1])
    axes.grid(which="major", alpha=0.35)
    axes.grid(which="minor", alpha=0.12)
    axes.legend(fontsize=8, loc="upper right")


def _minor(value: float, _: int) -> str:
    digit = int(f"{value:e}"[0])
    return f"{value:g}" if digit in MARKED else ""
