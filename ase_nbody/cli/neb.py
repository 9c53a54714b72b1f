"""`nbody neb`: the minimum-energy path between two structures and its barrier."""

from __future__ import annotations

from typing import Annotated

import typer

from ase_nbody.cli.options import (
    STRUCTURE_HELP,
    DeviceName,
    Dtype,
    DtypeOption,
    Force,
    Model,
    Output,
    Threads,
)


def neb(
    initial: Annotated[str, typer.Argument(help=STRUCTURE_HELP, show_default=False)],
    final: Annotated[str, typer.Argument(help="As INITIAL, with the atoms in the same order.", show_default=False)],
    model: Model,
    output: Output,
    images: Annotated[int, typer.Option(min=3, help="Number of images, the two ends included.")] = 7,
    fmax: Annotated[float, typer.Option(help="Largest force across the path at the end, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps of each stage.")] = 500,
    climb: Annotated[bool, typer.Option(help="Let the highest image climb to the saddle point.")] = True,
    relax_ends: Annotated[
        bool, typer.Option("--relax-ends/--keep-ends", help="Relax the two ends first, to a fifth of fmax.")
    ] = True,
    device: DeviceName = "auto",
    dtype: DtypeOption = Dtype.FLOAT64,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Nudged elastic band: writes the path to OUTPUT.traj and its energy profile to OUTPUT.png."""
    from ase_nbody.cli.inputs import calculator, check_trajectory, read_structure
    from ase_nbody.cli.output import say
    from ase_nbody.cli.path import PathSettings, barrier, draw_path, minimum_energy_path, write_path

    ends = read_structure(initial), read_structure(final)
    plot = output.with_suffix(".png")
    check_trajectory(output, plot, force=force)
    settings = PathSettings(n_images=images, fmax=fmax, steps=steps, climb=climb, relax_ends=relax_ends)
    path = minimum_energy_path(*ends, calculator(model, device, dtype, threads, len(ends[0])), settings)
    write_path(path, output)
    forward, difference = barrier(path)
    say(f"structure       {path[0].get_chemical_formula()}, {len(path[0])} atoms, {images} images")
    say(f"barrier         {forward:.4f} eV forward, {forward - difference:.4f} eV backward")
    say(f"difference      {difference:+.4f} eV between the ends")
    say(f"trajectory      {output}")
    if draw_path(path, plot):
        say(f"plot            {plot}")
