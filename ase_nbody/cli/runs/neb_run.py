"""What `nbody neb` does: optimises a band with a progress bar, judges its highest image, and says how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from ase import Atoms
from ase.io.trajectory import TrajectoryReader

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.cli.continuation import command_with, next_output
from ase_nbody.cli.endings import (
    end_stopped,
    end_unstable,
    save_failure,
    step_bar,
    write_structures,
)
from ase_nbody.cli.inputs import read_structure
from ase_nbody.cli.outcome import end_outside
from ase_nbody.cli.output import say
from ase_nbody.cli.runs.neb_report import draw_path, saddle_report
from ase_nbody.dispersion_calculator import DispersionCalculator
from ase_nbody.simulation.errors import NotConvergedError, SimulationStoppedError, UnstableOptimisationError
from ase_nbody.simulation.nudged_elastic_band import (
    BandSettings,
    barrier,
    check_ends,
    highest_image,
    interpolated,
    optimise_band,
    relax_ends,
    with_results,
)
from ase_nbody.simulation.saddle_points import ImaginaryModes, across, imaginary_modes, pushed_out
from ase_nbody.stopping import StopRequest, stop_on_signals

# Way of the atom that moves most when a path is pushed out, angstrom: beyond the flat top, short of other atoms.
_PUSH = 0.4

ATOMS_OF_MODES = 100
"""Structures up to this size have their modes counted unasked: a Hessian takes 3 N evaluations."""


def first_path(initial: str | None, final: str | None, restart: Path | None, n_images: int | None) -> list[Atoms]:
    """The two ends, or the images of a path to go on with.

    Raises:
        ValueError: neither or both are given, ends that no path joins, or no path in the file.
    """
    if (initial is None or final is None) == (restart is None) or (initial is not None and restart is not None):
        raise ValueError("give either INITIAL and FINAL or --restart PATH, and not both")
    if restart is None:
        path = [read_structure(str(initial)), read_structure(str(final))]
    else:
        if not restart.is_file():
            raise ValueError(f"there is no path {restart} to go on with")
        try:
            with TrajectoryReader(str(restart)) as trajectory:
                path = list(trajectory)
        except Exception as error:  # ASE's reader raises errors of every kind
            raise ValueError(f"{restart} is not a trajectory of ASE ({type(error).__name__}: {error})") from error
        if len(path) < 2:
            raise ValueError(f"{restart} has {len(path)} frame; a path has three images, or two ends, at least")
        if n_images is not None and 2 < len(path) != n_images:
            raise ValueError(f"{restart} has {len(path)} images, not {n_images}; leave --images out")
    check_ends(path[0], path[-1])
    return path


@dataclass
class BandRun:
    """One run of `nbody neb`.

    Attributes:
        calculator: of all images.
        settings: of the band.
        n_images: number of images where only the ends are given.
        modes: count imaginary modes.
        output: trajectory; the plot has the suffix .png.
        context: the command, to show how it goes on.
    """

    calculator: NBodyCalculator | DispersionCalculator
    settings: BandSettings
    n_images: int
    modes: bool
    output: Path
    context: typer.Context

    def run(self, path: list[Atoms], *, relax_ends: bool, push_out: bool) -> None:
        """Optimise a path from its ends or its images, and write and report it.

        Raises:
            NotConvergedError: forces are still too large.
            ValueError: both ends relax to one structure.
            typer.Exit: the watchdog stopped it, status 4, a signal, status 128 + its number, or an image is
                outside the training of the model, status 3.
        """
        stop = StopRequest()
        with stop_on_signals(stop):
            if len(path) == 2:
                path = self._between(path, relax_ends, stop)
            self._optimise(path, stop)
            path = with_results(path, self.calculator)
            self._report(path)
            modes = self._judge(path)
            if push_out and modes is not None and len(modes) > 1:
                path = self._push_out(path, modes, stop)
        end_outside([self.calculator.get_envelope(image) for image in path])

    def _between(self, ends: list[Atoms], relax: bool, stop: StopRequest) -> list[Atoms]:
        if relax:
            with self._endings(ends), step_bar(stop, "ends", self.settings.steps) as observer:
                relax_ends((ends[0], ends[1]), self.calculator, self.settings, observer)
        return interpolated(ends[0], ends[1], self.n_images)

    def _optimise(self, path: list[Atoms], stop: StopRequest) -> None:
        with self._endings(path), step_bar(stop, "band", self.settings.steps) as observer:
            optimise_band(path, self.calculator, self.settings, observer)

    @contextmanager
    def _endings(self, path: list[Atoms]) -> Iterator[None]:
        """Write the path as it is where it is not finished, and show the command that goes on."""
        try:
            yield
        except UnstableOptimisationError as error:
            save_failure(error, self.output)
            raise end_unstable(error) from None
        except SimulationStoppedError as stopped:
            self._report(with_results(path, self.calculator))
            raise end_stopped(stopped.signal, self._command(self.output)) from None
        except NotConvergedError as error:
            self._report(with_results(path, self.calculator))
            raise NotConvergedError(f"{error}. To go on: {self._command(self.output)}") from None

    def _command(self, restart: Path, **changes: bool) -> str:
        return command_with(
            self.context, initial=None, final=None, restart=restart, output=next_output(self.output), **changes
        )

    def _judge(self, path: Sequence[Atoms]) -> ImaginaryModes | None:
        """Count and explain the imaginary modes of ends and highest image; None where they are not counted."""
        if not self.modes:
            return None
        for image, name in ((path[0], "initial"), (path[-1], "final")):
            if n := len(self._modes(image)):
                say(f"{name + ' end':<16}not a minimum: {n} imaginary mode{'s' if n > 1 else ''}")
        highest = highest_image(path)
        if highest in (0, len(path) - 1):
            say("saddle point    none: the highest image is an end, so there is no barrier between")
            return None
        modes = self._modes(path[highest])
        say(saddle_report(modes, highest, self.settings.climb, self._command(self.output, push_out=True)))
        return modes

    def _modes(self, image: Atoms) -> ImaginaryModes:
        return imaginary_modes(image, self.calculator.get_hessian(image))

    def _push_out(self, path: Sequence[Atoms], modes: ImaginaryModes, stop: StopRequest) -> list[Atoms]:
        before = barrier(path)[0]
        moved = pushed_out(path, across(modes, path, highest_image(path)), _PUSH)
        self._optimise(moved, stop)
        path = with_results(moved, self.calculator)
        self._report(path)
        say(f"pushed out      barrier {barrier(path)[0]:.4f} eV, {before:.4f} eV before")
        self._judge(path)
        return path

    def _report(self, path: Sequence[Atoms]) -> None:
        write_structures(path, self.output)
        forward, difference = barrier(path)
        say(f"structure       {path[0].get_chemical_formula()}, {len(path[0])} atoms, {len(path)} images")
        say(f"barrier         {forward:.4f} eV forward, {forward - difference:.4f} eV backward")
        say(f"difference      {difference:+.4f} eV between the ends")
        if isinstance(self.calculator, DispersionCalculator):
            share = self.calculator.dispersion_difference(path[0], path[highest_image(path)])
            say(f"dispersion      {self.calculator.dispersion_name}, {share:+.4f} eV of the barrier")
        say(f"trajectory      {self.output}")
        plot = self.output.with_suffix(".png")
        if draw_path(path, plot):
            say(f"plot            {plot}")
