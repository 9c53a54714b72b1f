"""Velocities at the start of molecular dynamics, and how many of them are thermal."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray


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


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """Number of momenta that are thermal.

    In NVE those of the whole are conserved, and are not counted where they are zero: 3 of translation and, without
    periodicity, up to 3 of rotation. A Langevin thermostat acts on all.
    """
    freedom = int(atoms.get_number_of_degrees_of_freedom())
    if ensemble != "nve" or atoms.constraints:
        return freedom
    scale = np.abs(atoms.get_momenta()).sum() + 1e-12
    if np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-8 * scale:
        freedom -= 3
    if not atoms.pbc.any() and np.abs(atoms.get_angular_momentum()).max() < 1e-6 * scale:
        freedom -= int(np.sum(atoms.get_moments_of_inertia() > 1e-3))
    return max(freedom, 0)
