"""Milliseconds of one energy and forces through ASE: `universal` and sevenn's own calculator with the same weights.

    python benchmarks/universal/speed.py --sevenn SEVENN/bin/python [--threads 1] [--repeats 2 4] [--rounds 2]

Silicon boxes of 8 n^3 atoms. Both run in their own processes, in turns, in float32; the best of each is compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the processes in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sevenn", type=Path, help="interpreter (or a script that starts one) with sevenn 0.13")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", choices=("ase_nbody", "sevenn"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(arguments.worker, arguments.repeats[0], arguments.threads)))
        return
    print("| atoms | ase_nbody, ms | sevenn, ms | ratio | first call, s | largest difference of forces, eV/angstrom |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for repeat in arguments.repeats:
        rows: dict[str, list[dict]] = {"ase_nbody": [], "sevenn": []}
        for _ in range(arguments.rounds):
            rows["ase_nbody"].append(started([sys.executable], "ase_nbody", repeat, arguments.threads))
            rows["sevenn"].append(started([str(arguments.sevenn)], "sevenn", repeat, arguments.threads))
        ours, theirs = (min(row["ms"] for row in rows[name]) for name in ("ase_nbody", "sevenn"))
        a, b = rows["ase_nbody"][0]["forces"], rows["sevenn"][0]["forces"]
        difference = max(abs(x - y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))
        first = min(row["first"] for row in rows["ase_nbody"])
        print(f"| {len(a)} | {ours:.1f} | {theirs:.0f} | {theirs / ours:.0f}x | {first:.1f} | {difference:.0e} |")


def started(command: list[str], worker: str, repeat: int, threads: int) -> dict:
    """What a process of its own measures."""
    options = ["--worker", worker, "--repeats", str(repeat), "--threads", str(threads)]
    done = subprocess.run([*command, __file__, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{worker} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(worker: str, repeat: int, threads: int) -> dict:
    """Best time, time of the first call, and its forces."""
    import torch
    from ase.build import bulk

    torch.set_num_threads(threads)
    atoms = bulk("Si", cubic=True) * repeat
    atoms.rattle(0.05, seed=0)
    if worker == "sevenn":
        from sevenn.calculator import SevenNetCalculator

        atoms.calc = SevenNetCalculator("7net-0", device="cpu")
    else:
        from ase_nbody import NBodyCalculator

        atoms.calc = NBodyCalculator("universal", dtype="float32", device="cpu", threads=threads)
    start = time.perf_counter()
    forces = atoms.get_forces().tolist()
    first = time.perf_counter() - start
    times = []
    while len(times) < 3 or (sum(times) < 3.0 and len(times) < 100):
        atoms.positions[0, 0] += 1e-3
        start = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(times), "first": first, "forces": forces}


if __name__ == "__main__":
    main()
