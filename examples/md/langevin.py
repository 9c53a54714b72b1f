"""NVT molecular dynamics of ethanol with a Langevin thermostat: mean temperature and the OH bond."""

import argparse

import numpy as np
from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from ase_nbody import NBodyCalculator


def main(steps: int) -> None:
    """Run, print means and check that the molecule stays whole and near the temperature."""
    temperature = 300.0  # K
    generator = np.random.default_rng(0)
    atoms = molecule("CH3CH2OH")
    atoms.calc = NBodyCalculator("organic")
    thermalize_momenta(atoms, temperature_K=temperature, rng=generator)
    oxygen = atoms.symbols.search("O")[0]
    hydrogens = atoms.symbols.search("H")
    hydroxyl = hydrogens[np.argmin(atoms.get_distances(oxygen, hydrogens))]

    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=generator
    )
    temperatures, bonds = [], []
    for _ in dynamics.irun(steps):
        temperatures.append(atoms.get_temperature())
        bonds.append(atoms.get_distance(oxygen, hydroxyl))
    second_half = np.array(temperatures[len(temperatures) // 2 :])
    print(f"temperature {second_half.mean():.0f} K, OH bond {np.mean(bonds):.3f} ± {np.std(bonds):.3f} Å")

    if not (0.8 < min(bonds) and max(bonds) < 1.3):
        raise SystemExit(f"the OH bond went from {min(bonds):.2f} to {max(bonds):.2f} Å; 0.8 to 1.3 is expected")
    # The mean over t fs has about t * friction independent samples of 27 degrees of freedom.
    samples = max(1.0, 0.5 * len(second_half) * 0.02)
    error = 5 * temperature * np.sqrt(2 / 27 / samples) + 100 / samples
    if abs(second_half.mean() - temperature) > error:
        raise SystemExit(
            f"the mean temperature is {second_half.mean():.0f} K; {temperature:.0f} ± {error:.0f} is expected"
        )
    print("the molecule is whole and at temperature")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000, help="steps of 0.5 fs")
    main(parser.parse_args().steps)
