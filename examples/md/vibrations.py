"""Harmonic vibrations of ethanol: 3N - 6 real modes, from ASE's finite differences of forces."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.optimize import BFGS
from ase.vibrations import Vibrations

from ase_nbody import NBodyCalculator


def main(steps: int) -> None:
    """Relax, find the modes, print them and check their number and range."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = NBodyCalculator("organic")
    with BFGS(atoms, logfile=None) as optimizer:
        optimizer.run(fmax=0.001, steps=steps)

    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(atoms, name=str(Path(folder) / "modes"), delta=0.005)
        vibrations.run()
        frequencies = vibrations.get_frequencies()  # cm^-1, imaginary ones as complex numbers
    modes = frequencies[6:].real  # translations and rotations are the six lowest
    print("frequencies (cm^-1):", modes.round(0))
    print(f"zero-point energy {vibrations.get_zero_point_energy():.3f} eV")

    real = int(np.sum((np.abs(frequencies.imag) < 1e-6) & (frequencies.real > 100)))
    if real != 3 * len(atoms) - 6:
        raise SystemExit(f"{real} real modes above 100 cm^-1; 3N - 6 = {3 * len(atoms) - 6} are expected")
    # Experiment: OH stretch 3653 cm^-1, lowest torsion about 200; harmonic PBE lies within some percent.
    if not 3300 < modes[-1] < 4100:
        raise SystemExit(f"the OH stretch is at {modes[-1]:.0f} cm^-1; 3300 to 4100 is expected")
    print("3N - 6 real modes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="largest number of steps of the relaxation")
    main(parser.parse_args().steps)
