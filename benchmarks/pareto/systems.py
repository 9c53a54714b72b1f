"""The systems whose errors and times are compared: their data files and boxes, the same in every environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

TEMPERATURE = 300.0  # kelvin


@dataclass(frozen=True)
class Folders:
    """Where files are.

    Attributes:
        data: the folders mlearn and water.
        models: what run.py trains.
    """

    data: Path
    models: Path


@dataclass(frozen=True)
class System:
    """A material with a file of structures to train on and one to test on.

    Attributes:
        label: in tables and figures.
        data: its files below the folder of the data, without _train.xyz and _test.xyz.
        elements: in alphabetical order.
        cell: makes the orthorhombic cell of the boxes, from the folder of the data.
        rattle: standard deviation of displacements from it, angstrom.
        repeats: of the cell along each axis in the boxes that are timed; the first is that of the figure.
        timestep: fs.
        shipped: our model of it.
    """

    label: str
    data: str
    elements: tuple[str, ...]
    cell: Callable[[Path], Atoms]
    rattle: float
    repeats: tuple[int, ...]
    timestep: float
    shipped: str

    def train_file(self, data: Path) -> Path:
        """The structures to train on."""
        return data / f"{self.data}_train.xyz"

    def test_file(self, data: Path) -> Path:
        """The structures that errors are of."""
        return data / f"{self.data}_test.xyz"


def crystal(symbol: str, structure: str, data: Path) -> Atoms:
    """The cubic cell, with the lattice constant of ASE."""
    return bulk(symbol, structure, cubic=True)


def liquid_water(data: Path) -> Atoms:
    """The first structure of the test file, 64 molecules."""
    return read(data / "water" / "water_test.xyz", 0)


def _mlearn(symbol: str, structure: str, repeats: tuple[int, ...], shipped: str) -> System:
    cell = partial(crystal, symbol, structure)
    return System(f"{symbol}, mlearn", f"mlearn/{symbol}", (symbol,), cell, 0.05, repeats, 1.0, shipped)


SYSTEMS = {
    "Si": _mlearn("Si", "diamond", (4, 8), "silicon"),
    "Mo": _mlearn("Mo", "bcc", (6, 12), "molybdenum"),
    "Cu": _mlearn("Cu", "fcc", (5, 10), "copper"),
    "water": System("liquid water", "water/water", ("H", "O"), liquid_water, 0.0, (1, 2), 0.5, "water"),
}
CRYSTALS = ("Si", "Mo", "Cu")


def box(name: str, data: Path, repeat: int) -> Atoms:
    """A box of a system."""
    system = SYSTEMS[name]
    atoms = system.cell(data) * (repeat, repeat, repeat)
    atoms.rattle(system.rattle, seed=0)
    return atoms


def thermal_speeds(atoms: Atoms) -> np.ndarray:
    """Standard deviation (N, 1) of each component of the velocity at 300 K, angstrom/ps."""
    boltzmann = 0.8314462618  # u (angstrom/ps)^2 / K, CODATA 2018
    return np.sqrt(boltzmann * TEMPERATURE / atoms.get_masses())[:, None]


def velocities(atoms: Atoms) -> np.ndarray:
    """Random velocities (N, 3) of a temperature of 300 K without drift of their mean, angstrom/ps."""
    random = np.random.default_rng(0).normal(size=(len(atoms), 3)) * thermal_speeds(atoms)
    return random - random.mean(axis=0)
