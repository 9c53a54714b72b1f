"""Broken structures: atoms too close, reactions that were not wanted, energies and forces too high."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from ase_nbody.labelling.sampling.bonds import reaction
from ase_nbody.labelling.sampling.kinds import Candidate
from ase_nbody.labelling.sampling.settings import SampleSettings

REASONS = ("not finite", "too close", "reacted", "not computed", "energy", "force")
"""Why structures are broken, as tables name it."""


def broken_geometry(candidate: Candidate, settings: SampleSettings) -> str | None:
    """Why a structure is broken, by its positions; None where it is not.

    Args:
        candidate: structure and bonds.
        settings: the closest distance allowed.
    """
    atoms = candidate.atoms
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return "not finite"
    if too_close(atoms, settings.closest):
        return "too close"
    if candidate.bonds is not None and reaction(candidate.bonds, atoms) is not None:
        return "reacted"
    return None


def too_close(atoms: Atoms, closest: float) -> bool:
    """Whether atoms, or images of one, are closer than a part of the sum of their covalent radii."""
    return bool(len(neighbor_list("i", atoms, closest * covalent_radii[atoms.numbers])))


def broken_energy(
    candidate: Candidate, calculator: BaseCalculator, settings: SampleSettings, *, breaks_bonds: bool
) -> str | None:
    """Why a structure is broken, by its energy and forces; None where it is not.

    Args:
        candidate: structure and the minimum that it is compared with.
        calculator: evaluated once.
        settings: the limits.
        breaks_bonds: the energy of a bond is allowed besides.
    """
    atoms = candidate.atoms.copy()
    atoms.calc = calculator
    try:
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
    except Exception:  # calculators raise errors of every kind, and one structure is not worth the others
        return "not computed"
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return "not computed"
    allowed = settings.energy_per_atom * len(atoms) + (settings.bond_energy if breaks_bonds else 0.0)
    if abs(energy - candidate.minimum) > allowed:
        return "energy"
    return "force" if np.linalg.norm(forces, axis=1).max() > settings.largest_force else None
