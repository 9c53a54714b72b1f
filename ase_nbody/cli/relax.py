"""`nbody relax`: a minimum of the energy, of atoms alone or with their cell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ase_nbody.cli.options import DeviceName, Dtype, DtypeOption, Force, Model, Output, Structure, Threads


class Optimizer(StrEnum):
    """ASE's optimisers."""

    BFGS = "bfgs"
    LBFGS = "lbfgs"
    FIRE = "fire"


def relax(
    structure: Structure,
    model: Model,
    output: Output,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    fmax: Annotated[float, typer.Option(help="Largest force on an atom at the end, eV/Å.")] = 0.01,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500,
    optimizer: Annotated[Optimizer, typer.Option(help="ASE's optimiser.")] = Optimizer.BFGS,
    pressure: Annotated[float, typer.Option(help="Pressure, GPa (with --cell).")] = 0.0,
    device: DeviceName = "auto",
    dtype: DtypeOption = Dtype.FLOAT64,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Relax a structure: writes every step to OUTPUT.traj; the last frame is the result."""
    from ase_nbody.cli.inputs import calculator, check_trajectory, read_structure
    from ase_nbody.cli.optimisation import relaxed, with_cell
    from ase_nbody.cli.output import say

    atoms = read_structure(structure)
    check_trajectory(output, force=force)
    atoms.calc = calculator(model, device, dtype, threads, len(atoms))
    before = atoms.get_potential_energy()
    target = with_cell(atoms, pressure) if cell else atoms
    n_steps = relaxed(target, optimizer.value, fmax, steps, output)
    say(f"structure       {atoms.get_chemical_formula()}, {len(atoms)} atoms")
    say(f"relaxed         in {n_steps} steps to {fmax:g} eV/Å")
    say(f"energy          {atoms.get_potential_energy():.6f} eV ({atoms.get_potential_energy() - before:+.6f} eV)")
    if cell:
        a, b, c, alpha, beta, gamma = atoms.cell.cellpar()
        say(f"cell            {a:.4f} {b:.4f} {c:.4f} Å, {alpha:.2f} {beta:.2f} {gamma:.2f}°")
        say(f"volume          {atoms.get_volume():.3f} Å³")
    say(f"trajectory      {output}")
