"""Teachers against rMD17's labels (PBE/def2-SVP): errors of forces, and labels a second on one core.

    python benchmarks/teachers.py ../shared/data/rmd17                     # all teachers, a table in Markdown
    python benchmarks/teachers.py ../shared/data/rmd17 --teachers ani:ANI-1x --frames 200

Energies of different levels of theory differ by constants, so only forces are compared. The time is one process's, with
one thread, after a first structure: numbers from a machine that does other work are of no use. Frames are spread evenly
over the test set; expensive teachers take few.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numerical libraries load

import numpy as np
from ase import Atoms
from ase.io import read

from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.references import Label, Reference

MOLECULES = ("ethanol", "malonaldehyde", "toluene", "aspirin", "benzene")
FRAMES = {"tblite": 256, "ani": 256, "pyscf": 5}
"""Frames of each molecule by the kind of teacher."""


@dataclass(frozen=True)
class Score:
    """Mean absolute error of force components, meV/angstrom; that of the worst frame; labels a second; failures."""

    error: float
    worst: float
    rate: float
    failures: int


def score(teacher: Reference, frames: Sequence[Atoms]) -> Score:
    """How well and how fast a teacher labels frames that have labels."""
    teacher.label(frames[:1])
    start = time.perf_counter()
    labels = []
    for first in range(0, len(frames), teacher.batch_size):
        labels += teacher.label(frames[first : first + teacher.batch_size])
    seconds = time.perf_counter() - start
    errors = [
        1000 * np.abs(label.forces - atoms.get_forces()).mean()
        for label, atoms in zip(labels, frames, strict=True)
        if isinstance(label, Label)
    ]
    if not errors:
        raise RuntimeError(f"no frame could be labelled; the first: {labels[0]}")
    return Score(float(np.mean(errors)), max(errors), len(frames) / seconds, len(frames) - len(errors))


def test_frames(folder: Path, molecule: str, number: int) -> list[Atoms]:
    """Frames of the test set, evenly spread."""
    frames = read(folder / f"{molecule}_test.xyz", ":")
    return frames[:: max(1, len(frames) // number)][:number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of rMD17's *_test.xyz")
    parser.add_argument(
        "--teachers",
        nargs="+",
        default=["tblite:GFN2-xTB", "ani:ANI-1x", "ani:ANI-1ccx", "pyscf:PBE/def2-svp"],
    )
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, choices=MOLECULES)
    parser.add_argument("--frames", type=int, help="of each molecule; by the kind of teacher if not given")
    arguments = parser.parse_args()
    print("| teacher | molecule | frames | force MAE, meV/Å | worst frame | labels a second |")
    print("|---|---|---|---|---|---|")
    for name in arguments.teachers:
        teacher = reference(name)
        for molecule in arguments.molecules:
            number = arguments.frames or FRAMES.get(name.partition(":")[0], 50)
            frames = test_frames(arguments.folder, molecule, number)
            one = score(teacher, frames)
            failures = f" ({one.failures} failed)" if one.failures else ""
            print(
                f"| {teacher.level} | {molecule} | {len(frames)}{failures} | {one.error:.3g} | {one.worst:.3g} | "
                f"{one.rate:.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
