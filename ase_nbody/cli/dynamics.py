"""Molecular dynamics of the command line: integrators, velocities and what is recorded."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from ase_nbody.cli.md_report import draw_dynamics, summary
from ase_nbody.cli.output import progress_bar, say
from ase_nbody.cli.recorder import DynamicsSettings, Recorder, degrees_of_freedom


def run_dynamics(atoms: Atoms, settings: DynamicsSettings, output: Path, *, new_velocities: bool) -> None:
    """Run molecular dynamics, write trajectory, log and plot, and print a summary.

    The trajectory is written frame by frame under its own name, so that a run that is stopped can be continued.

    Args:
        atoms: structure with its NBodyCalculator; moved along.
        settings: ensemble and steps.
        output: trajectory; log and plot have the suffixes .csv and .png.
        new_velocities: draw velocities; else keep those of the structure.

    Raises:
        ValueError: NPT without a full cell or with constraints, or atoms left the envelope where that is to stop.
    """
    generator = np.random.default_rng(settings.seed)
    if new_velocities:
        draw_velocities(atoms, settings.temperature, generator, at_rest=settings.ensemble == "nve")
    dynamics = integrator(atoms, settings, generator)
    start = perf_counter()
    with progress_bar() as bar, Recorder(atoms, settings, output) as recorder:
        task = bar.add_task(f"MD {settings.ensemble}", total=settings.steps, note="")
        for _ in dynamics.irun(settings.steps):
            step = dynamics.nsteps
            if step == 0:  # loading and compiling are not part of the speed
                start = perf_counter()
            if step % settings.interval == 0 or step == settings.steps:
                frame = recorder.record(step)
                bar.update(task, completed=step, note=f"{frame.temperature:.0f} K")
    seconds = perf_counter() - start
    say(summary(atoms, recorder.frames, settings.ensemble, seconds, settings.steps))
    say(f"trajectory      {output}")
    say(f"log             {recorder.log}")
    if draw_dynamics(recorder.frames, output.with_suffix(".png")):
        say(f"plot            {output.with_suffix('.png')}")


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


def draw_velocities(atoms: Atoms, temperature: float, generator: np.random.Generator, *, at_rest: bool) -> None:
    """Set Maxwell-Boltzmann momenta.

    Args:
        atoms: their momenta are set.
        temperature: K.
        generator: source of the numbers.
        at_rest: remove the motions that NVE keeps for ever, of the whole and, without periodicity, its rotation, and
            scale the rest to exactly the temperature. Structures with constraints are left as drawn.
    """
    width = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(generator.standard_normal((len(atoms), 3)) * width[:, None])
    if not at_rest or atoms.constraints:
        return
    atoms.set_momenta(momenta_at_rest(atoms, rotation=not atoms.pbc.any()))
    freedom = degrees_of_freedom(atoms, "nve")
    kinetic = atoms.get_kinetic_energy()
    if freedom and kinetic > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(0.5 * freedom * units.kB * temperature / kinetic))


def momenta_at_rest(atoms: Atoms, *, rotation: bool) -> NDArray[np.float64]:
    """Momenta less the motion of the whole and, on demand, its rotation, (N, 3); linear molecules and atoms too."""
    masses = atoms.get_masses()[:, None]
    momenta = atoms.get_momenta()
    momenta = momenta - masses * momenta.sum(axis=0) / masses.sum()
    if not rotation:
        return np.asarray(momenta)
    r = atoms.positions - atoms.get_center_of_mass()
    inertia = np.eye(3) * np.sum(masses * r**2) - (masses * r).T @ r  # (3, 3)
    angular_velocity = np.linalg.pinv(inertia, rcond=1e-8, hermitian=True) @ np.cross(r, momenta).sum(axis=0)
    return np.asarray(momenta - masses * np.cross(angular_velocity, r))
