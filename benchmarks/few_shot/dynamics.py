"""Dynamics of adapted models: whether a molecule stays whole and inside what its structures cover.

    python benchmarks/few_shot/dynamics.py MODEL --structure FILE                      # 100 ps at 500 K, a line of JSON
    python benchmarks/few_shot/dynamics.py MODEL --structure FILE --picoseconds 10

The first structure of FILE is relaxed, and runs by Langevin's equation in float32. `temperature_of_structures` is that
at which a harmonic molecule would have the mean energy of all structures of FILE. Models are made by few_shot.py with
`--keep FOLDER`, or by `nbody adapt`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator

TIMESTEP = 0.5  # fs
FRICTION = 0.01  # 1/fs
BROKEN = 1.5  # a bond of more than so many times its length
FIRST_FIGURES = 0.5  # share of the run that the temperature is not taken of


@dataclass
class Trajectory:
    """What happened.

    Attributes:
        steps: that were taken; fewer than asked for where the molecule broke.
        outside: steps outside the model's envelope.
        closest: smallest distance met of each pair of elements, angstrom.
        longest_bond: over its length at the minimum.
        temperatures: of every step, K.
    """

    steps: int = 0
    outside: int = 0
    closest: dict[str, float] = field(default_factory=dict)
    longest_bond: float = 0.0
    temperatures: list[float] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """No bond was broken."""
        return self.longest_bond < BROKEN

    def to_json_dict(self) -> dict[str, object]:
        """Figures as JSON values, the temperature as the mean of the second half."""
        found = asdict(self)
        temperatures = found.pop("temperatures")
        found["temperature"] = float(np.mean(temperatures[int(FIRST_FIGURES * len(temperatures)) :]))
        return found | {"survived": self.survived, "share_outside": self.outside / self.steps}


def main() -> None:
    """Run, and print a line of JSON."""
    options = _options()
    calc = NBodyCalculator(options.model, dtype="float32", outside="ignore", threads=options.threads)
    begun = time.perf_counter()
    structures = read(options.structure, ":")
    found = run(calc, structures[0], options.temperature, options.picoseconds)
    row = {"model": options.model.stem, "picoseconds": options.picoseconds, **found.to_json_dict()}
    row["temperature_of_structures"] = harmonic_temperature(calc, structures)
    print(json.dumps(row | {"seconds": time.perf_counter() - begun}))


def harmonic_temperature(calc: NBodyCalculator, structures: Sequence[Atoms]) -> float:
    """Temperature, K, at which a harmonic molecule has the mean energy of its structures above the minimum.

    Args:
        calc: that gives the energies.
        structures: of one molecule, the minimum nearest to the first of which counts.
    """
    relaxed = _relaxed(calc, structures[0])
    energies = [found["energy"] for found in calc.calculate_many(structures)]
    above = float(np.mean(energies)) - relaxed.get_potential_energy()
    return 2 * above / (units.kB * (3 * len(relaxed) - 6))


def run(calc: NBodyCalculator, structure: Atoms, temperature: float, picoseconds: float, seed: int = 0) -> Trajectory:
    """Relax a molecule, and run until the time is over or a bond is broken.

    Args:
        calc: of the model.
        structure: a molecule without a cell.
        temperature: K.
        picoseconds: of the run.
        seed: of velocities and friction.
    """
    atoms = _relaxed(calc, structure)
    first, second, lengths = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=1.2))
    found, pairs = Trajectory(), _pairs(atoms)
    for _ in _steps(atoms, temperature, round(1000 * picoseconds / TIMESTEP), seed):
        distances = atoms.get_all_distances()
        found.steps += 1
        found.outside += not calc.get_envelope(atoms).inside
        found.temperatures.append(atoms.get_temperature())
        for pair, chosen in pairs.items():
            found.closest[pair] = min(found.closest.get(pair, np.inf), float(distances[chosen].min()))
        found.longest_bond = max(found.longest_bond, float((distances[first, second] / lengths).max()))
        if not found.survived:
            break
    return found


def _relaxed(calc: NBodyCalculator, structure: Atoms) -> Atoms:
    atoms = Atoms(structure.symbols, structure.positions, calculator=calc)
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    return atoms


def _steps(atoms: Atoms, temperature: float, steps: int, seed: int) -> Iterator[object]:
    generator = np.random.default_rng(seed)
    thermalize_momenta(atoms, temperature_K=temperature, rng=generator)
    langevin = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=FRICTION / units.fs, fixcm=False, rng=generator
    )
    return langevin.irun(steps)


def _pairs(atoms: Atoms) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of atoms, by their elements."""
    chosen: dict[str, tuple[list[int], list[int]]] = {}
    for i, j in zip(*np.triu_indices(len(atoms), k=1), strict=True):
        rows, columns = chosen.setdefault("-".join(sorted((atoms.symbols[i], atoms.symbols[j]))), ([], []))
        rows.append(i)
        columns.append(j)
    return {pair: (np.array(rows), np.array(columns)) for pair, (rows, columns) in chosen.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--structure", type=Path, required=True, help="of which the first is where the run starts")
    parser.add_argument("--temperature", type=float, default=500.0, help="K")
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
