"""A student of `universal` for one crystal: minutes, errors beside the teacher, and speed.

    python benchmarks/universal/distill.py [--structure NaCl] [--minutes 30] [--structures 1000] [--rounds 4]
                                           [--picoseconds 5] [--supercell-atoms 64] [--set levels=1]
                                           [--output student.safetensors]

Structures are NaCl, SrTiO3 (cubic) and Si. Speed is that of dynamics at 300 K, float32, of the structure that the
student's own dynamics began with, and of that structure repeated twice in each direction.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from ase.spacegroup import crystal

from ase_nbody import NBodyCalculator
from ase_nbody.distillation import DistillationSettings, distill
from ase_nbody.distillation.speed import Speed, milliseconds_per_step
from ase_nbody.distillation.teacher import read_teacher

STRUCTURES = {
    "NaCl": lambda: bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "SrTiO3": lambda: crystal(
        ["Sr", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], spacegroup=221, cellpar=[3.905] * 3 + [90] * 3
    ),
    "Si": lambda: bulk("Si", cubic=True),
}
SECONDS = 5.0


def main() -> None:
    """Make the student and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", choices=STRUCTURES, default="NaCl")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--structures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--picoseconds", type=float, default=5.0, help="own dynamics of each round")
    parser.add_argument("--supercell-atoms", type=int, default=64)
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the student's architecture")
    parser.add_argument("--output", type=Path, default=Path("student.safetensors"))
    arguments = parser.parse_args()
    settings = DistillationSettings(
        minutes=arguments.minutes,
        structures=arguments.structures,
        rounds=arguments.rounds,
        picoseconds=arguments.picoseconds,
        supercell_atoms=arguments.supercell_atoms,
        model={name: yaml.safe_load(value) for name, value in (pair.split("=") for pair in arguments.set)},
        accept_worse=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{arguments.structure}.xyz"
        write(file, STRUCTURES[arguments.structure]())
        report = distill(str(file), "universal", arguments.output, settings=settings, say=print)
    for row in report.rounds:
        print(
            f"{row}; {row.n_train} learnt, {row.n_labels} labels, {row.seconds / 60:.1f} min, outside {row.n_outside}"
        )
        print({name: value for name, value in row.errors.items() if "mae" in name})
    print(f"load average {os.getloadavg()}")
    print(report.speed)
    start = read(report.folder / "dynamics-0.xyz", 0)
    print(speed(start.repeat(2), arguments.output))
    print(f"load average {os.getloadavg()}")


def speed(atoms: Atoms, student: Path) -> Speed:
    """Milliseconds of a step of both."""
    calculators = (
        NBodyCalculator(student, device="cpu", dtype="float32", outside="ignore"),
        read_teacher("universal", {}, "cpu").fast_calculator(),
    )
    return Speed(len(atoms), *(milliseconds_per_step(one, atoms, 300.0, 1.0, SECONDS) for one in calculators))


if __name__ == "__main__":
    main()
