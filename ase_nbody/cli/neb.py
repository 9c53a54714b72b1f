"""`nbody neb`: the minimum-energy path between two structures and its barrier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import (
    STRUCTURE_HELP,
    AverageOverInversion,
    DeviceName,
    Dispersion,
    Dtype,
    DtypeOption,
    Force,
    Level,
    Model,
    Output,
    Threads,
)


def neb(
    context: typer.Context,
    model: Model,
    output: Output,
    initial: Annotated[str | None, typer.Argument(help=STRUCTURE_HELP, show_default=False)] = None,
    final: Annotated[
        str | None, typer.Argument(help="As INITIAL, with the atoms in the same order.", show_default=False)
    ] = None,
    restart: Annotated[
        Path | None,
        typer.Option(help="Go on from the path in this trajectory, in place of INITIAL and FINAL.", show_default=False),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=3, help="Number of images, the two ends included.", show_default="7, or those of the restarted path"
        ),
    ] = None,
    fmax: Annotated[float, typer.Option(help="Largest force across the path at the end, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps of each stage.")] = 500,
    climb: Annotated[bool, typer.Option(help="Let the highest image climb to the saddle point.")] = True,
    relax_ends: Annotated[
        bool,
        typer.Option("--relax-ends/--keep-ends", help="Relax the two ends first, to a fifth of fmax."),
    ] = True,
    modes: Annotated[
        bool | None,
        typer.Option(
            "--modes/--no-modes",
            help="Count the imaginary modes of the ends and of the highest image, with exact Hessians.",
            show_default="up to 100 atoms",
        ),
    ] = None,
    push_out: Annotated[
        bool,
        typer.Option(
            "--push-out",
            help="Where the highest image has two or more imaginary modes, move the path out along the one that is "
            "least along it, and optimise again.",
        ),
    ] = False,
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            help="Stop, with exit status 4, at values that are not finite, images that fall 10 eV/atom below the ends, "
            "and forces that grow above 5 times the largest of the training (100 eV/Å if unknown).",
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
    """Nudged elastic band: writes the path to OUTPUT.traj and its energy profile to OUTPUT.png.

    The exact Hessian of the highest image tells a saddle point from one of higher order. Ctrl-C ends it after the
    step, with the path so far written and the command to go on.
    """
    from ase_nbody.cli.endings import failure_files
    from ase_nbody.cli.inputs import calculator, check_trajectory, simulation_calculator
    from ase_nbody.cli.neb_run import ATOMS_OF_MODES, BandRun, first_path
    from ase_nbody.simulation.nudged_elastic_band import BandSettings
    from ase_nbody.simulation.relaxation import check_fmax

    check_fmax(fmax)
    if push_out and modes is False:
        raise ValueError("--push-out needs the imaginary modes; leave --no-modes out")
    path = first_path(initial, final, restart, images)
    plot = output.with_suffix(".png")
    outputs = (output, plot, *failure_files(output))
    if restart is not None and restart.resolve() in [file.resolve() for file in outputs]:
        raise ValueError(f"{restart} is the path being continued; give another name as --output than {output}")
    check_trajectory(*outputs, force=force)
    settings = BandSettings(fmax=fmax, steps=steps, climb=climb, watchdog=watchdog)
    model_calculator = calculator(model, device, dtype, threads, len(path[0]), level, average_over_inversion)
    run = BandRun(
        calculator=simulation_calculator(model_calculator, dispersion),
        settings=settings,
        n_images=images or 7,
        output=output,
        modes=len(path[0]) <= ATOMS_OF_MODES if modes is None else modes,
        context=context,
    )
    for file in outputs:
        file.unlink(missing_ok=True)
    run.run(path, relax_ends=relax_ends, push_out=push_out)
