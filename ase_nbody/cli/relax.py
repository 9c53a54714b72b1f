"""`nbody relax`: a minimum of the energy, of atoms alone or with their cell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ase_nbody.cli.options import (
    AverageOverInversion,
    DeviceName,
    Dispersion,
    Dtype,
    DtypeOption,
    Force,
    Level,
    Model,
    Output,
    Structure,
    Threads,
)


class Optimizer(StrEnum):
    """ASE's optimisers."""

    BFGS = "bfgs"
    LBFGS = "lbfgs"
    FIRE = "fire"


def relax(
    context: typer.Context,
    structure: Structure,
    model: Model,
    output: Output,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too, along its periodic directions.")] = False,
    fmax: Annotated[float, typer.Option(help="Largest force on an atom at the end, eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="ASE's optimiser.")] = Optimizer.BFGS,
    pressure: Annotated[float, typer.Option(help="Pressure, GPa (with --cell).")] = 0.0,
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            help="Stop, with exit status 4, at values that are not finite, energies that fall by more than 10 eV/atom, "
            "atoms that collapse, molecules that come apart, and forces that grow above 5 times the largest of the "
            "training (100 eV/Å if unknown).",
        ),
    ] = True,
    level: Level = None,
    average_over_inversion: AverageOverInversion = False,
    dispersion: Dispersion = None,
    device: DeviceName = "auto",
    dtype: DtypeOption = Dtype.FLOAT64,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Relax a structure: writes every step to OUTPUT.traj; the last frame is the result.

    Ctrl-C ends it after the step, with the command to go on. What the watchdog stops is in OUTPUT.failed.traj and
    OUTPUT.last-good.traj.
    """
    from ase_nbody.cli.endings import failure_files
    from ase_nbody.cli.inputs import calculator, check_trajectory, read_structure, simulation_calculator
    from ase_nbody.cli.relax_run import run_relaxation
    from ase_nbody.simulation.relaxation import OptimisationSettings

    settings = OptimisationSettings(optimizer.value, fmax, steps, watchdog)
    atoms = read_structure(structure)
    outputs = (output, *failure_files(output))
    check_trajectory(*outputs, force=force)
    model_calculator = calculator(model, device, dtype, threads, len(atoms), level, average_over_inversion)
    atoms.calc = simulation_calculator(model_calculator, dispersion)
    for path in outputs:
        path.unlink(missing_ok=True)
    run_relaxation(atoms, settings, output, pressure if cell else None, context)
