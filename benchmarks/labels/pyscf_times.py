"""Seconds of energy and forces by PySCF, PBE/def2-SVP: as PySCF does it, and with what `ase_nbody` adds.

    python benchmarks/labels/pyscf_times.py [MOLECULE...]

Molecules of ASE's G2 set, one thread, each way in a process of its own: PySCF's integration and the kernels that its
OpenBLAS takes by itself; with AVX2; and with the orbitals kept too. Last is the largest difference of forces.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

MOLECULES = ("CH3CH2OH", "C6H6", "C4H4O", "butadiene")
WAYS = ("PySCF", "AVX2", "AVX2 and kept orbitals")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", nargs="*", default=MOLECULES)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.way is not None:
        print(json.dumps([measured(name, chosen.way) for name in chosen.molecules]))
        return
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    environment["OMP_NUM_THREADS"] = "1"
    found = []
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, *chosen.molecules]
        made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found.append(json.loads(made.stdout))
    print(f"| molecule | {' | '.join(f'{way}, s' for way in WAYS)} | difference, eV/Å |")
    print(f"| --- |{' ---: |' * (len(WAYS) + 1)}")
    for name, *rows in zip(chosen.molecules, *found, strict=True):
        forces = [np.array(row["forces"]) for row in rows]
        difference = max(np.abs(other - forces[0]).max() for other in forces)
        seconds = " | ".join(f"{row['seconds']:.2f}" for row in rows)
        print(f"| {name} | {seconds} | {difference:.0e} |")


def measured(name: str, way: str) -> dict:
    """Seconds and forces, eV/angstrom, of a molecule; the first one of a process has been warmed up."""
    if way == WAYS[0]:
        from pyscf import dft  # noqa: F401  # loaded before anybody tells it which kernels to use
    from ase.build import molecule

    from ase_nbody.labelling.pyscf_calculator import PySCFCalculator

    calculator = PySCFCalculator("PBE", "def2-svp")
    if way != WAYS[2]:
        from pyscf.dft.numint import NumInt

        from ase_nbody.labelling import kept_orbitals

        kept_orbitals.KeptOrbitals = NumInt
    calculator.get_forces(molecule("H2"))
    atoms = molecule(name)
    atoms.rattle(0.05, seed=0)
    begun = time.perf_counter()
    forces = calculator.get_forces(atoms)
    return {"seconds": time.perf_counter() - begun, "forces": forces.tolist()}


if __name__ == "__main__":
    main()
