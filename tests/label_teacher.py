"""What processes of labelling tests load: springs, elements that make trouble, structures, a call that dies.

It imports no more than they need.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ase_nbody.labelling.journal import JournalEntry
from ase_nbody.labelling.references import Label

__version__ = "1.5"
FORCE_CONSTANT, LENGTH = 2.0, 1.5  # eV/angstrom^2, angstrom


class Springs(Calculator):
    """E = k/2 Σ (r - r0)² over all pairs. He, Ne, Ar, Kr, Xe as first atom: exit, signal, sleep, error, NaN.

    Args:
        factor: of the forces; 1 is consistent with the energy.
        seconds: that a calculation takes.
        log: a file that gets the number of the process for each calculation.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, factor=1.0, stress_factor=1.0, seconds=0.0, log="", drift=0.0):
        super().__init__()
        self.factor, self.stress_factor, self.seconds, self.log, self.drift = factor, stress_factor, seconds, log, drift

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        self._trouble(atoms)
        vectors = atoms.positions[None] - atoms.positions[:, None]
        lengths = np.linalg.norm(vectors, axis=-1) + np.eye(len(atoms)) * LENGTH
        pull = (FORCE_CONSTANT * (lengths - LENGTH) / lengths)[..., None] * vectors
        self.results["energy"] = float(FORCE_CONSTANT / 4 * ((lengths - LENGTH) ** 2).sum())
        self.results["forces"] = self.factor * pull.sum(axis=1) + self.drift
        if atoms.numbers[0] == 54:
            self.results["forces"][0] = np.nan
        if atoms.cell.rank == 3:
            stress = 0.5 * np.einsum("ijx,ijy->xy", pull, vectors) / atoms.get_volume()
            self.results["stress"] = self.stress_factor * full_3x3_to_voigt_6_stress(stress)

    def _trouble(self, atoms):
        number = int(atoms.numbers[0])
        if number == 2:
            os._exit(3)
        if number == 10:
            os.kill(os.getpid(), signal.SIGSEGV)
        if number == 18:
            time.sleep(60)
        if number == 36:
            raise RuntimeError("no convergence")


def springs(**options):
    return Springs(**options)


def no_calculator():
    return 3


def structures(count, seed=0):
    from ase.build import bulk, molecule  # a second that processes do without

    random = np.random.default_rng(seed)
    made = []
    for n in range(count):
        atoms = bulk("Cu", cubic=True) if n % 4 == 3 else molecule(("H2O", "CH4", "NH3")[n % 3])
        atoms.positions += random.normal(scale=0.1, size=(len(atoms), 3))
        atoms.info["name"] = f"molécule {n}"
        made.append(atoms)
    return made


class Doubtful:
    """A call that labels batches, and dies with a batch that has number 5 in it."""

    def prepare(self):
        pass

    def __call__(self, task):
        if 5 in task.numbers:
            os._exit(1)
        return [JournalEntry(Label(float(n), np.zeros((1, 3)))) for n in task.numbers]
