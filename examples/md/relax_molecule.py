"""Relaxation of ethanol from two distorted starts: both find the same minimum."""

import argparse

import numpy as np
from ase.build import molecule
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator


def main(steps: int) -> None:
    """Relax both, print energies and bonds, and check that they agree."""
    calculator = NBodyCalculator("organic")
    energies = []
    for seed in (0, 1):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = calculator
        start = atoms.get_potential_energy()
        with BFGS(atoms, logfile=None) as optimizer:
            converged = optimizer.run(fmax=0.005, steps=steps)
        energies.append(atoms.get_potential_energy())
        force = np.linalg.norm(atoms.get_forces(), axis=1).max()
        print(f"start {seed}: {start:.4f} -> {energies[-1]:.4f} eV, largest force {force:.4f} eV/Å")
        if energies[-1] >= start:
            raise SystemExit("the energy did not fall")
        if steps >= 100 and not converged:
            raise SystemExit(f"forces did not fall below 0.005 eV/Å in {steps} steps")

    if steps >= 100 and abs(energies[1] - energies[0]) > 1e-3:
        raise SystemExit(f"the minima differ by {1000 * (energies[1] - energies[0]):.2f} meV")
    print("the energy fell from both starts" + (" to one minimum" if steps >= 100 else ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="largest number of steps")
    main(parser.parse_args().steps)
