"""NPT molecular dynamics of 64 silicon atoms: mean volume and pressure at 300 K."""

import argparse

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import thermalize_momenta

from ase_nbody import NBodyCalculator


def main(steps: int) -> None:
    """Run, print means and check that the crystal stays one."""
    temperature = 300.0  # K
    generator = np.random.default_rng(0)
    atoms = bulk("Si", cubic=True).repeat(2)
    atoms.calc = NBodyCalculator("silicon")
    thermalize_momenta(atoms, temperature_K=temperature, rng=generator)

    dynamics = LangevinBAOAB(
        atoms,
        2 * units.fs,
        temperature_K=temperature,
        externalstress=0.0,
        hydrostatic=True,
        T_tau=100 * units.fs,
        P_tau=500 * units.fs,
        P_mass=2e4,  # ASE's estimate for a period of 125 fs
        rng=generator,
    )
    volumes, pressures = [], []
    for _ in dynamics.irun(steps):
        volumes.append(atoms.get_volume() / len(atoms))
        pressures.append(-atoms.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa)
    half = len(volumes) // 2
    volume, pressure = np.mean(volumes[half:]), np.mean(pressures[half:])
    print(f"volume {volume:.3f} Å³/atom, pressure {pressure:+.2f} GPa, lattice {(8 * volume) ** (1 / 3):.4f} Å")

    # PBE at 0 K: a = 5.469 Å, 20.45 Å³/atom (Haas et al. 2009, doi 10.1103/PhysRevB.79.085104).
    if abs(volume / 20.45 - 1) > 0.04:
        raise SystemExit(f"the volume is {volume:.2f} Å³/atom; 20.45 within 4 % is expected")
    neighbours = np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 4]
    if neighbours.max() > 2.9:
        raise SystemExit(f"a fourth neighbour is {neighbours.max():.2f} Å away; the crystal has melted or broken")
    print("silicon is a crystal with four neighbours per atom")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="steps of 2 fs")
    main(parser.parse_args().steps)
