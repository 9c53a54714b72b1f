"""What `nbody md` does: runs with a progress bar and writes, and says how to go on after an early end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import typer
from ase import Atoms
from ase.md.md import MolecularDynamics

from ase_nbody.cli.continuation import command_with, next_output
from ase_nbody.cli.endings import end_stopped, end_unstable, failure_files, save_failure
from ase_nbody.cli.outcome import end_outside
from ase_nbody.cli.output import progress_bar, say
from ase_nbody.cli.runs.md_plot import Course, Event, draw_dynamics
from ase_nbody.cli.runs.md_report import summary
from ase_nbody.simulation.dynamics import DynamicsSettings, integrator, watched_steps
from ase_nbody.simulation.errors import UnstableDynamicsError
from ase_nbody.simulation.recorder import Recorder, Recording
from ase_nbody.simulation.velocities import draw_velocities
from ase_nbody.simulation.watchdog import MDWatchdog
from ase_nbody.stopping import StopRequest, stop_on_signals

# A time step that the watchdog stopped is halved, and is at most this long, fs: with hydrogen, and without.
_SHORT_WITH_HYDROGEN = 0.5
_SHORT = 2.0


@dataclass(frozen=True)
class RunSettings:
    """How `nbody md` runs.

    Attributes:
        steps: number of steps.
        interval: steps between frames of trajectory and log.
        seed: of velocities and thermostat.
        new_velocities: draw velocities; else keep those of the structure.
        watchdog: stop what is no longer physical.
        stop_outside: stop at the first structure outside the model's training.
        uncertainty: record standard deviations with each frame.
    """

    steps: int
    interval: int
    seed: int
    new_velocities: bool
    watchdog: bool
    stop_outside: bool
    uncertainty: bool


@dataclass
class End:
    """What happened on the way to the end of a run.

    Attributes:
        failure: why the watchdog stopped it.
        outside: where it first left the model's training.
        seconds: that the steps took.
    """

    failure: UnstableDynamicsError | None = None
    outside: Event | None = None
    seconds: float = 0.0

    def events(self, timestep: float) -> list[Event]:
        """What the plot marks, in the order of time; time step in fs."""
        events = [] if self.outside is None else [self.outside]
        if self.failure is not None:
            failure = self.failure
            events.append(Event(failure.step * timestep, "stopped", failure.reason, failure.failed[0]))
        return events


@dataclass(frozen=True)
class Outputs:
    """Files of a run of molecular dynamics, beside its trajectory."""

    trajectory: Path

    @property
    def log(self) -> Path:
        """Table of energies and temperatures."""
        return self.trajectory.with_suffix(".csv")

    @property
    def plot(self) -> Path:
        """Figure of the same."""
        return self.trajectory.with_suffix(".png")

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that may be written."""
        return self.trajectory, self.log, self.plot, *failure_files(self.trajectory)


def run_dynamics(
    atoms: Atoms, settings: DynamicsSettings, run: RunSettings, outputs: Outputs, context: typer.Context
) -> None:
    """Run molecular dynamics, write trajectory, log and plot, and print a summary.

    The trajectory is written frame by frame under its own name, so that a run that is killed can be continued.

    Raises:
        ValueError: NPT without a full cell or with constraints.
        typer.Exit: the watchdog stopped it, status 4, a signal, status 128 + its number, or it left the training of
            its model, status 3.
    """
    generator = np.random.default_rng(run.seed)
    if run.new_velocities:
        draw_velocities(atoms, settings.temperature, generator, at_rest=settings.ensemble == "nve")
    dynamics = integrator(atoms, settings, generator)
    stop = StopRequest()
    first = atoms.copy()
    with (
        stop_on_signals(stop),
        Recorder(atoms, _recording(settings, run), outputs.trajectory, outputs.log) as recorder,
    ):
        end = _recorded_steps(dynamics, settings, run, recorder, stop)
        _report((first, atoms), settings, recorder, outputs, end)
    if end.failure is not None:
        raise end_unstable(end.failure, _shorter(context, settings, run, outputs, end.failure))
    if stop.signal:
        left = {"steps": run.steps - dynamics.nsteps, "restart": outputs.trajectory}
        raise end_stopped(stop.signal, _continued(context, run, outputs, left))
    end_outside(atoms.calc.excursions)


def _recording(settings: DynamicsSettings, run: RunSettings) -> Recording:
    return Recording(settings.ensemble, settings.timestep, run.uncertainty)


def _recorded_steps(
    dynamics: MolecularDynamics, settings: DynamicsSettings, run: RunSettings, recorder: Recorder, stop: StopRequest
) -> End:
    """Run to the last step, or to what ends it before, and record frames."""
    atoms, end, start = dynamics.atoms, End(), perf_counter()
    with progress_bar() as bar:
        task = bar.add_task(f"MD {settings.ensemble}", total=run.steps, note="")
        try:
            for step in watched_steps(dynamics, run.steps, MDWatchdog(dynamics) if run.watchdog else None):
                if step == 0:  # loading and compiling are not part of the speed
                    start = perf_counter()
                if atoms.calc.excursions and end.outside is None:
                    end.outside = _outside(atoms, step * settings.timestep)
                last = step == run.steps or stop.signal or (run.stop_outside and end.outside is not None)
                if step % run.interval == 0 or last:
                    frame = recorder.record(step)
                    bar.update(task, completed=step, note=f"{frame.temperature:.0f} K")
                if last:
                    break
        except UnstableDynamicsError as error:
            end.failure = error
    end.seconds = perf_counter() - start
    return end


def _outside(atoms: Atoms, time: float) -> Event:
    """That a structure is the first outside its model's training, fs, with the atoms that it is for."""
    report = atoms.calc.excursions[0]
    concerned = [atom for distance in report.distances for atom in distance.atoms]
    if not concerned and "force" in report.kinds:
        concerned = [report.force_atom]
    if not concerned:
        concerned = [one.atom for one in report.surroundings]
    return Event(time, "outside the training", report.reason, atoms.copy(), tuple(concerned))


def _report(
    ends: tuple[Atoms, Atoms],
    settings: DynamicsSettings,
    recorder: Recorder,
    outputs: Outputs,
    end: End,
) -> None:
    """Print the summary, draw the plot with the structures at both ends, and write what failed."""
    first, last = ends
    if recorder.frames:
        steps = recorder.frames[-1].step if end.failure is None else end.failure.step
        say(summary(last, recorder.frames, settings.ensemble, end.seconds, steps))
    say(f"trajectory      {outputs.trajectory}")
    say(f"log             {outputs.log}")
    target = None if settings.ensemble == "nve" else settings.temperature
    if recorder.frames and draw_dynamics(
        Course(recorder.frames, target, first, last, end.events(settings.timestep)), outputs.plot
    ):
        say(f"plot            {outputs.plot}")
    if end.failure is not None:
        save_failure(end.failure, outputs.trajectory)


def _continued(context: typer.Context, run: RunSettings, outputs: Outputs, changes: dict[str, Any]) -> str:
    """The command that goes on: another output, and other random numbers than this run has had."""
    return command_with(
        context,
        **{
            "structure": None,
            "supercell": None,
            "seed": run.seed + 1,
            "output": next_output(outputs.trajectory),
            **changes,
        },
    )


def _shorter(
    context: typer.Context, settings: DynamicsSettings, run: RunSettings, outputs: Outputs, error: UnstableDynamicsError
) -> str | None:
    """The command that goes on with a shorter time step from the last good frame; None where there is none."""
    if not error.last_good:
        return None
    frame = error.last_good[-1]
    longest = _SHORT_WITH_HYDROGEN if 1 in frame.numbers else _SHORT
    changes: dict[str, Any] = {"timestep": f"{min(settings.timestep / 2, longest):g}"}
    last_good = failure_files(outputs.trajectory)[1]
    # Frames at rest have no momenta to go on with: velocities are drawn anew.
    if np.any(frame.get_momenta()):
        changes |= {"restart": last_good}
    else:
        changes |= {"structure": last_good, "restart": None}
    return _continued(context, run, outputs, changes)
