"""ASE's optimisers with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from ase_nbody.cli.output import progress_bar

OptimisationTarget: TypeAlias = Any
"""Atoms, FrechetCellFilter or NEB: what ASE's optimisers move."""

OPTIMIZERS: dict[str, type[Optimizer]] = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}


def with_cell(atoms: Atoms, pressure: float) -> FrechetCellFilter:
    """Degrees of freedom of atoms and cell.

    Args:
        atoms: structure with its calculator.
        pressure: GPa.

    Raises:
        ValueError: the structure is not periodic in three directions.
    """
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(f"--cell needs a cell that is periodic in three directions, not pbc {atoms.pbc.tolist()}")
    return FrechetCellFilter(atoms, scalar_pressure=pressure * units.GPa)


def relaxed(target: OptimisationTarget, optimizer: str, fmax: float, steps: int, trajectory: Path | None = None) -> int:
    """Move to a minimum and return the number of steps.

    Args:
        target: structure, structure with its cell, or band; moved along.
        optimizer: "bfgs", "lbfgs" or "fire".
        fmax: largest force at the end, eV/angstrom.
        steps: largest number of steps.
        trajectory: file that every step is written to.

    Raises:
        ValueError: fmax is not positive, or is not reached within these steps.
    """
    if not fmax > 0:
        raise ValueError(f"fmax must be positive, not {fmax:g} eV/Å")
    arguments: dict[str, Any] = {"logfile": None, "trajectory": None if trajectory is None else str(trajectory)}
    with OPTIMIZERS[optimizer](target, **arguments) as optimisation, progress_bar() as bar:
        task = bar.add_task(optimizer.upper(), total=steps, note="")
        converged = False
        for reached in optimisation.irun(fmax=fmax, steps=steps):
            converged = bool(reached)
            largest = largest_force(target)
            bar.update(task, completed=optimisation.nsteps, note=f"{largest:.4f} eV/Å")
        n_steps = int(optimisation.nsteps)
    if not converged:
        raise ValueError(
            f"forces are still {largest_force(target):.3g} eV/Å after {n_steps} steps, above {fmax:g}; allow more "
            "--steps, a larger --fmax, or start from a better structure"
        )
    return n_steps


def largest_force(target: OptimisationTarget) -> float:
    """Largest norm of a force, eV/angstrom."""
    return float(np.linalg.norm(np.reshape(target.get_forces(), (-1, 3)), axis=1).max())
