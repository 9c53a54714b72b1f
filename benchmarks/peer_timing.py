"""Times of a calculator and of its peers, each in processes of its own. Imports nothing of either package."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk

SAME = 2e-3
"""Largest difference of forces in float32 that two programs with the same weights may have, of the largest force."""


def head(peers: Iterable[str]) -> str:
    """First two lines of a table."""
    columns = ["atoms", "ase_nbody, ms", "first call, s"]
    for peer in peers:
        columns += [f"{peer}, ms", "ratio", "difference of forces, eV/angstrom"]
    return f"| {' | '.join(columns)} |\n|{' ---: |' * len(columns)}"


def silicon(repeat: int) -> Atoms:
    """A box of 8 n^3 atoms, slightly displaced."""
    atoms = bulk("Si", cubic=True) * repeat
    atoms.rattle(0.05, seed=0)
    return atoms


def started(command: Sequence[str], worker: str) -> dict:
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


def in_turns(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[dict]]:
    """What the processes of some workers measure, each in every round."""
    rows: dict[str, list[dict]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            rows[name].append(started(command, name))
    return rows


def line(rows: Mapping[str, list[dict]]) -> str:
    """One row of the table, the best of each; of ase_nbody first, then of its peers.

    Raises:
        ValueError: a peer's forces are others.
    """
    ours, *peers = rows
    best, forces = _best(rows[ours]), np.array(rows[ours][0]["forces"])
    columns = [str(len(forces)), f"{best:.1f}", f"{min(row['first'] for row in rows[ours]):.1f}"]
    for peer in peers:
        difference = np.abs(np.array(rows[peer][0]["forces"]) - forces).max()
        if difference > SAME * np.abs(forces).max():
            raise ValueError(f"forces of {peer} differ by {difference:.1e} eV/angstrom: it has not the same weights")
        columns += [f"{_best(rows[peer]):.1f}", f"{_best(rows[peer]) / best:.1f}x", f"{difference:.0e}"]
    return f"| {' | '.join(columns)} |"


def _best(rows: list[dict]) -> float:
    return min(row["ms"] for row in rows)
