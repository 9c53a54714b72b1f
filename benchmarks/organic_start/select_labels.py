"""Labels by ANI-1x that `organic-start` learns: those that its eight networks agree on, without extreme forces.

    python benchmarks/organic_start/select_labels.py molecules-ani-1x.xyz ... --output ani-1x.xyz

A label stays where the energies of the eight networks spread by less than 0.25 eV times the root of the number of
atoms, and no force is above 25 eV/angstrom.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread, write

SPREAD, FORCE = 0.25, 25.0
KEPT = ("name", "sampled_by", "level_of_theory", "program")


def stays(atoms: Atoms) -> bool:
    """Whether a labelled structure is learnt."""
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    return len(atoms) > 1 and atoms.info["energy_spread"] < SPREAD * len(atoms) ** 0.5 and forces.max() < FORCE


def bare(atoms: Atoms) -> Atoms:
    """The structure and its labels, without spreads."""
    kept = Atoms(atoms.numbers, atoms.positions, info={key: atoms.info[key] for key in KEPT})
    kept.calc = SinglePointCalculator(kept, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    return kept


def main() -> None:
    """Command line: labelled files, and the file to write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    frames = [bare(atoms) for path in chosen.labelled for atoms in iread(path) if stays(atoms)]
    write(chosen.output, frames, format="extxyz")
    print(f"{len(frames)} structures in {chosen.output}")


if __name__ == "__main__":
    main()
