"""`nbody md`: molecular dynamics with a trajectory, a log and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ase_nbody.cli.options import STRUCTURE_HELP, CalculatorOptions, Force, Model, Output

if TYPE_CHECKING:
    from ase import Atoms

    from ase_nbody.cli.runs.md_run import Outputs, RunSettings
    from ase_nbody.simulation.dynamics import DynamicsSettings


class Ensemble(StrEnum):
    """What molecular dynamics keeps constant."""

    NVE = "nve"
    NVT = "nvt"
    NPT = "npt"


@dataclass(frozen=True, kw_only=True)
class MDOptions:
    """What `nbody md` is told."""

    model: Model
    output: Output
    structure: Annotated[str | None, typer.Argument(help=STRUCTURE_HELP, show_default=False)] = None
    ensemble: Annotated[
        Ensemble, typer.Option(help="nve: velocity Verlet; nvt: Langevin; npt: Langevin with a Langevin barostat.")
    ] = Ensemble.NVT
    temperature: Annotated[float, typer.Option(min=0.0, help="Temperature, K; with nve, of the first velocities.")] = (
        300.0
    )
    timestep: Annotated[float, typer.Option(help="Time step, fs.")] = 0.5
    steps: Annotated[int, typer.Option(min=0, help="Number of steps.")] = 1000
    friction: Annotated[float, typer.Option(help="Langevin friction, 1/fs (nvt, npt).")] = 0.01
    pressure: Annotated[float, typer.Option(help="Pressure, GPa (npt).")] = 0.0
    barostat_time: Annotated[float, typer.Option(help="Time scale of the cell, fs (npt).")] = 1000.0
    flexible_cell: Annotated[
        bool, typer.Option("--flexible-cell", help="Let the shape of the cell change too (npt).")
    ] = False
    supercell: Annotated[tuple[int, int, int], typer.Option(help="Repeat the structure along its cell vectors.")] = (
        1,
        1,
        1,
    )
    interval: Annotated[int, typer.Option(min=1, help="Steps between frames of trajectory and log.")] = 10
    seed: Annotated[int, typer.Option(min=0, help="Seed of velocities and thermostat.")] = 0
    restart: Annotated[
        Path | None,
        typer.Option(
            help="Continue from the last frame of this trajectory, with its momenta, in place of STRUCTURE.",
            show_default=False,
        ),
    ] = None
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            help="Stop, with exit status 4, at values that are not finite, forces above 5 times the largest of the "
            "training (100 eV/Å if unknown), atoms that move 0.5 Å in one step, molecules that come apart (2.5 times "
            "the sum of covalent radii), temperatures that fluctuations do not explain, and with nve an energy that "
            "changes by more than 10 meV/atom and a quarter of the kinetic energy, or drifts.",
        ),
    ] = True
    stop_outside_envelope: Annotated[
        bool,
        typer.Option(
            "--stop-outside-envelope",
            help="Stop at the first structure outside the model's training; else warn and go on.",
        ),
    ] = False
    uncertainty: Annotated[
        bool,
        typer.Option(
            "--uncertainty",
            help="Log standard deviations of energy and forces with each frame, at the price of some 30 steps each.",
        ),
    ] = False


def md(context: typer.Context, options: MDOptions, how: CalculatorOptions, force: Force = False) -> None:
    """Molecular dynamics: writes OUTPUT.traj, a log OUTPUT.csv and a plot OUTPUT.png.

    Ctrl-C ends it after the step, with everything written and the command to go on. What the watchdog stops is in
    OUTPUT.failed.traj and OUTPUT.last-good.traj; a run that left the model's training ends with exit status 3.
    """
    from ase_nbody.cli.inputs import check_trajectory, simulation_calculator
    from ase_nbody.cli.runs.md_run import Outputs, run_dynamics
    from ase_nbody.uncertainties import check_uncertainty

    settings, run, outputs = _dynamics_settings(options), _run_settings(options), Outputs(options.output)
    atoms = _first_structure(options, outputs)
    check_trajectory(*outputs.all, force=force)
    atoms.calc = simulation_calculator(options.model, how, len(atoms))
    if options.uncertainty:
        check_uncertainty(atoms.calc.potential, options.model, atoms.calc.information)
    for path in outputs.all:
        path.unlink(missing_ok=True)
    run_dynamics(atoms, settings, run, outputs, context)


def _dynamics_settings(options: MDOptions) -> DynamicsSettings:
    from ase_nbody.simulation.dynamics import DynamicsSettings

    return DynamicsSettings(
        ensemble=options.ensemble.value,
        temperature=options.temperature,
        timestep=options.timestep,
        friction=options.friction,
        pressure=options.pressure,
        barostat_time=options.barostat_time,
        flexible_cell=options.flexible_cell,
    )


def _run_settings(options: MDOptions) -> RunSettings:
    from ase_nbody.cli.runs.md_run import RunSettings

    return RunSettings(
        steps=options.steps,
        interval=options.interval,
        seed=options.seed,
        new_velocities=options.restart is None,
        watchdog=options.watchdog,
        stop_outside=options.stop_outside_envelope,
        uncertainty=options.uncertainty,
    )


def _first_structure(options: MDOptions, outputs: Outputs) -> Atoms:
    """The structure named, or the last of the trajectory to go on with, repeated.

    Raises:
        ValueError: both are named, or neither, or the trajectory to go on with would be overwritten.
    """
    from ase_nbody.cli.inputs import check_continued, continued_structure, read_structure
    from ase_nbody.simulation.dynamics import repeated

    structure, restart = options.structure, options.restart
    if (structure is None) == (restart is None):
        raise ValueError("give either a STRUCTURE or --restart TRAJECTORY, and not both")
    check_continued(restart, outputs.all, "trajectory")
    atoms = continued_structure(restart) if restart is not None else read_structure(str(structure))
    return repeated(atoms, options.supercell)
