"""Where the time of a step goes: torch's profiler over evaluations of ase_nbody, largest first.

PYTHONPATH=benchmarks/peers python benchmarks/gpu/step_profile.py "nbody medium" water-3993 cuda
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from boxes import BOXES, SMALL
from torch.profiler import ProfilerActivity, profile
from with_ase_nbody import calculator

STEPS = 5


def main() -> None:
    """Command line: architecture and preset, structure, device."""
    size, structure, device = sys.argv[1:]
    atoms = {**BOXES, **SMALL}[structure]()
    calc = calculator(atoms, "float32", size, device)
    generator = np.random.default_rng(0)

    def step() -> None:
        atoms.positions += generator.normal(0, 0.002, atoms.positions.shape)
        calc.calculate(atoms)

    for _ in range(3):
        step()
    calc.timings.clear()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    print(f"{size}, {len(atoms)} atoms, {1000 * (time.perf_counter() - started) / STEPS:.2f} ms per step")
    for part, seconds in calc.timings.seconds.items():
        print(f"  {part}: {1000 * seconds / STEPS:.2f} ms")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as record:
        for _ in range(STEPS):
            step()
    averages = record.key_averages()
    for key in ("self_cuda_time_total", "self_cpu_time_total")[0 if device == "cuda" else 1 :]:
        print(averages.table(sort_by=key, row_limit=30, max_name_column_width=70))
    if device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MB")


if __name__ == "__main__":
    main()
