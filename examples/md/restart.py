"""Restart from a trajectory: two halves of a run give the same end as the whole."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from ase_nbody import NBodyCalculator


def run(atoms: Atoms, steps: int, trajectory: Path) -> Atoms:
    """Molecular dynamics with a calculator of its own; positions and momenta go into the trajectory."""
    atoms.calc = NBodyCalculator("organic")
    with VelocityVerlet(atoms, 0.5 * units.fs, trajectory=str(trajectory), loginterval=1) as dynamics:
        dynamics.run(steps)
    return atoms


def main(steps: int) -> None:
    """Run once in one piece and once in two, and compare the last frames."""
    start = molecule("CH3CH2OH")
    thermalize_momenta(start, temperature_K=300, rng=np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        whole = run(start.copy(), steps, Path(folder) / "whole.traj")
        run(start.copy(), steps // 2, Path(folder) / "first.traj")
        continued = read(Path(folder) / "first.traj")  # the last frame, momenta included
        continued = run(continued, steps - steps // 2, Path(folder) / "second.traj")
    positions = np.abs(continued.positions - whole.positions).max()
    momenta = np.abs(continued.get_momenta() - whole.get_momenta()).max()
    print(f"largest difference: positions {positions:.1e} Å, momenta {momenta:.1e}")

    # Neighbour lists are built at other steps, so sums are rounded differently; chaos lets that grow with time.
    if positions > 1e-6:
        raise SystemExit("the continued run went another way")
    print("the continued run is the unbroken one")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="steps of 0.5 fs")
    main(parser.parse_args().steps)
