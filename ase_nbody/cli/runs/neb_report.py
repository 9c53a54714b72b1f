"""What `nbody neb` says of a path: its saddle point in words, and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.utils.forcecurve import fit_images

from ase_nbody.cli.output import new_figure, save_figure
from ase_nbody.simulation.nudged_elastic_band import barrier
from ase_nbody.simulation.saddle_points import ImaginaryModes


def saddle_report(modes: ImaginaryModes, highest: int, climbed: bool, command: str) -> str:
    """What the imaginary modes of the highest image mean.

    Args:
        modes: of the highest image.
        highest: its number.
        climbed: whether it climbed, so that it is a stationary point.
        command: pushes the path out along another mode.
    """
    numbers = ", ".join(f"{wavenumber:.0f}i" for wavenumber in modes.wavenumbers)
    if len(modes) == 0:
        meaning = f"image {highest} has no imaginary mode: an intermediate, or not converged (more images, less --fmax)"
    elif not climbed:
        meaning = f"image {highest} did not climb, so it is near a saddle point at best; imaginary modes {numbers} cm⁻¹"
    elif len(modes) == 1:
        meaning = f"image {highest} is one, of first order: one imaginary mode, {numbers} cm⁻¹"
    else:
        meaning = (
            f"image {highest} is none of first order: {len(modes)} imaginary modes, {numbers} cm⁻¹, so a lower path "
            f"exists; to push out along the mode across this one: {command}"
        )
    return f"saddle point    {meaning}"


def draw_path(path: Sequence[Atoms], plot: Path) -> bool:
    """Plot the energy along the path with a spline through energies and forces; False without matplotlib."""
    figure = new_figure(6.0, 4.0)
    if figure is None:
        return False
    axes = figure.subplots()
    if len(path) > 2:
        curve = fit_images(list(path))
        axes.plot(curve.fit_path, curve.fit_energies, color="tab:blue")
        axes.plot(curve.path, curve.energies, "o", color="tab:blue")
    else:
        axes.plot([0, 1], [0.0, barrier(path)[1]], "o", color="tab:blue")
    axes.set_xlabel("path (Å)")
    axes.set_ylabel("energy (eV)")
    axes.set_title(f"barrier {barrier(path)[0]:.3f} eV")
    save_figure(figure, plot)
    return True
