"""Proton transfer in malonaldehyde: a climbing nudged elastic band whose images share one calculator.

The model learnt PBE/def2-SVP, whose barrier is 0.023 eV: frames 1 (the symmetric saddle point) and 0 (the relaxed enol)
of benchmarks/reference/data/malonaldehyde_enol.xyz. That is far too low: CCSD(T) gives 0.18 eV (Wang et al. 2008,
J. Chem. Phys. 128, 224314).
"""

import argparse

import numpy as np
from ase import Atoms
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from ase_nbody import NBodyCalculator

# The planar enol O=C-C=C-O-H, in angstrom. Exchanging the two halves (O1 C1 H1 with O2 C2 H2) gives the product.
SYMBOLS = "O C C C O H H H H".split()  # O1 C1 C0 C2 O2, hydrogens of C1, C0, C2, and the proton on O2
POSITIONS = [
    (-1.27, 1.22, 0.0), (-1.22, -0.02, 0.0), (0.0, -0.77, 0.0), (1.19, -0.09, 0.0), (1.27, 1.23, 0.0),
    (-2.15, -0.62, 0.0), (0.01, -1.85, 0.0), (2.16, -0.58, 0.0), (0.36, 1.62, 0.0),
]  # fmt: skip
PARTNERS = [4, 3, 2, 1, 0, 7, 6, 5, 8]


def main(steps: int) -> None:
    """Relax the reactant, mirror it, find the path, print the barrier and check its symmetry."""
    calculator = NBodyCalculator("organic")
    reactant = Atoms(SYMBOLS, POSITIONS)
    reactant.calc = calculator
    with BFGS(reactant, logfile=None) as optimizer:
        optimizer.run(fmax=0.01, steps=max(steps, 1))
    product = reactant.copy()
    product.positions = (reactant.positions * [-1, 1, 1])[PARTNERS]

    images = [reactant, *(reactant.copy() for _ in range(5)), product]
    for image in images:
        image.calc = calculator
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True, remove_rotation_and_translation=True)
    band.interpolate("idpp")
    for climb, fmax in ((False, 0.15), (True, 0.03)):
        band.climb = climb
        with FIRE(band, logfile=None) as optimizer:
            converged = optimizer.run(fmax=fmax, steps=steps)
    energies = np.array([image.get_potential_energy() for image in images])
    energies -= energies[0]
    print("energies along the path (eV):", energies.round(4))
    saddle = images[int(energies.argmax())]
    print(
        f"barrier {energies.max():.3f} eV, O...H {saddle.get_distance(0, 8):.3f} and {saddle.get_distance(4, 8):.3f} Å"
    )

    if abs(energies[-1]) > 1e-6 or np.abs(energies - energies[::-1]).max() > (0.004 if steps >= 100 else 0.02):
        raise SystemExit("reactant and product are mirror images, but the profile is not symmetric")
    if steps >= 100:
        if not converged or not 0.01 < energies.max() < 0.05:
            raise SystemExit(f"the barrier is {energies.max():.3f} eV; between 0.01 and 0.05 is expected")
        if abs(saddle.get_distance(0, 8) - saddle.get_distance(4, 8)) > 0.05:
            raise SystemExit("the proton is not in the middle at the saddle point")
    print("the profile is symmetric")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="largest number of steps of each optimisation")
    main(parser.parse_args().steps)
