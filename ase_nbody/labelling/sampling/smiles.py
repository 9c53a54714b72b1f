"""Conformers of SMILES by RDKit: ETKDG embedding, then the MMFF or UFF force field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.data import ground_state_magnetic_moments
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.distances import are_one, interatomic_distances

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Floats = NDArray[np.float64]
_EMBEDDED = 10  # conformers embedded for each one wanted
_SEPARATION = 6.0  # angstrom between the centres of molecules beside each other, before they are relaxed together
_FORCE_FIELD_STEPS = 500
_RESOLUTION = 0.1  # angstrom, root mean square of distances: closer conformers relax to one minimum
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Embedding:
    """Conformers of a SMILES.

    Attributes:
        conformers: lowest energy of the force field first; with charge and multiplicity in info.
        bonds: as the SMILES says.
    """

    conformers: tuple[Atoms, ...]
    bonds: BondGraph


def embedding(smiles: str, conformers: int, generator: np.random.Generator) -> Embedding:
    """Conformers of a molecule, hydrogens added.

    The multiplicity is that of unpaired electrons of parallel spin, 2 for [CH3] and 3 for [O][O]; atoms alone have that
    of their ground state.

    Args:
        smiles: dots separate molecules, which are embedded one by one and set beside each other.
        conformers: number of conformers wanted, at most.
        generator: source of RDKit's seed.

    Raises:
        ValueError: RDKit is not installed, cannot read the SMILES, or finds no geometry.
    """
    try:
        from rdkit import Chem
    except ImportError as error:
        raise ValueError("SMILES need RDKit, which is not installed: pip install rdkit") from error
    with _quiet():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() == 0:
            raise ValueError(f"'{smiles}' is no SMILES that RDKit can read; write one such as C=C=O")
        if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
            raise ValueError(f"'{smiles}' leaves an atom open (*); write one molecule, such as C=C=O")
        parts = [Chem.AddHs(part) for part in Chem.GetMolFrags(molecule, asMols=True)]
        geometries = [_positions(part, conformers, int(generator.integers(_LARGEST_SEED))) for part in parts]
    numbers = np.array([atom.GetAtomicNum() for part in parts for atom in part.GetAtoms()])
    radicals = sum(_unpaired_electrons(part) for part in parts)
    info = {"charge": Chem.GetFormalCharge(molecule), "multiplicity": radicals + 1}
    frames: list[Atoms] = []
    known: list[Floats] = []
    for n in range(max(map(len, geometries))):
        positions = _side_by_side([geometry[n % len(geometry)] for geometry in geometries])
        atoms = Atoms(numbers=numbers, positions=positions, info=dict(info))
        distances = interatomic_distances(atoms)
        if len(frames) < conformers and not are_one(distances, known, _RESOLUTION):
            frames.append(atoms)
            known.append(distances)
    return Embedding(tuple(frames), BondGraph(numbers, _bonds(parts)))


def _positions(molecule: Mol, conformers: int, seed: int) -> list[Floats]:
    """Positions of conformers, (N, 3) each, lowest energy of the force field first."""
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    parameters.numThreads = 1
    found = list(rdDistGeom.EmbedMultipleConfs(molecule, _EMBEDDED * conformers, parameters))
    if not found:
        parameters.useRandomCoords = True
        found = list(rdDistGeom.EmbedMultipleConfs(molecule, conformers, parameters))
    if not found:
        raise ValueError(f"RDKit finds no geometry of {_smiles(molecule)}; give one in a file")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        energies = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(molecule, numThreads=1, maxIters=_FORCE_FIELD_STEPS)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        energies = rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, numThreads=1, maxIters=_FORCE_FIELD_STEPS)
    else:
        energies = [(0, 0.0)] * len(found)
    order = np.argsort([energy for _, energy in energies], kind="stable")
    return [np.array(molecule.GetConformer(found[n]).GetPositions()) for n in order]


def _unpaired_electrons(molecule: Mol) -> int:
    """Those that the SMILES leaves without a partner; of a neutral atom alone, those of its ground state."""
    first = molecule.GetAtomWithIdx(0)
    if molecule.GetNumAtoms() == 1 and first.GetFormalCharge() == 0:
        return round(float(ground_state_magnetic_moments[first.GetAtomicNum()]))
    return int(sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()))


def _smiles(molecule: Mol) -> str:
    from rdkit import Chem

    return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


def _side_by_side(parts: list[Any]) -> Floats:
    """Positions of molecules in a row along x, (N, 3)."""
    x = 0.0
    placed = []
    for part in parts:
        part = part - part.mean(axis=0)
        placed.append(part + np.array([x - part[:, 0].min(), 0.0, 0.0]))
        x += np.ptp(part[:, 0]) + _SEPARATION
    return np.concatenate(placed)


def _bonds(parts: list[Mol]) -> NDArray[np.intp]:
    pairs = []
    start = 0
    for part in parts:
        pairs += [sorted((start + bond.GetBeginAtomIdx(), start + bond.GetEndAtomIdx())) for bond in part.GetBonds()]
        start += part.GetNumAtoms()
    return np.array(sorted(pairs), dtype=np.intp).reshape(-1, 2)


def _quiet() -> Any:
    """RDKit's messages held back within a block; what matters of them becomes an error."""
    from rdkit import rdBase

    return rdBase.BlockLogs()
