"""What coarser integration grids of PySCF cost and save, PBE/def2-SVP: processor seconds and errors of forces.

    OMP_NUM_THREADS=1 python benchmarks/labels/pyscf_grids.py [MOLECULE...]

Molecules of ASE's G2 set, displaced; errors are those against the grid of level 5. The calculator's own level is 2.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from ase.build import molecule

from ase_nbody.labelling.pyscf_calculator import PySCFCalculator

MOLECULES = ("CH3CH2OH", "C6H6", "C4H4O", "CH3CONH2")
LEVELS = (5, 3, 2, 1)


def main() -> None:
    """Print the table."""
    PySCFCalculator("PBE", "def2-svp").get_forces(molecule("H2"))  # imports
    print("| molecule | grid level | seconds | forces, mean error, meV/Å | largest | energy, error, meV |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in sys.argv[1:] or MOLECULES:
        atoms = molecule(name)
        atoms.rattle(0.05, seed=0)
        found = [measured(atoms, level) for level in LEVELS]
        for level, (seconds, energy, forces) in zip(LEVELS, found, strict=True):
            errors = 1000 * np.abs(forces - found[0][2])
            shift = 1000 * (energy - found[0][1])
            print(f"| {name} | {level} | {seconds:.2f} | {errors.mean():.2f} | {errors.max():.1f} | {shift:.1f} |")


def measured(atoms, level: int) -> tuple[float, float, np.ndarray]:
    """Processor seconds, energy, eV, and forces, eV/angstrom."""
    calculator = PySCFCalculator("PBE", "def2-svp", grid_level=level)
    begun = time.process_time()
    forces = calculator.get_forces(atoms)
    return time.process_time() - begun, calculator.results["energy"], forces


if __name__ == "__main__":
    main()
