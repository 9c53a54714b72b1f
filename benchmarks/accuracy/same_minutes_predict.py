"""Energies and forces of test structures through an ASE calculator; imported in every package's own environment."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator
from ase.io import read


def write_predictions(calculator: Calculator, structures: Path, output: Path, package: str) -> None:
    """Evaluate structures one after the other.

    Args:
        calculator: of the trained model.
        structures: a file with S structures of A atoms each.
        output: .npz with energies (S,) in eV, forces (S, A, 3) in eV/Å, and name and version of the package.
        package: name of the distribution that was evaluated.
    """
    energies, forces = [], []
    for atoms in read(structures, ":"):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    with output.open("wb") as file:
        np.savez(file, energies=energies, forces=forces, package=f"{package} {version(package)}")
