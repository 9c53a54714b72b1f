"""Long molecular dynamics with the shipped models: does every distance stay within what the models were trained on?

    python benchmarks/stability.py ethanol     # 100 ps of NVT at 300 K, 0.5 fs steps
    python benchmarks/stability.py 3bpa        # the same of 3BPA
    python benchmarks/stability.py silicon     # 100 ps of NVT at 300 K, 64 atoms, 2 fs steps
    python benchmarks/stability.py molybdenum  # the same of 54 atoms
    python benchmarks/stability.py copper      # of 108 atoms

Prints and writes runs/stability-NAME.json, with the closest distance of each pair of elements beside that of the
training data and the largest change of any bond, and runs/stability-NAME.png. Ends with status 1 where a distance left
the training envelope or a bond changed by more than 0.5 angstrom.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.optimize import BFGS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ase_nbody import NBodyCalculator
from ase_nbody.graph import closest_distances
from ase_nbody.neighbours import neighbour_graph

LARGEST_BOND_CHANGE = 0.5  # angstrom, the criterion of Fu et al. 2023 (arXiv:2210.07237) for molecules


@dataclass(frozen=True)
class System:
    """What is run: a structure, its model and the time step (fs)."""

    atoms: Atoms
    model: str
    timestep: float


MOLECULES = read(Path(__file__).with_name("peers") / "molecules.xyz", ":")
SYSTEMS = {
    "ethanol": System(molecule("CH3CH2OH"), "organic", 0.5),
    "3bpa": System(next(atoms for atoms in MOLECULES if atoms.info["name"] == "3bpa"), "3bpa", 0.5),
    "silicon": System(bulk("Si", cubic=True) * (2, 2, 2), "silicon", 2.0),
    "molybdenum": System(bulk("Mo", cubic=True) * (3, 3, 3), "molybdenum", 2.0),
    "copper": System(bulk("Cu", cubic=True) * (3, 3, 3), "copper", 2.0),
}


class Watch:
    """Distances along a trajectory: the closest of each pair of elements, and the largest change of a bond."""

    def __init__(self, atoms: Atoms) -> None:
        self.atoms = atoms
        first, second, lengths, shifts = neighbor_list("ijdS", atoms, natural_cutoffs(atoms, mult=1.2))
        self.bonds, self.lengths, self.shifts = (first, second), lengths, shifts
        self.closest: dict[str, float] = {}
        self.bond_change = 0.0
        self.temperatures: list[float] = []

    def __call__(self) -> None:
        atoms = self.atoms
        self.closest = closest_distances(neighbour_graph(atoms, 3.0), self.closest)
        vectors = atoms.positions[self.bonds[1]] - atoms.positions[self.bonds[0]] + self.shifts @ atoms.cell.array
        changes = np.abs(np.linalg.norm(vectors, axis=1) - self.lengths)
        self.bond_change = max(self.bond_change, float(changes.max()))
        self.temperatures.append(atoms.get_temperature())


def run(name: str, picoseconds: float, temperature: float) -> bool:
    """Run one system, print and write what was found, and say whether it stayed within the envelope."""
    system = SYSTEMS[name]
    atoms = system.atoms.copy()
    calculator = NBodyCalculator(system.model, dtype="float32")
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.01)
    watch = Watch(atoms)
    generator = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature, rng=generator)
    dynamics = Langevin(
        atoms,
        system.timestep * units.fs,
        temperature_K=temperature,
        friction=0.01 / units.fs,
        rng=generator,
        fixcm=False,
    )
    dynamics.attach(watch, interval=10)
    steps = round(1000 * picoseconds / system.timestep)
    started = time.perf_counter()
    for tenth in range(10):
        dynamics.run(steps // 10)
        print(f"{(tenth + 1) * picoseconds / 10:.0f} ps, bonds within {watch.bond_change:.3f} angstrom", flush=True)
    assert calculator.information is not None
    trained = calculator.information.envelope.closest_distances
    found = {
        "model": system.model,
        "picoseconds": picoseconds,
        "steps": steps,
        "mean_temperature_K": float(np.mean(watch.temperatures)),
        "milliseconds_per_step": 1000 * (time.perf_counter() - started) / steps,
        "largest_bond_change": watch.bond_change,
        "closest_distances": {p: [d, trained[p]] for p, d in sorted(watch.closest.items()) if p in trained},
    }
    within = all(d >= limit for d, limit in found["closest_distances"].values())
    found["within_envelope"] = within and watch.bond_change <= LARGEST_BOND_CHANGE
    text = json.dumps(found, indent=2)
    print(text)
    Path("runs").mkdir(exist_ok=True)
    Path(f"runs/stability-{name}.json").write_text(text + "\n")
    plot(name, watch.temperatures, picoseconds)
    return bool(found["within_envelope"])


def plot(name: str, temperatures: list[float], picoseconds: float) -> None:
    """Temperature along the run, a running mean over 1 ps, as runs/stability-NAME.png."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = max(1, round(len(temperatures) / picoseconds))
    means = np.convolve(temperatures, np.ones(width) / width, mode="valid")
    axes.plot(np.linspace(0, picoseconds, len(means)), means, linewidth=0.7)
    axes.set(xlabel="time (ps)", ylabel="temperature, 1 ps mean (K)", title=f"NVT of {name}")
    figure.savefig(f"runs/stability-{name}.png", dpi=120)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SYSTEMS)
    parser.add_argument("--picoseconds", type=float, default=100.0)
    parser.add_argument("--temperature", type=float, default=300.0, help="kelvin")
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.name, chosen.picoseconds, chosen.temperature) else 1)


if __name__ == "__main__":
    main()
