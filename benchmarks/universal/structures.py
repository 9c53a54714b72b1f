"""Fifty structures of metals, oxides, salts, semiconductors, molecules, a slab and an atom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111, molecule

METALS = "Li Na K Rb Cs Ca Sr Ba Al Ti V Cr Fe Co Ni Cu Zn Zr Nb Mo Ru Rh Pd Ag W Ir Pt Au Pb".split()
SALTS = (("NaCl", 5.64), ("MgO", 4.21), ("CaO", 4.81), ("LiF", 4.03), ("KBr", 6.6), ("MnO", 4.44), ("CsI", 7.6))
SEMICONDUCTORS = (
    ("Si", "diamond", 5.43),
    ("Ge", "diamond", 5.66),
    ("GaAs", "zincblende", 5.65),
    ("InP", "zincblende", 5.87),
)
MOLECULES = "H2O CO2 NH3 CH3CH2OH C6H6 SO2 PH3".split()


def structures() -> Iterator[tuple[str, Atoms]]:
    """Names and structures, atoms moved by 0.08 angstrom."""
    found = [(symbol, bulk(symbol)) for symbol in METALS]
    found += [(name, bulk(name, "rocksalt", a=a, cubic=True)) for name, a in SALTS]
    found += [(name, bulk(name, kind, a=a)) for name, kind, a in SEMICONDUCTORS]
    found += [(name, molecule(name)) for name in MOLECULES]
    found += [("Pt slab", fcc111("Pt", (2, 2, 3), vacuum=8.0)), ("atom", Atoms("O")), ("SrTiO3", _perovskite())]
    for number, (name, atoms) in enumerate(found):
        atoms.positions += np.random.default_rng(number).normal(0, 0.08, atoms.positions.shape)
        yield name, atoms


def _perovskite() -> Atoms:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms("SrTiO3", scaled_positions=places, cell=[3.9] * 3, pbc=True)
