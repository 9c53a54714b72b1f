"""Progress of simulations, and ends before their time: files of the last structures, and exit statuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from ase import Atoms
from ase.io.trajectory import TrajectoryWriter

from ase_nbody.cli.output import progress_bar, say
from ase_nbody.files import replaced
from ase_nbody.simulation.errors import SimulationStoppedError, UnstableSimulationError
from ase_nbody.stopping import StopRequest

if TYPE_CHECKING:
    from ase_nbody.simulation.relaxation import Observer

UNSTABLE_STATUS = 4
"""Exit status of a simulation that was stopped because it was no longer physical."""


def failure_files(output: Path) -> tuple[Path, Path]:
    """Files for the structures that failed and the last good ones, beside a trajectory."""
    return output.with_suffix(".failed.traj"), output.with_suffix(".last-good.traj")


def write_structures(structures: Sequence[Atoms], path: Path) -> None:
    """Write a trajectory, whole or not at all, under any name."""
    with replaced(path) as temporary, TrajectoryWriter(str(temporary)) as trajectory:
        for atoms in structures:
            trajectory.write(atoms)


def save_failure(error: UnstableSimulationError, output: Path) -> None:
    """Write the structures that failed and the last good ones, and say where."""
    for structures, path, name in zip(
        (error.failed, error.last_good), failure_files(output), ("failed", "last good"), strict=True
    ):
        if structures:
            write_structures(structures, path)
            say(f"{name:<16}{path}")


def end_unstable(error: UnstableSimulationError, command: str | None = None) -> typer.Exit:
    """Say on stderr why a simulation was stopped, and the command that goes on; gives the exit, status 4, to raise."""
    typer.echo(f"Error: {type(error).__name__}: {error}", err=True)
    if command is not None:
        typer.echo(f"To go on from the last good structure: {command}", err=True)
    return typer.Exit(UNSTABLE_STATUS)


def end_stopped(signal: int, command: str) -> typer.Exit:
    """Say on stderr that a signal stopped a simulation and how to go on; gives the exit, 128 + signal, to raise."""
    typer.echo(f"Stopped by signal {signal}; what there is has been written. To go on: {command}", err=True)
    return typer.Exit(128 + signal)


@contextmanager
def step_bar(stop: StopRequest, name: str, steps: int) -> Iterator[Observer]:
    """A bar of the steps of an optimisation: an observer that shows forces and ends it where a stop was asked for."""
    with progress_bar() as bar:
        task = bar.add_task(name, total=steps, note="")

        def observe(step: int, force: float) -> None:
            bar.update(task, completed=step, note=f"{force:.4f} eV/Å")
            if stop.signal:
                raise SimulationStoppedError(stop.signal)

        yield observe
