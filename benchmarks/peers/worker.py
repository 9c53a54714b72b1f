"""Times one model in its own environment; started by compare.py, one line of JSON for each line on its input.

    echo '{"do": "evaluate", "structure": "toluene"}
          {"do": "steps", "seconds": 2, "most": 100}' | PYTHON benchmarks/peers/worker.py "mace 64x0e" float32 2

Requests: "evaluate" and "train" prepare a step, "steps" takes it repeatedly, "many" is ase_nbody's
`calculate_many` against the loop. Weights are random.
"""

from __future__ import annotations

import importlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from serving import serve
from structures import STRUCTURES, labelled, rattled

MODELS = {
    "ase_nbody small": "nbody small",
    "ase_nbody medium": "nbody medium",
    "ase_nbody nequip": "nequip medium",
    "mace 64x0e": "64x0e",
    "mace 128x0e+128x1o": "128x0e+128x1o",
    "symmetrix 64x0e": "64x0e",
    "symmetrix 128x0e+128x1o": "128x0e+128x1o",
    "nequip": "eager",
    "nequip compiled": "compile",
}
PACKAGES = ("ase_nbody", "mace-torch", "symmetrix-xl", "nequip", "e3nn", "torch", "ase", "numpy")
BATCHES, BATCH_SIZE = 10, 5
DISPLACEMENT = 0.002  # angstrom, of every atom before every step
SLOW = 5000.0  # ms

Step = Callable[[], float]


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    started = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - started)


def evaluation(package: Any, size: str, dtype: str, structure: str) -> Step:
    """A step that moves all atoms a little and times energy and forces through the package's ASE calculator."""
    atoms = STRUCTURES[structure]()
    atoms.calc = package.calculator(atoms, dtype, size)
    generator = np.random.default_rng(0)

    def step() -> float:
        atoms.positions += generator.normal(0, DISPLACEMENT, atoms.positions.shape)
        return timed(lambda: (atoms.get_forces(), atoms.get_potential_energy()))

    return step


def training(package: Any, size: str, dtype: str, structure: str) -> Step:
    """A step that times loss, gradients and optimizer for the next of some batches, which are made beforehand."""
    structures = labelled(rattled(STRUCTURES[structure](), BATCHES * BATCH_SIZE))
    batches = [structures[i : i + BATCH_SIZE] for i in range(0, len(structures), BATCH_SIZE)]
    step = package.training_step(batches, dtype, size)
    return lambda: timed(step)


def repeated(step: Step, seconds: float, most: int) -> list[float]:
    """Milliseconds of each of several steps, at least one."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while not times or (time.perf_counter() < until and len(times) < most):
        times.append(step())
    return times


def peak_memory() -> float:
    """Largest resident set so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Worker:
    """Answers requests for one model, and keeps the step that was prepared last."""

    def __init__(self, model: str, dtype: str) -> None:
        self.package = importlib.import_module(f"with_{model.split()[0]}")
        self.size, self.dtype = MODELS[model], dtype
        self.step: Step | None = None
        self.imports = peak_memory()

    def evaluate(self, structure: str) -> dict[str, Any]:
        """Prepare evaluations."""
        self.step = None
        return self.prepared(evaluation(self.package, self.size, self.dtype, structure), structure)

    def train(self, structure: str) -> dict[str, Any]:
        """Prepare training steps."""
        self.step = None
        return self.prepared(training(self.package, self.size, self.dtype, structure), structure)

    def prepared(self, step: Step, structure: str) -> dict[str, Any]:
        """Keep a step, after one or, where they are fast, three that are not counted."""
        self.step = step
        first = step()
        if first < SLOW:
            repeated(step, 1.0, 2)
        return {"first_ms": first, "atoms": len(STRUCTURES[structure]())}

    def steps(self, seconds: float, most: int) -> dict[str, Any]:
        """Take the prepared step several times; memory is the peak of the process beyond its imports."""
        times = repeated(self.step, seconds, most)
        return {"ms": float(np.median(times)), "steps": len(times), "memory_mb": peak_memory() - self.imports}

    def many(self) -> dict[str, float]:
        """Structures per second."""
        return self.package.many(self.dtype, self.size)


def main() -> None:
    """Command line: model, dtype, threads."""
    model, dtype, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    serve(lambda: Worker(model, dtype), PACKAGES)


if __name__ == "__main__":
    main()
