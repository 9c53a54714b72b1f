"""Milliseconds of one energy and forces through ASE: a shipped model and sevenn's own calculator with the same weights.

    python benchmarks/universal/speed.py --sevenn SEVENN/bin/python [--model universal] [--threads 1] [--repeats 2 4]

Silicon boxes of 8 n^3 atoms. Both run in their own processes, in turns, in float32; the best of each is compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
import peer_timing

SEVENN = {"universal": "7net-0", "universal-l3i5": "7net-l3i5"}  # what sevenn calls the same weights


def main() -> None:
    """Run the processes in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sevenn", type=Path, help="interpreter (or a script that starts one) with sevenn 0.13")
    parser.add_argument("--model", choices=tuple(SEVENN), default="universal")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", choices=("ase_nbody", "sevenn"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(arguments.worker, arguments.model, arguments.repeats[0], arguments.threads)))
        return
    if not arguments.sevenn:
        parser.error("--sevenn is needed: an interpreter with sevenn 0.13")
    print(peer_timing.head(["sevenn"]))
    for repeat in arguments.repeats:
        options = ["--repeats", str(repeat), "--model", arguments.model, "--threads", str(arguments.threads)]
        commands = {
            worker: [python, __file__, "--worker", worker, *options]
            for worker, python in (("ase_nbody", sys.executable), ("sevenn", str(arguments.sevenn)))
        }
        print(peer_timing.line(peer_timing.in_turns(commands, arguments.rounds)), flush=True)


def measured(worker: str, model: str, repeat: int, threads: int) -> dict:
    """Best time, time of the first call, and its forces."""
    atoms = peer_timing.silicon(repeat)
    if worker == "sevenn":
        from sevenn.calculator import SevenNetCalculator

        atoms.calc = SevenNetCalculator(SEVENN[model], device="cpu")
    else:
        from ase_nbody import NBodyCalculator

        atoms.calc = NBodyCalculator(model, dtype="float32", device="cpu", threads=threads)
    return peer_timing.measured(atoms, threads, most=100)


if __name__ == "__main__":
    main()
