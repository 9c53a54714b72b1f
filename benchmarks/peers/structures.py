"""The structures that are timed, the same in every environment.

Geometries in molecules.xyz: toluene and 3BPA (3-benzyloxypyridin-2-amine), relaxed with RDKit's MMFF94.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.neighborlist import neighbor_list

CUTOFF = 5.0  # angstrom
GRID = 3.1  # angstrom between water molecules, 1.0 g/cm^3


def water(side: int) -> Atoms:
    """Molecules of random orientation on a cubic grid."""
    generator = np.random.default_rng(0)
    atoms = Atoms(cell=[GRID * side] * 3, pbc=True)
    for place in np.ndindex(side, side, side):
        one = molecule("H2O")
        one.euler_rotate(*generator.uniform(0, 360, 3), center="COM")
        one.translate(GRID * np.array(place))
        atoms += one
    return atoms


def silicon(side: int) -> Atoms:
    """Diamond structure, `side` cubic cells of 8 atoms along each axis."""
    return bulk("Si", cubic=True) * (side, side, side)


def from_file(name: str) -> Atoms:
    """A molecule of molecules.xyz."""
    molecules = read(Path(__file__).with_name("molecules.xyz"), ":")
    return next(atoms for atoms in molecules if atoms.info["name"] == name)


COMPARED: dict[str, Callable[[], Atoms]] = {
    "toluene": lambda: from_file("toluene"),
    "3bpa": lambda: from_file("3bpa"),
    "water-192": lambda: water(4),
    "water-648": lambda: water(6),
    "silicon-64": lambda: silicon(2),
    "silicon-512": lambda: silicon(4),
    "silicon-4096": lambda: silicon(8),
}
SCALED: dict[str, Callable[[], Atoms]] = {
    **{f"silicon-{8 * n**3}": lambda n=n: silicon(n) for n in (2, 3, 4, 6, 8, 12)},
    **{f"water-{3 * n**3}": lambda n=n: water(n) for n in (4, 6, 8, 12)},
}
STRUCTURES = {**COMPARED, **SCALED}


def mean_neighbours(atoms: Atoms) -> float:
    """Neighbours of an atom within the cutoff, which every package divides its sums by."""
    return len(neighbor_list("i", atoms, CUTOFF)) / len(atoms)


def rattled(atoms: Atoms, number: int, stdev: float = 0.05) -> list[Atoms]:
    """Copies with random displacements, angstrom."""
    copies = [atoms.copy() for _ in range(number)]
    for seed, one in enumerate(copies):
        one.rattle(stdev, seed=seed)
    return copies


def labelled(structures: list[Atoms]) -> list[Atoms]:
    """The same structures with random energies and forces, as training data."""
    generator = np.random.default_rng(0)
    for atoms in structures:
        forces = generator.normal(0.0, 1.0, (len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=float(generator.normal()), forces=forces)
    return structures
