"""Structures of fluoroethane at GFN2-xTB: an element that `organic-start` does not know.

    python benchmarks/few_shot/fluoroethane.py FOLDER       # writes FOLDER/fifty.xyz and FOLDER/test.xyz
    nbody adapt organic-start --data fifty.xyz --test test.xyz --method all --steps 100 --output mine.safetensors

Dynamics at 500 K, a structure every 20 fs; the test set is what comes after the fifty. Needs tblite and RDKit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS

SMILES, TEMPERATURE, INTERVAL = "CCF", 500.0, 20  # K, fs
LEARNT, TESTED = 50, 20


def main(folder: Path) -> None:
    """Sample, label and write.

    Raises:
        FileExistsError: a file is there.
    """
    for name in ("fifty.xyz", "test.xyz"):
        if (folder / name).exists():
            raise FileExistsError(f"'{folder / name}' is there and is not overwritten; name another folder")
    frames = sampled(LEARNT + TESTED + 1)
    write(folder / "fifty.xyz", frames[:LEARNT])
    write(folder / "test.xyz", frames[LEARNT + 1 :])


def sampled(n: int) -> list[Atoms]:
    """Labelled structures along dynamics."""
    from tblite.ase import TBLite

    atoms = _embedded()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=100)
    generator = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=TEMPERATURE, rng=generator)
    dynamics = Langevin(atoms, units.fs, temperature_K=TEMPERATURE, friction=0.02 / units.fs, rng=generator)
    frames = []
    for _ in range(n):
        dynamics.run(INTERVAL)
        frame = atoms.copy()
        frame.calc = SinglePointCalculator(frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        frames.append(frame)
    return frames


def _embedded() -> Atoms:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    return Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], molecule.GetConformer().GetPositions())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
