"""Molecular dynamics: ensembles, their integrators, and runs that a watchdog ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from ase_nbody.envelope import OutsideTrainingError
from ase_nbody.simulation.watchdog import MDWatchdog


@dataclass(frozen=True)
class DynamicsSettings:
    """What molecular dynamics is to be.

    Attributes:
        ensemble: "nve": velocity Verlet; "nvt": Langevin; "npt": Langevin with a Langevin barostat.
        temperature: K; with nve, of the first velocities.
        timestep: fs.
        friction: of the Langevin thermostat, 1/fs (nvt, npt).
        pressure: GPa (npt).
        barostat_time: time scale of the cell, fs (npt).
        flexible_cell: let the shape of the cell change too (npt).

    Raises:
        ValueError: a number is not finite, or one that must be positive is not.
    """

    ensemble: Literal["nve", "nvt", "npt"]
    temperature: float
    timestep: float
    friction: float
    pressure: float
    barostat_time: float
    flexible_cell: bool

    def __post_init__(self) -> None:
        positive = {k: v for k, v in asdict(self).items() if k in ("timestep", "friction", "barostat_time")}
        wrong = {k: v for k, v in positive.items() if not 0 < v < np.inf}
        if wrong or not np.isfinite([self.temperature, self.pressure]).all():
            raise ValueError(
                f"temperature and pressure must be finite, and {', '.join(positive)} positive; not {wrong}"
            )


def repeated(atoms: Atoms, times: tuple[int, int, int]) -> Atoms:
    """A structure repeated along its cell vectors.

    Raises:
        ValueError: a number is below one, or there is no cell vector to repeat along.
    """
    if min(times) < 1:
        raise ValueError(f"a supercell has at least one cell in each direction, not {times}")
    missing = [axis for axis, n in enumerate(times) if n > 1 and not atoms.cell.array[axis].any()]
    if missing:
        vectors = " and ".join("abc"[axis] for axis in missing)
        raise ValueError(
            f"the structure has no cell vector {vectors} to repeat it along {times} times; give it a cell, or leave "
            "the supercell out"
        )
    supercell: Atoms = atoms.repeat(times)
    return supercell


def integrator(atoms: Atoms, settings: DynamicsSettings, generator: np.random.Generator) -> MolecularDynamics:
    """ASE's integrator of an ensemble.

    NVT is ASE's Langevin with a free centre of mass, the one that also takes constraints. NPT is LangevinBAOAB: with
    the Martyna-Tobias-Klein barostats, momentum is conserved but counted as thermal, which makes N atoms too hot by
    N / (N - 1), and small crystals thermalise slowly.

    Raises:
        ValueError: NPT without a full cell or with constraints.
    """
    timestep = settings.timestep * units.fs
    if settings.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if settings.ensemble == "nvt":
        return Langevin(
            atoms,
            timestep,
            temperature_K=settings.temperature,
            friction=settings.friction / units.fs,
            fixcm=False,
            rng=generator,
        )
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise ValueError(f"npt needs a cell that is periodic in three directions, not pbc {atoms.pbc.tolist()}")
    if atoms.constraints:
        raise ValueError("npt does not work with constraints; remove them, or run nvt")
    barostat_time = settings.barostat_time * units.fs
    return LangevinBAOAB(
        atoms,
        timestep,
        temperature_K=settings.temperature,
        externalstress=-settings.pressure * units.GPa,
        hydrostatic=not settings.flexible_cell,
        T_tau=units.fs / settings.friction,
        P_tau=barostat_time,
        P_mass=barostat_mass(barostat_time, len(atoms)),
        rng=generator,
    )


def barostat_mass(time: float, n_atoms: int) -> float:
    """Mass of the cell that gives a period of a quarter of a time, both in ASE's units.

    ASE's own estimate in LangevinBAOAB, fitted there to aluminium: period = 1.66 fs sqrt(mass) / N^(1/6).
    """
    return float((time / 4 / (1.66 * units.fs)) ** 2 * n_atoms ** (1 / 3))


def watched_steps(dynamics: MolecularDynamics, steps: int, watchdog: MDWatchdog | None) -> Iterator[int]:
    """Run molecular dynamics, and give the number of the step after each.

    A structure that can no longer be evaluated, after a step, ends the run as the watchdog does.

    Args:
        dynamics: what runs.
        steps: number of steps.
        watchdog: looks at every step; None: nobody does.

    Raises:
        UnstableDynamicsError: the watchdog stopped it.
    """
    if watchdog is not None:
        dynamics.attach(watchdog)
    run = dynamics.irun(steps)
    while True:
        try:
            next(run)
        except StopIteration:
            return
        except OutsideTrainingError:
            raise
        except (CalculationFailed, ValueError, ArithmeticError) as error:
            if watchdog is None or watchdog.last_good is None:
                raise
            raise watchdog.error(f"the structure cannot be evaluated ({error})") from error
        yield int(dynamics.nsteps)
