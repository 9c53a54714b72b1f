"""Standard deviations of the shipped models beside their errors, and how often test structures are outside.

    judge.py DATA [MODEL...] [--level NAME] [--test FILE]...

DATA: folder with rmd17/, mlearn/, water/ and 3bpa/ as extended XYZ. `--level` is that of models that have several, and
`--test` names other test files, also for a model file given by its path.

Test files that the trainings did not see, and for 3bpa its molecule at three temperatures, of which it knows one, by
`benchmarks/accuracy/split_3bpa.py DATA/3bpa runs/accuracy`. At most 50 structures of each, evenly spaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ase_nbody import NBodyCalculator
from ase_nbody.calibration.judged import Judgement, deviations, judgements
from ase_nbody.data import Dataset, evaluate, read_dataset

MOLECULES = ("ethanol", "malonaldehyde", "aspirin", "toluene", "benzene")
SPLIT = Path("runs/accuracy").absolute()
TESTS = {
    "organic": tuple(f"rmd17/{molecule}_test.xyz" for molecule in MOLECULES),
    "organic-start": tuple(f"rmd17/{molecule}_test.xyz" for molecule in MOLECULES),
    "silicon": ("mlearn/Si_test.xyz",),
    "copper": ("mlearn/Cu_test.xyz",),
    "molybdenum": ("mlearn/Mo_test.xyz",),
    "water": ("water/water_test.xyz",),
    "3bpa": tuple(str(SPLIT / f"3bpa_mixedT_{kelvin}K.xyz") for kelvin in (300, 600, 1200)),
}
MOST = 50
HEADS = ("model", "test set", "quantity", "given", "RMSE", "within 1", "within 2", "rank correlation", "outside")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="*", default=list(TESTS), metavar="MODEL")
    parser.add_argument("--level", help="level of theory")
    parser.add_argument("--test", type=Path, action="append", help="in place of the model's test files; repeatable")
    arguments = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in arguments.models:
        for file in arguments.test or TESTS[name]:
            for row in rows(name, arguments.level, spread(read_dataset(arguments.data / file))):
                print(f"| `{name}` | {Path(file).stem} | {' | '.join(row)} |", flush=True)


def spread(dataset: Dataset) -> Dataset:
    """At most `MOST` structures, evenly spaced."""
    number = min(MOST, len(dataset))
    return dataset.subset(np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist())


def rows(name: str, level: str | None, dataset: Dataset) -> Iterator[tuple[str, ...]]:
    """Cells of energies and of forces."""
    calculator = NBodyCalculator(name, device="cpu", dtype="float32", outside="ignore", level=level)
    _, evaluation = evaluate(calculator.potential, dataset, check=calculator.evaluator.envelope_check)
    judged = judgements(deviations(calculator.potential, dataset, evaluation))
    outside = f"{len(evaluation.outside)} of {len(dataset)}"
    yield "energy, meV/atom", *cells(judged["energy_per_atom"]), outside
    yield "forces, meV/Å", *cells(judged["forces"]), ""


def cells(judged: Judgement) -> tuple[str, ...]:
    """Numbers as the table shows them."""
    shares = f"{judged.within_one:.0%}", f"{judged.within_two:.0%}", f"{judged.rank_correlation:.2f}"
    return f"{judged.mean_deviation:.3g}", f"{judged.rmse:.3g}", *shares


if __name__ == "__main__":
    main()
