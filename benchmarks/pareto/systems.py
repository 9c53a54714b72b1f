"""The crystals that are timed and the files of mlearn that errors are of, the same in every environment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk

DISPLACEMENT = 0.002  # angstrom, of every atom before every step of a calculator, about that of 1 fs at 300 K
TEMPERATURE = 300.0  # kelvin


@dataclass(frozen=True)
class System:
    """An element of mlearn.

    Attributes:
        structure: of its crystal, with the lattice constant of ASE.
        repeats: of the cubic cell in the boxes that are timed.
        shipped: our model of it.
    """

    structure: str
    repeats: tuple[int, ...]
    shipped: str


SYSTEMS = {
    "Si": System("diamond", (2, 4, 8), "silicon"),
    "Mo": System("bcc", (3, 6, 12), "molybdenum"),
    "Cu": System("fcc", (3, 5, 10), "copper"),
}


def box(symbol: str, repeat: int) -> Atoms:
    """A cubic box of the crystal, atoms displaced by 0.05 angstrom."""
    atoms = bulk(symbol, SYSTEMS[symbol].structure, cubic=True) * (repeat, repeat, repeat)
    atoms.rattle(0.05, seed=0)
    return atoms


def speeds(atoms: Atoms) -> np.ndarray:
    """Velocities (N, 3) of a temperature of 300 K without drift, angstrom/ps."""
    boltzmann = 0.8314462618  # u (angstrom/ps)^2 / K, CODATA 2018
    spread = np.sqrt(boltzmann * TEMPERATURE / atoms.get_masses())
    velocities = np.random.default_rng(0).normal(size=(len(atoms), 3)) * spread[:, None]
    return velocities - velocities.mean(axis=0)
