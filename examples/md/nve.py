"""NVE molecular dynamics of ethanol with velocity Verlet: how well is the energy conserved?"""

import argparse

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_nbody import NBodyCalculator


def main(steps: int) -> None:
    """Run, print the drift and check it."""
    timestep = 0.5  # fs
    atoms = molecule("CH3CH2OH")
    atoms.calc = NBodyCalculator("organic")
    thermalize_momenta(atoms, temperature_K=300, rng=np.random.default_rng(0))
    Stationary(atoms)
    ZeroRotation(atoms)

    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    energies = np.array([atoms.get_total_energy() for _ in dynamics.irun(steps)])

    per_atom = 1000 * (energies - energies[0]) / len(atoms)  # meV
    picoseconds = timestep / 1000 * np.arange(len(energies))
    drift, offset = np.polyfit(picoseconds, per_atom, 1)
    spread = np.std(per_atom - drift * picoseconds - offset)
    print(f"{picoseconds[-1]:g} ps: drift {drift:+.4f} meV/atom/ps, spread {spread:.4f} meV/atom")

    change = np.ptp(per_atom)
    if change > 2.0:
        raise SystemExit(f"the total energy changed by {change:.3f} meV/atom; it should be constant within 2")
    print("total energy is conserved")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="steps of 0.5 fs")
    main(parser.parse_args().steps)
