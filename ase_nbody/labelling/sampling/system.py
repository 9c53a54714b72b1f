"""System: a molecule or crystal to be sampled."""

from __future__ import annotations

from dataclasses import dataclass

from ase import Atoms


@dataclass(frozen=True, eq=False)
class System:
    """A molecule or crystal to be sampled: geometries, or SMILES that geometries are made from.

    Attributes:
        name: unique within a list.
        family: group of molecules that it belongs to, empty if none.
        smiles: empty where there are geometries; dots separate molecules.
        geometries: conformers, of equal atoms in equal order; empty where there are SMILES.
        charge: e; None: what info["charge"] of the geometry or the SMILES say, else 0.
        multiplicity: 2S + 1; None: what info["multiplicity"] or the SMILES say, else the lowest that there is.
    """

    name: str
    family: str = ""
    smiles: str = ""
    geometries: tuple[Atoms, ...] = ()
    charge: int | None = None
    multiplicity: int | None = None
