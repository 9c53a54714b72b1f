"""Processor seconds and memory of the first energy and forces of imported models, each in a process of its own.

    python benchmarks/mace/first_call.py IMPORTED.safetensors... [--tree CHECKOUT]

Eight atoms of Li, Fe, P and O, one thread, float32 and float64. `--tree` measures another checkout of this repository.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

MEASURED = """
import json, resource, sys, time
from ase.build import bulk
from ase_nbody import NBodyCalculator

def used():
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

atoms = bulk("NaCl", "rocksalt", a=4.6, cubic=True)
atoms.symbols[:] = ["Li", "O", "Fe", "P"] * 2
atoms.rattle(0.05, seed=0)
begun = used()
atoms.calc = NBodyCalculator(sys.argv[1], dtype=sys.argv[2], device="cpu", threads=1)
loaded = used()
atoms.get_forces()
ended = used()
print(json.dumps([loaded[0] - begun[0], ended[0] - loaded[0], ended[1]]))
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", help="model files of `nbody import mace`")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[2])
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(arguments.tree.resolve()), "OMP_NUM_THREADS": "1"}
    print(
        "| model | dtype | loading, s | first energy and forces, s | memory, MB |\n| --- | --- | ---: | ---: | ---: |"
    )
    for model in arguments.models:
        for dtype in ("float32", "float64"):
            command = [sys.executable, "-c", MEASURED, str(model.resolve()), dtype]
            made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd="/")
            loading, first, memory = json.loads(made.stdout)
            print(f"| {model.stem} | {dtype} | {loading:.2f} | {first:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
