"""Labels a second of whole runs of `nbody label`, start and end included, for teachers and sizes of molecules.

    python benchmarks/labels/rates.py --output runs/rates.jsonl
    python benchmarks/labels/rates.py --output /tmp/rates.jsonl --scale 0.01 --teachers ase:EMT tblite:GFN2-xTB

Each run labels structures of one molecule, its atoms displaced by 0.1 angstrom, on two processes. A row of JSON is
written for each; rows that are there already, of the same teacher, molecule, number and processes, are not measured
again, and all are shown as a table at the end. Numbers from a machine that does other work are of no use.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.io import write
from commands import add_row, nbody, rows

MOLECULES = ("H2O", "CH3CH2OH", "trans-butane")
NUMBERS = {
    "ase:EMT": (20000, 10000, 10000),
    "tblite:GFN2-xTB": (20000, 10000, 5000),
    "ani:ANI-1x": (50000, 30000, 20000),
    "pyscf:PBE/def2-svp": (60, 20, 10),
}
"""Structures of each molecule: about a minute of two cores and more."""
DISPLACEMENT = 0.1  # angstrom, standard deviation


def main() -> None:
    options = arguments()
    for teacher in options.teachers:
        for name, full in zip(MOLECULES, NUMBERS[teacher], strict=True):
            run = {
                "teacher": teacher,
                "molecule": name,
                "structures": max(1, round(options.scale * full)),
                "processes": options.processes,
            }
            if not any(run.items() <= row.items() for row in rows(options.output)):
                add_row(options.output, {**run, **measured(run)})
    print("\n".join(table(rows(options.output))))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="rows, *.jsonl")
    parser.add_argument("--teachers", nargs="+", default=list(NUMBERS), choices=list(NUMBERS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of structures, to try the script")
    return parser.parse_args()


def measured(run: dict[str, Any]) -> dict[str, Any]:
    """Seconds and labels of a run, and the level of theory."""
    with TemporaryDirectory() as folder:
        structures, labelled = Path(folder) / "in.xyz", Path(folder) / "out.xyz"
        write(structures, displaced(run["molecule"], run["structures"]), format="extxyz")
        start = time.perf_counter()
        nbody("label", structures, "--with", run["teacher"], "--processes", run["processes"], "--output", labelled)
        seconds = time.perf_counter() - start
        sidecar = json.loads(labelled.with_suffix(".json").read_text())
    return {
        "atoms": len(molecule(run["molecule"])),
        "labels": sidecar["n_labels"],
        "seconds": seconds,
        "labels_per_second": sidecar["n_labels"] / seconds,
        "level_of_theory": sidecar["level_of_theory"],
    }


def displaced(name: str, number: int) -> list[Atoms]:
    """Structures of a molecule, no two alike, the same each time."""
    generator = np.random.default_rng(0)
    frames = [molecule(name) for _ in range(number)]
    for atoms in frames:
        atoms.positions += DISPLACEMENT * generator.standard_normal(atoms.positions.shape)
    return frames


def table(measurements: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a table in Markdown."""
    yield "| teacher | molecule | atoms | structures | labels | processes | seconds | labels a second |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for row in measurements:
        yield (
            f"| {row['teacher']} | {row['molecule']} | {row['atoms']} | {row['structures']} | {row['labels']} | "
            f"{row['processes']} | {row['seconds']:.1f} | {row['labels_per_second']:.3g} |"
        )


if __name__ == "__main__":
    main()
