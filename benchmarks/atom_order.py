"""What it gains that the compiled evaluation puts atoms into an order of its own, where theirs is scattered.

    python benchmarks/atom_order.py                                        # silicon and MgO, as built and shuffled
    python benchmarks/atom_order.py --model water --structure water.xyz --repeats 2

Microseconds per atom of an evaluation, with a neighbour list that is there: least of some rounds, in turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import evaluation
from ase_nbody.architectures.atom_order import local_order

ROUNDS = 3
ORDERS = {"as they come": lambda _: None, "sorted": local_order}


def times(atoms: Atoms, model: str, dtype: str, threads: int) -> dict[str, float]:
    """Microseconds per atom, by the order of the atoms inside."""
    best = dict.fromkeys(ORDERS, np.inf)
    for _ in range(ROUNDS):
        for name, order in ORDERS.items():
            evaluation.local_order = order
            calculator = NBodyCalculator(model, device="cpu", dtype=dtype, threads=threads, outside="ignore")
            for first in (True, False, False):
                before = calculator.timings.seconds.get("evaluation", 0.0)
                atoms.rattle(1e-4, seed=0)
                calculator.calculate(atoms)
                if not first:
                    best[name] = min(best[name], calculator.timings.seconds["evaluation"] - before)
    return {name: 1e6 * seconds / len(atoms) for name, seconds in best.items()}


def structures(chosen: argparse.Namespace) -> Iterator[tuple[str, str, Atoms]]:
    """Models, names and structures."""
    if chosen.structure is not None:
        yield chosen.model, chosen.structure.stem, read(chosen.structure, 0)
        return
    yield "silicon", "silicon", bulk("Si", cubic=True) * (2, 2, 2)
    yield "universal", "MgO", bulk("MgO", "rocksalt", a=4.2, cubic=True) * (2, 2, 2)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="silicon")
    parser.add_argument("--structure", type=Path, help="file; the first structure counts")
    parser.add_argument("--repeats", type=int, default=3, help="of the structure in each direction")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    print(
        "| structure | atoms | dtype | as they come, µs/atom | sorted | ratio |\n"
        "| --- | ---: | --- | ---: | ---: | ---: |"
    )
    for model, name, unit in structures(chosen):
        whole = unit.repeat(chosen.repeats)
        whole.rattle(0.02, seed=1)
        scattered = whole[np.random.default_rng(0).permutation(len(whole))]
        for words, atoms in ((name, whole), (f"{name}, shuffled", scattered)):
            for dtype in ("float32", "float64"):
                own, inside = times(atoms, model, dtype, chosen.threads).values()
                print(
                    f"| {words} | {len(atoms)} | {dtype} | {own:.0f} | {inside:.0f} | {own / inside:.2f} |", flush=True
                )


if __name__ == "__main__":
    main()
