"""Molecules that stay out of the training data: test sets are made of them."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.neighborlist import natural_cutoffs, neighbor_list
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.MolStandardize import rdMolStandardize
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

EXCLUDED = {
    "aspirin": ("CC(=O)Oc1ccccc1C(=O)O",),
    "azobenzene": ("c1ccc(N=Nc2ccccc2)cc1",),
    "benzene": ("c1ccccc1",),
    "ethanol": ("CCO",),
    "malonaldehyde": ("O=CCC=O", "O=CC=CO", "OC=C=CO"),
    "naphthalene": ("c1ccc2ccccc2c1",),
    "paracetamol": ("CC(=O)Nc1ccc(O)cc1",),
    "salicylic acid": ("O=C(O)c1ccccc1O",),
    "toluene": ("Cc1ccccc1",),
    "uracil": ("O=c1cc[nH]c(=O)[nH]1", "Oc1ccnc(O)n1"),
    "acetylacetone": ("CC(=O)CC(C)=O", "CC(=O)C=C(C)O", "C=C(O)CC(C)=O", "C=C(O)C=C(C)O"),
    "3-(benzyloxy)pyridin-2-amine": ("Nc1ncccc1OCc1ccccc1",),
}
"""The ten molecules of rMD17, acetylacetone and 3BPA, as SMILES; their tautomers are excluded too."""

HELD_OUT = Path(__file__).with_name("held_out.csv")
"""Molecules that are kept to test models on; excluded as those above."""

_BOND = 1.25  # in sums of covalent radii; thermal bonds stay below, and 1,3-distances above 1.35


@cache
def excluded_name(smiles: str) -> str | None:
    """Which excluded molecule, or tautomer of one, is in a SMILES: the whole, or one of its fragments; None if none is.

    Args:
        smiles: valid for RDKit; "A.B" for a dimer.
    """
    for fragment in smiles.split("."):
        molecule = Chem.MolFromSmiles(fragment)
        Chem.RemoveStereochemistry(molecule)
        name = _forms().get(Chem.MolToSmiles(molecule)) or _name_of_tautomer(molecule)
        if name:
            return name
    return None


def excluded_name_of_structure(atoms: Atoms) -> str | None:
    """Which excluded molecule, or tautomer of one, a structure has among its fragments, by its bonds; None if none."""
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=_BOND))
    pairs = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms)))
    n_fragments, fragment_of = connected_components(pairs, directed=False)
    bonds = [(int(i), int(j)) for i, j in zip(first, second, strict=True) if i < j]
    for fragment in range(n_fragments):
        place = {int(atom): number for number, atom in enumerate(np.flatnonzero(fragment_of == fragment))}
        inside = [(place[i], place[j]) for i, j in bonds if i in place]
        if name := _excluded_graphs().get(graph_of_bonds([atoms.symbols[atom] for atom in place], inside)):
            return name
    return None


@cache
def _excluded_graphs() -> dict[str, str]:
    """Names of the excluded molecules by `graph_of_bonds` of their atoms, hydrogens included."""
    return {
        graph_of_bonds(
            [atom.GetSymbol() for atom in molecule.GetAtoms()],
            [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()],
        ): name
        for smiles, name in _forms().items()
        for molecule in [Chem.AddHs(Chem.MolFromSmiles(smiles))]
    }


def graph_of_bonds(symbols: list[str], bonds: list[tuple[int, int]]) -> str:
    """Which atoms are bonded, without the order of bonds, the same however the atoms are numbered.

    Args:
        symbols: of the atoms.
        bonds: pairs of numbers of atoms.
    """
    molecule = Chem.RWMol()
    for symbol in symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for first, second in bonds:
        molecule.AddBond(int(first), int(second), Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(molecule))


@cache
def _forms() -> dict[str, str]:
    """Names of the excluded molecules by the SMILES of all their tautomers."""
    enumerator = rdMolStandardize.TautomerEnumerator()
    forms = {}
    with HELD_OUT.open(newline="") as file:
        held_out = {row["name"]: (row["smiles"],) for row in csv.DictReader(file)}
    for name, listed in (EXCLUDED | held_out).items():
        for smiles in listed:
            molecule = Chem.MolFromSmiles(smiles)
            for tautomer in [molecule, *enumerator.Enumerate(molecule)]:
                Chem.RemoveStereochemistry(tautomer)
                forms[Chem.MolToSmiles(tautomer)] = name
    return forms


@cache
def _formulas() -> frozenset[str]:
    return frozenset(rdMolDescriptors.CalcMolFormula(Chem.MolFromSmiles(smiles)) for smiles in _forms())


def _name_of_tautomer(molecule: Chem.Mol) -> str | None:
    """Which excluded molecule a molecule is a tautomer of, seen from its own tautomers."""
    if rdMolDescriptors.CalcMolFormula(molecule) not in _formulas():
        return None
    for tautomer in rdMolStandardize.TautomerEnumerator().Enumerate(molecule):
        Chem.RemoveStereochemistry(tautomer)
        if name := _forms().get(Chem.MolToSmiles(tautomer)):
            return name
    return None
