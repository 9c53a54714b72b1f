"""Plot of errors over the standard deviations that a model gives with its predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ase_nbody.calibration.judged import Deviations, Floats
from ase_nbody.files import replaced

_BINS = 12


def uncertainty_plot(of: Deviations, directory: str | Path) -> Path:
    """Errors of forces on atoms over their standard deviations, with root mean squares of twelve parts of equal number.

    Args:
        of: standard deviations and errors.
        directory: made if it is not there; `uncertainty_forces.png` in it is replaced.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("plots need matplotlib, which is not installed; pip install ase_nbody[plot]") from error
    known = ~np.isnan(of.forces_errors).any(axis=1)
    size = np.linalg.norm(of.forces[known], axis=1)
    errors = np.linalg.norm(of.forces_errors[known], axis=1)
    figure = Figure(figsize=(4.8, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.loglog(1e3 * size, 1e3 * errors, ".", markersize=2.5, markeredgewidth=0.0, alpha=0.4, rasterized=True)
    centres, means = _binned(size, errors)
    axes.loglog(1e3 * centres, 1e3 * means, "o-", color="tab:red", label="root mean square of each part")
    ends = np.array([1e3 * size.min(), 1e3 * size.max()])
    axes.loglog(ends, ends, color="0.3", linewidth=0.8, label="where they are right on average")
    axes.set(
        title="forces on atoms", xlabel="standard deviation given (meV/Å)", ylabel="error beside the reference (meV/Å)"
    )
    axes.legend(frameon=False)
    path = Path(directory) / "uncertainty_forces.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=160, format="png")
    return path


def _binned(size: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Root mean squares of parts of equal number, in the order of the standard deviations."""
    bins = np.array_split(np.argsort(size), min(_BINS, len(size)))
    return tuple(np.array([np.sqrt(np.mean(values[chosen] ** 2)) for chosen in bins]) for values in (size, errors))  # type: ignore[return-value]
