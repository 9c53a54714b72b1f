"""Crystals and slabs: supercells, strains and vacancies."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.structures import cell_frame, cell_heights

Floats = NDArray[np.float64]
WIDE = 8.0
"""Height of a supercell beyond which it needs no more cells, angstrom."""
_NOISE = 0.03  # standard deviation of displacements that go with a strain, angstrom


def supercell_times(atoms: Atoms, most_atoms: int) -> tuple[int, int, int]:
    """How often a crystal is repeated along its periodic directions, the lowest first, until 8 angstrom wide or full.

    Args:
        atoms: a structure with a periodic direction.
        most_atoms: not to be exceeded; the crystal itself may.
    """
    times = (1, 1, 1)
    while True:
        heights = cell_heights(cell_frame(atoms.cell.array, atoms.pbc)) * times
        heights[~atoms.pbc] = np.inf
        lowest = int(heights.argmin())
        first, second, third = (n + (axis == lowest) for axis, n in enumerate(times))
        if heights[lowest] >= WIDE or first * second * third * len(atoms) > most_atoms:
            return times
        times = (first, second, third)


def supercell(atoms: Atoms, most_atoms: int) -> Atoms:
    """A crystal repeated as `supercell_times` says, with its info."""
    repeated: Atoms = atoms.repeat(supercell_times(atoms, most_atoms))
    repeated.info = dict(atoms.info)
    return repeated


def strained(atoms: Atoms, largest: float, generator: np.random.Generator) -> Atoms:
    """A crystal with a symmetric strain within its periodic directions and a little noise.

    Half of the strains are equal in all directions, a quarter are general and a quarter pure shears.

    Args:
        atoms: the crystal.
        largest: of a component.
        generator: source of the numbers.
    """
    draw = int(generator.integers(4))
    components = generator.uniform(-largest, largest, (3, 3))
    components = np.triu(components) + np.triu(components, k=1).T
    if draw < 2:
        name, strain = "isotropic", components[0, 0] * np.eye(3)
    elif draw == 2:
        name, strain = "general", components
    else:
        name, strain = "shear", components - np.diag(np.diag(components))
    within = _projector(atoms)
    strain = within @ strain @ within
    words = f"strain {name} {100 * strain.flat[np.abs(strain).argmax()]:+.1f} %"
    deformed = moved(atoms, atoms.positions @ (np.eye(3) + strain), words)
    deformed.cell = atoms.cell.array @ (np.eye(3) + strain)
    if len(atoms) > 1:
        deformed.positions += _NOISE * generator.standard_normal(atoms.positions.shape)
    return deformed


def _projector(atoms: Atoms) -> Floats:
    """Onto the space of the periodic cell vectors, (3, 3)."""
    periodic = atoms.cell.array[atoms.pbc]
    onto: Floats = np.linalg.pinv(periodic) @ periodic
    return onto


def with_vacancies(atoms: Atoms, rattle: float, generator: np.random.Generator) -> Atoms:
    """A crystal with one or two atoms taken away, the others displaced a little.

    Args:
        atoms: a supercell of at least two atoms; two atoms are taken from at least eight only.
        rattle: largest standard deviation of the displacements, angstrom.
        generator: source of the numbers.
    """
    count = 1 + int(len(atoms) >= 8 and generator.random() < 0.3)
    gone = np.sort(generator.choice(len(atoms), count, replace=False))
    words = "vacancy " + " ".join(f"{atoms.symbols[n]}{n}" for n in gone)
    left = atoms[np.setdiff1d(np.arange(len(atoms)), gone)]
    noise = generator.uniform(0, rattle) * generator.standard_normal((len(left), 3))
    return moved(left, left.positions + noise, words)
