"""Times of a calculator and of a peer's, each in processes of its own. Imports nothing of either package."""

from __future__ import annotations

import json
import subprocess
import time

from ase import Atoms
from ase.build import bulk

HEAD = """| atoms | ase_nbody, ms | {peer}, ms | ratio | first call, s | largest difference of forces, eV/angstrom |
| ---: | ---: | ---: | ---: | ---: | ---: |"""


def silicon(repeat: int) -> Atoms:
    """A box of 8 n^3 atoms, slightly displaced."""
    atoms = bulk("Si", cubic=True) * repeat
    atoms.rattle(0.05, seed=0)
    return atoms


def started(command: list[str], worker: str) -> dict:
    """What a process of its own measures and prints as JSON in its last line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{worker} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(atoms: Atoms, threads: int, most: int) -> dict:
    """Best time of three calls, or of as many as three seconds and `most` allow, time of the first, and its forces."""
    import torch

    torch.set_num_threads(threads)  # of the worker's own process
    start = time.perf_counter()
    forces = atoms.get_forces().tolist()
    first = time.perf_counter() - start
    times: list[float] = []
    while len(times) < 3 or (sum(times) < 3.0 and len(times) < most):
        atoms.positions[0, 0] += 1e-3
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(times), "first": first, "forces": forces}


def line(ours: list[dict], theirs: list[dict]) -> str:
    """One row of the table, the best of each."""
    best, other = (min(row["ms"] for row in rows) for rows in (ours, theirs))
    a, b = ours[0]["forces"], theirs[0]["forces"]
    difference = max(abs(x - y) for row, same in zip(a, b, strict=True) for x, y in zip(row, same, strict=True))
    first = min(row["first"] for row in ours)
    return f"| {len(a)} | {best:.1f} | {other:.0f} | {other / best:.0f}x | {first:.1f} | {difference:.0e} |"
