"""A picture of the distances that structures cover: a histogram for each pair of elements."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations_with_replacement
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from ase_nbody.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LONGEST = 6.0
"""Distances looked at, angstrom: about the cutoff of models."""
_BINS = np.linspace(0.0, LONGEST, 121)
_COLUMNS = 4


def distance_counts(structures: Iterable[Atoms]) -> dict[tuple[int, int], NDArray[np.int64]]:
    """Numbers of distances in bins of 0.05 angstrom up to 6, by pair of atomic numbers, the smaller first.

    Args:
        structures: molecules and crystals; of these the images count too.
    """
    counts: dict[tuple[int, int], NDArray[np.int64]] = {}
    for atoms in structures:
        first, second, distances = neighbor_list("ijd", atoms, LONGEST)
        numbers = np.sort(atoms.numbers[np.stack([first, second], axis=1)], axis=1)
        for a, b in combinations_with_replacement(np.unique(atoms.numbers).tolist(), 2):
            chosen = distances[(numbers == (a, b)).all(axis=1)]
            if len(chosen):
                found = np.histogram(chosen, _BINS)[0] // 2  # each pair is listed from both ends
                counts[a, b] = counts.get((a, b), np.zeros(len(_BINS) - 1, dtype=np.int64)) + found
    return dict(sorted(counts.items()))


def distance_picture(structures: Iterable[Atoms], path: Path) -> None:
    """Draw the histograms of all pairs of elements, with the sum of covalent radii marked.

    Args:
        structures: what is shown.
        path: *.png, replaced whole.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("no picture without matplotlib: pip install matplotlib") from error
    counts = distance_counts(structures)
    columns = min(_COLUMNS, max(len(counts), 1))
    rows = max(ceil(len(counts) / columns), 1)
    figure = Figure(figsize=(1.2 + 2.9 * columns, 0.9 + 1.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for panel in axes.ravel()[len(counts) :]:
        panel.set_axis_off()
    for panel, (pair, values) in zip(axes.ravel(), counts.items(), strict=False):
        _draw(panel, pair, values)
    for panel in axes.ravel()[max(len(counts) - columns, 0) : len(counts)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel("distance (Å)")
    figure.supylabel(f"distances in each {_BINS[1]:.2f} Å", fontsize=10)
    figure.suptitle("Distances covered; dashed: sum of the covalent radii", fontsize=10)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _draw(panel: Axes, pair: tuple[int, int], values: NDArray[np.int64]) -> None:
    """Bars on a logarithmic scale: few structures stand at the ends, and they matter."""
    panel.stairs(values, _BINS, fill=True, color="tab:blue", alpha=0.8)
    panel.axvline(covalent_radii[list(pair)].sum(), color="0.2", linestyle="--", linewidth=1.0)
    panel.set_yscale("log")
    panel.set_xlim(0.0, LONGEST)
    panel.set_ylim(0.7, 2.0 * max(values.max(), 5))
    name = "–".join(chemical_symbols[number] for number in pair)
    panel.text(0.97, 0.95, name, transform=panel.transAxes, ha="right", va="top", fontweight="bold")
