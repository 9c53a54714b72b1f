"""What the check of the training, the repulsion and the watchdog cost for each step of molecular dynamics.

    outside_cost.py [--dtype float32] [--threads 1] [--steps 400]

NVE through ASE; the variants take turns, so that the machine's moods hit all alike; medians over the turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from ase_nbody import MDWatchdog, NBodyCalculator

TURNS = 9
WATER_SPACING = 3.104  # angstrom between molecules at 1 g/cm^3


def main() -> None:
    """Print milliseconds per step of each variant, and its cost over the bare one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    for name, (model, atoms) in structures().items():
        steps = max(10, arguments.steps // max(1, len(atoms) // 16))
        runs = variants(model, atoms, arguments.dtype, arguments.threads)
        times = {variant: [] for variant in runs}
        for turn in range(TURNS + 1):
            for variant, run in runs.items():
                seconds = run(steps)
                if turn:  # the first one loads and compiles
                    times[variant].append(1e3 * seconds / steps)
        bare = np.median(times["bare"])
        for variant, values in times.items():
            ratios = np.array(values) / np.array(times["bare"])
            cost = 100 * (np.median(ratios) - 1)
            print(f"{name:22s} {variant:28s} {np.median(values):8.3f} ms/step {cost:+6.1f} % of {bare:.3f}")


def structures() -> dict[str, tuple[str, Atoms]]:
    """A molecule, a liquid and a crystal, each with a model for it."""
    water = molecule("H2O", cell=3 * [WATER_SPACING], pbc=True) * (4, 4, 4)
    crystal = bulk("Si", cubic=True) * (4, 4, 4)
    return {
        "ethanol, 9 atoms": ("organic", molecule("CH3CH2OH")),
        "water, 192 atoms": ("water", water),
        "silicon, 512 atoms": ("silicon", crystal),
    }


def variants(model: str, atoms: Atoms, dtype: str, threads: int) -> dict[str, Callable[[int], float]]:
    """Functions that run so many steps and return seconds."""
    options = {"device": "cpu", "dtype": dtype, "threads": threads}
    whole = NBodyCalculator(model, **options).potential
    bare = replace(whole, repulsion=None)
    return {
        "bare": runner(atoms, NBodyCalculator(bare, outside="ignore", **options)),
        "repulsion": runner(atoms, NBodyCalculator(whole, outside="ignore", **options)),
        "repulsion, check": runner(atoms, NBodyCalculator(model, outside="warn", **options)),
        "repulsion, check, watchdog": runner(atoms, NBodyCalculator(model, outside="warn", **options), watched=True),
    }


def runner(start: Atoms, calculator: NBodyCalculator, *, watched: bool = False) -> Callable[[int], float]:
    """The same steps from the same start, again and again."""

    def run(steps: int) -> float:
        atoms = start.copy()
        atoms.calc = calculator
        MaxwellBoltzmannDistribution(atoms, temperature_K=100, rng=np.random.default_rng(0))
        dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
        if watched:
            dynamics.attach(MDWatchdog(dynamics))
        atoms.get_forces()
        begin = perf_counter()
        dynamics.run(steps)
        return perf_counter() - begin

    return run


if __name__ == "__main__":
    main()
