"""The plot of `nbody md`: energies, temperature and volume, the structures, and what went wrong where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.utils import rotate
from numpy.typing import NDArray

from ase_nbody.cli.output import new_figure, save_figure
from ase_nbody.simulation.recorder import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_MARK = "tab:purple"
_DRAWN_ATOMS = 500  # ASE takes seconds to draw more
_LINE = 120  # characters of a line under the plot


@dataclass(frozen=True)
class Event:
    """What went wrong in a run, and where.

    Attributes:
        time: fs.
        name: in few words, such as "stopped".
        reason: in a sentence, with atoms, values and limits.
        atoms: the structure at that time.
        concerned: numbers of the atoms that it is about, where they are known.
    """

    time: float
    name: str
    reason: str
    atoms: Atoms
    concerned: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Name and time."""
        return f"{self.name} at {self.time:g} fs"


@dataclass(frozen=True)
class Course:
    """What a plot of molecular dynamics shows.

    Attributes:
        frames: rows of the log, one at least.
        target: temperature of the thermostat, K; None without.
        first, last: structures of the first and the last frame.
        events: what went wrong; one after the last frame ended the run.
    """

    frames: Sequence[Frame]
    target: float | None
    first: Atoms
    last: Atoms
    events: Sequence[Event] = ()


def draw_dynamics(course: Course, path: Path) -> bool:
    """Plot energies, temperature and, where it changes, the volume, with the structures beside them.

    Args:
        course: what is shown.
        path: figure to write.

    Returns:
        Whether it was drawn: without matplotlib it is not.
    """
    panels = 3 if len({frame.volume for frame in course.frames}) > 1 else 2
    drawings = _drawings(course)
    figure = new_figure(10.0, 2.4 * max(panels, len(drawings)))
    if figure is None:
        return False
    grid = figure.add_gridspec(1, 2, width_ratios=(2.3, 1.0))
    _draw_curves(figure.add_subfigure(grid[0]), course, panels)
    right = figure.add_subfigure(grid[1])
    for axes, (title, atoms, concerned) in zip(
        right.subplots(len(drawings), squeeze=False).flat, drawings, strict=True
    ):
        _draw_structure(axes, title, atoms, concerned, _view(course.first))
    if course.events:
        reasons = [fill(f"{str(event).capitalize()}: {event.reason}", _LINE) for event in course.events]
        figure.supxlabel("\n".join(reasons), x=0.01, ha="left", fontsize=8.5, color=_MARK)
    save_figure(figure, path)
    return True


def _drawings(course: Course) -> list[tuple[str, Atoms, tuple[int, ...]]]:
    """Titles, structures and marked atoms: first frame, events, and the last frame where no event came after it."""
    times = [frame.time for frame in course.frames]
    drawings: list[tuple[str, Atoms, tuple[int, ...]]] = [(f"first frame, {times[0]:g} fs", course.first, ())]
    drawings += [(str(event), event.atoms, event.concerned) for event in course.events]
    if len(times) > 1 and all(event.time < times[-1] for event in course.events):
        drawings.append((f"last frame, {times[-1]:g} fs", course.last, ()))
    return drawings


def _draw_curves(figure: SubFigure, course: Course, panels: int) -> None:
    """Energies, temperature and, with three panels, volume against time, with a line for each event."""
    axes = figure.subplots(panels, 1, sharex=True)
    frames = course.frames
    times = [frame.time / 1000 for frame in frames]
    marker = "o" if len(frames) == 1 else None  # one point has no line
    potential = np.array([frame.potential_energy for frame in frames])
    total = np.array([frame.total_energy for frame in frames])
    axes[0].plot(times, potential - potential[0], marker=marker, label="potential")
    axes[0].plot(times, total - potential[0], marker=marker, label="total")
    axes[0].set_ylabel("energy (eV)")
    axes[1].plot(times, [frame.temperature for frame in frames], color="tab:red", marker=marker, label="temperature")
    axes[1].set_ylabel("temperature (K)")
    if course.target is not None:
        axes[1].axhline(course.target, color="black", linestyle=":", label=f"target {course.target:g} K")
    if panels == 3:
        axes[2].plot(times, [frame.volume for frame in frames], color="tab:green", label="volume")
        axes[2].set_ylabel("volume (Å³)")
    for event in course.events:
        for panel in axes:
            panel.axvline(event.time / 1000, color=_MARK, linestyle="--", label=str(event))
    for panel in axes[:2]:
        panel.legend(frameon=False)
    axes[-1].set_xlabel("time (ps)")


def _draw_structure(
    axes: Axes, title: str, atoms: Atoms, concerned: tuple[int, ...], view: NDArray[np.float64]
) -> None:
    """A structure as ASE draws it, with the cell where it is periodic; the atoms concerned in the colour of events."""
    from ase.data.colors import jmol_colors
    from ase.visualize.plot import plot_atoms
    from matplotlib.colors import to_rgb

    axes.set_title(title, fontsize=9, color=_MARK if concerned else "black")
    axes.set_axis_off()
    if len(atoms) > _DRAWN_ATOMS or not np.isfinite(atoms.positions).all():
        reason = f"{len(atoms)} atoms" if len(atoms) > _DRAWN_ATOMS else "positions are not finite"
        axes.text(0.5, 0.5, f"not drawn: {reason}", ha="center", transform=axes.transAxes)
        return
    shown = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    shown.wrap()
    colours = jmol_colors[shown.numbers]
    colours[list(concerned)] = to_rgb(_MARK)
    plot_atoms(shown, axes, rotation=view, colors=colours, show_unit_cell=2 if shown.pbc.any() else 0)


def _view(atoms: Atoms) -> NDArray[np.float64]:
    """Rotation, (3, 3), from which a structure is seen: molecules flat, crystals a little from the side and above."""
    if atoms.pbc.any():
        return np.asarray(rotate("10x,-10y,0z"))
    centred = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(centred)[2].T  # columns: along the molecule, across it, towards the viewer
    axes[:, 2] *= np.linalg.det(axes)  # a rotation, not the mirror image
    return np.asarray(axes)
