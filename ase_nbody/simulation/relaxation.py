"""Relaxations with ASE's optimisers, watched for falls without end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.filters import FrechetCellFilter
from ase.io.trajectory import TrajectoryWriter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer
from numpy.typing import NDArray

from ase_nbody.envelope import OutsideTrainingError
from ase_nbody.simulation.errors import NotConvergedError
from ase_nbody.simulation.optimisation_watchdog import BandWatchdog, OptimisationWatchdog, RelaxationWatchdog

OptimisationTarget: TypeAlias = Any
"""Atoms, FrechetCellFilter or NEB: what ASE's optimisers move."""

Observer: TypeAlias = Callable[[int, float], None]
"""Is told the number of each step and the largest force, eV/angstrom; what it raises ends the optimisation."""

OPTIMIZERS: dict[str, type[Optimizer]] = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE}


@dataclass(frozen=True)
class OptimisationSettings:
    """How to optimise.

    Attributes:
        optimizer: "bfgs", "lbfgs" or "fire".
        fmax: largest force at the end, eV/angstrom.
        steps: largest number of steps.
        watchdog: stop what falls without end, explodes or comes apart.

    Raises:
        ValueError: fmax is not positive.
    """

    optimizer: str
    fmax: float
    steps: int
    watchdog: bool = True

    def __post_init__(self) -> None:
        check_fmax(self.fmax)


def check_fmax(fmax: float) -> None:
    """Refuse a largest force, eV/angstrom, that is not positive and finite.

    Raises:
        ValueError: as said.
    """
    if not 0 < fmax < np.inf:
        raise ValueError(f"fmax must be positive, not {fmax:g} eV/Å")


def with_cell(atoms: Atoms, pressure: float) -> FrechetCellFilter:
    """Degrees of freedom of atoms and cell; of the cell only those within its periodic directions.

    Args:
        atoms: structure with its calculator, whose stress is defined.
        pressure: GPa; with three periodic directions only.

    Raises:
        ValueError: no direction is periodic, a cell vector is missing, there is a pressure on a direction without
            periodicity, or the periodic directions of a slab or wire do not lie along x, y and z.
    """
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        raise ValueError(
            "the cell can be relaxed where it has three vectors and is periodic, not with "
            f"pbc {atoms.pbc.tolist()} and the cell {atoms.cell.array.tolist()}"
        )
    if pressure and not atoms.pbc.all():
        raise ValueError(f"a pressure needs three periodic directions, not pbc {atoms.pbc.tolist()}")
    mask = None if atoms.pbc.all() else periodic_strains(atoms)
    return FrechetCellFilter(atoms, mask=mask, scalar_pressure=pressure * units.GPa)


def periodic_strains(atoms: Atoms) -> NDArray[np.float64]:
    """Which strains are within the periodic directions, 1 or 0, (3, 3).

    Raises:
        ValueError: the periodic cell vectors do not span x, y or z, or planes of them.
    """
    vectors = atoms.cell.array[atoms.pbc]
    axes = (np.abs(vectors) > 1e-6 * np.abs(vectors).max()).any(axis=0)
    if axes.sum() != len(vectors):
        raise ValueError(
            f"the periodic cell vectors {vectors.tolist()} do not span the x, y or z axis or a plane of them; turn "
            "the structure with its cell, such as atoms.rotate(a, 'x', rotate_cell=True)"
        )
    return np.outer(axes, axes).astype(float)


def relaxed(
    target: OptimisationTarget,
    settings: OptimisationSettings,
    trajectory: Path | None = None,
    observer: Observer | None = None,
) -> int:
    """Move to a minimum and return the number of steps.

    Args:
        target: structure, structure with its cell, or band; moved along.
        settings: optimiser, largest force and number of steps.
        trajectory: file that every step is written to, not for bands.
        observer: is told of every step.

    Raises:
        NotConvergedError: fmax is not reached within these steps.
        UnstableOptimisationError: the energy fell without end, forces exploded, or a molecule came apart.
    """
    watchdog = _watchdog(target) if settings.watchdog else None
    writer = None if trajectory is None else TrajectoryWriter(str(trajectory))
    try:
        with OPTIMIZERS[settings.optimizer](target, logfile=None) as optimisation:
            if writer is not None:
                optimisation.attach(lambda: writer.write(_structure(target)))
            converged = _run(optimisation, target, settings, watchdog, observer)
            n_steps = int(optimisation.nsteps)
    finally:
        if writer is not None:
            writer.close()
    if not converged:
        raise NotConvergedError(
            f"forces are still {largest_force(target):.3g} eV/Å after {n_steps} steps, above {settings.fmax:g}; allow "
            "more --steps, a larger --fmax, or start from a better structure"
        )
    return n_steps


def _run(
    optimisation: Optimizer,
    target: OptimisationTarget,
    settings: OptimisationSettings,
    watchdog: OptimisationWatchdog | None,
    observer: Observer | None,
) -> bool:
    converged = False
    run = optimisation.irun(fmax=settings.fmax, steps=settings.steps)
    while True:
        try:
            converged = bool(next(run))
        except StopIteration:
            return converged
        except OutsideTrainingError:
            raise
        except (CalculationFailed, ValueError, ArithmeticError) as error:
            if watchdog is None or optimisation.nsteps == 0:
                raise
            raise watchdog.error(optimisation.nsteps, f"a structure cannot be evaluated ({error})") from error
        if watchdog is not None:
            watchdog(optimisation.nsteps)
        if observer is not None:
            observer(optimisation.nsteps, largest_force(target))


def _watchdog(target: OptimisationTarget) -> OptimisationWatchdog:
    if hasattr(target, "images"):
        return BandWatchdog(target)
    return RelaxationWatchdog(_structure(target))


def _structure(target: OptimisationTarget) -> Atoms:
    structure: Atoms = target if isinstance(target, Atoms) else target.atoms
    return structure


def largest_force(target: OptimisationTarget) -> float:
    """Largest norm of a force, eV/angstrom."""
    return float(np.linalg.norm(np.reshape(target.get_forces(), (-1, 3)), axis=1).max())
