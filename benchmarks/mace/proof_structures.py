"""The fifty structures of benchmarks/universal, and more: many elements, molecules that OFF23 knows, short contacts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

sys.path.insert(0, str(Path(__file__).parent.parent / "universal"))
from structures import structures as fifty

MANY = "Mg Al Ti V Cr Mn Fe Co Ni Cu Zn Zr Nb Mo Pd Ag".split()
MOLECULES = "CH3SH CH3CH2Cl CH3CONH2 C5H5N HF PH3 H2CO isobutene".split()


def all_structures(elements: Iterable[str]) -> Iterator[tuple[str, Atoms]]:
    """Names and structures whose elements are all known."""
    known = set(elements)
    for name, atoms in (*fifty(), *more()):
        if set(atoms.symbols) <= known:
            yield name, atoms


def more() -> Iterator[tuple[str, Atoms]]:
    """What the fifty have not."""
    generator = np.random.default_rng(1)
    alloy = bulk("Cu", cubic=True, a=4.0) * (2, 2, 1)
    alloy.symbols[:] = MANY
    left_handed = bulk("C", "diamond", a=3.6, cubic=True)
    left_handed.set_cell(left_handed.cell[:] @ [[1, 0.1, 0], [0, 1, 0.2], [0, 0, -1]], scale_atoms=True)
    ice = molecule("H2O", cell=[3.1] * 3, pbc=True) * 2
    made = [("sixteen elements", alloy), ("left-handed diamond", left_handed), ("ice", ice)]
    made += [(name, molecule(name)) for name in MOLECULES]
    for name, atoms in made:
        atoms.positions += generator.normal(0, 0.08, atoms.positions.shape)
        yield name, atoms
    yield "short contact", Atoms("COH", [[0, 0, 0], [0, 0.1, 0.7], [0.2, 0.9, 0.9]])
    yield "far apart", Atoms("CO", [[0, 0, 0], [0, 0, 20.0]])
