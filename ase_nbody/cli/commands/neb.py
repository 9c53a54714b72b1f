"""`nbody neb`: the minimum-energy path between two structures and its barrier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import STRUCTURE_HELP, CalculatorOptions, Force, Model, Output


@dataclass(frozen=True, kw_only=True)
class NEBOptions:
    """What `nbody neb` is told."""

    model: Model
    output: Output
    initial: Annotated[str | None, typer.Argument(help=STRUCTURE_HELP, show_default=False)] = None
    final: Annotated[
        str | None, typer.Argument(help="As INITIAL, with the atoms in the same order.", show_default=False)
    ] = None
    restart: Annotated[
        Path | None,
        typer.Option(help="Go on from the path in this trajectory, in place of INITIAL and FINAL.", show_default=False),
    ] = None
    images: Annotated[
        int | None,
        typer.Option(
            min=3, help="Number of images, the two ends included.", show_default="7, or those of the restarted path"
        ),
    ] = None
    fmax: Annotated[float, typer.Option(help="Largest force across the path at the end, eV/Å.")] = 0.05
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps of each stage.")] = 500
    climb: Annotated[bool, typer.Option(help="Let the highest image climb to the saddle point.")] = True
    relax_ends: Annotated[
        bool,
        typer.Option("--relax-ends/--keep-ends", help="Relax the two ends first, to a fifth of fmax."),
    ] = True
    modes: Annotated[
        bool | None,
        typer.Option(
            "--modes/--no-modes",
            help="Count the imaginary modes of the ends and of the highest image, with exact Hessians.",
            show_default="up to 100 atoms",
        ),
    ] = None
    push_out: Annotated[
        bool,
        typer.Option(
            "--push-out",
            help="Where the highest image has two or more imaginary modes, move the path out along the one that is "
            "least along it, and optimise again.",
        ),
    ] = False
    watchdog: Annotated[
        bool,
        typer.Option(
            "--watchdog/--no-watchdog",
            help="Stop, with exit status 4, at values that are not finite, images that fall 10 eV/atom below the ends, "
            "and forces that grow above 5 times the largest of the training (100 eV/Å if unknown).",
        ),
    ] = True


def neb(context: typer.Context, options: NEBOptions, how: CalculatorOptions, force: Force = False) -> None:
    """Nudged elastic band: writes the path to OUTPUT.traj and its energy profile to OUTPUT.png.

    The exact Hessian of the highest image tells a saddle point from one of higher order. Ctrl-C ends it after the
    step, with the path so far written and the command to go on.
    """
    from ase_nbody.cli.endings import failure_files
    from ase_nbody.cli.inputs import check_continued, check_trajectory, simulation_calculator
    from ase_nbody.cli.runs.neb_run import ATOMS_OF_MODES, BandRun, first_path
    from ase_nbody.simulation.nudged_elastic_band import BandSettings
    from ase_nbody.simulation.relaxation import check_fmax

    check_fmax(options.fmax)
    if options.push_out and options.modes is False:
        raise ValueError("--push-out needs the imaginary modes; leave --no-modes out")
    path = first_path(options.initial, options.final, options.restart, options.images)
    outputs = (options.output, options.output.with_suffix(".png"), *failure_files(options.output))
    check_continued(options.restart, outputs, "path")
    check_trajectory(*outputs, force=force)
    settings = BandSettings(fmax=options.fmax, steps=options.steps, climb=options.climb, watchdog=options.watchdog)
    run = BandRun(
        calculator=simulation_calculator(options.model, how, len(path[0])),
        settings=settings,
        n_images=options.images or 7,
        output=options.output,
        modes=len(path[0]) <= ATOMS_OF_MODES if options.modes is None else options.modes,
        context=context,
    )
    for file in outputs:
        file.unlink(missing_ok=True)
    run.run(path, relax_ends=options.relax_ends, push_out=options.push_out)
