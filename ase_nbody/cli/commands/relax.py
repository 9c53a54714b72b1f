"""`nbody relax`: a minimum of the energy, of atoms alone or with their cell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from ase_nbody.cli.options import CalculatorOptions, Force, Model, Output, Structure


class Optimizer(StrEnum):
    """ASE's optimisers."""

    BFGS = "bfgs"
    LBFGS = "lbfgs"
    FIRE = "fire"


@dataclass(frozen=True, kw_only=True)
class RelaxOptions:
    """What `nbody relax` is told."""

    structure: Structure
    model: Model
    output: Output
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too, along its periodic directions.")] = False
    fmax: Annotated[float, typer.Option(help="Largest force on an atom at the end, eV/Å.")] = 0.01
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500
    optimizer: Annotated[Optimizer, typer.Option(help="ASE's optimiser.")] = Optimizer.BFGS
    pressure: Annotated[float, typer.Option(help="Pressure, GPa (with --cell).")] = 0.0
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            help="Stop, with exit status 4, at values that are not finite, energies that fall by more than 10 eV/atom, "
            "atoms that collapse, molecules that come apart, and forces that grow above 5 times the largest of the "
            "training (100 eV/Å if unknown).",
        ),
    ] = True


def relax(context: typer.Context, options: RelaxOptions, how: CalculatorOptions, force: Force = False) -> None:
    """Relax a structure: writes every step to OUTPUT.traj; the last frame is the result.

    Ctrl-C ends it after the step, with the command to go on. What the watchdog stops is in OUTPUT.failed.traj and
    OUTPUT.last-good.traj.
    """
    from ase_nbody.cli.endings import failure_files
    from ase_nbody.cli.inputs import check_trajectory, read_structure, simulation_calculator
    from ase_nbody.cli.runs.relax_run import run_relaxation
    from ase_nbody.simulation.relaxation import OptimisationSettings

    settings = OptimisationSettings(options.optimizer.value, options.fmax, options.steps, options.watchdog)
    atoms = read_structure(options.structure)
    outputs = (options.output, *failure_files(options.output))
    check_trajectory(*outputs, force=force)
    atoms.calc = simulation_calculator(options.model, how, len(atoms))
    for path in outputs:
        path.unlink(missing_ok=True)
    run_relaxation(atoms, settings, options.output, options.pressure if options.cell else None, context)
