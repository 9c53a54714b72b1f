"""Periodic boxes from one to fifty thousand atoms, at the densities of benchmarks/peers/structures.py."""

from __future__ import annotations

from collections.abc import Callable

from ase import Atoms
from structures import from_file, silicon, water

BOXES: dict[str, Callable[[], Atoms]] = {
    "water-1029": lambda: water(7),
    "water-3993": lambda: water(11),
    "water-17496": lambda: water(9) * (2, 2, 2),
    "water-52728": lambda: water(13) * (2, 2, 2),
    "silicon-1000": lambda: silicon(5),
    "silicon-4096": lambda: silicon(8),
    "silicon-17576": lambda: silicon(13),
    "silicon-46656": lambda: silicon(18),
}
SMALL: dict[str, Callable[[], Atoms]] = {"water-24": lambda: water(2), "silicon-64": lambda: silicon(2)}
TRAINED_ON: dict[str, Callable[[], Atoms]] = {"toluene": lambda: from_file("toluene"), "water-192": lambda: water(4)}
