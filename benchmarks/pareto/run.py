"""Errors of forces against time per atom and step, ours beside classical machine-learned potentials and others.

    bash benchmarks/pareto/make_environments.sh               # the peers, each in its own environment
    python benchmarks/pareto/run.py --data ../shared/data
    python benchmarks/pareto/run.py --data ... times --system Si --model "lammps snap"    # a part of it
    python benchmarks/pareto/run.py --data ... times report --again    # all times anew

`train` trains what nobody ships, `errors` are those of the test files, `times` those of a step in a box, `report`
writes the table and the figure. Rows are written when they are known, times box by box, since models take turns there;
what has a row is not done again unless --again is given. What fails is tried once more at the end, and by the next run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compared import MODELS, train_all
from systems import SYSTEMS, Folders

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "peers"))
from machine import machine  # noqa: E402
from turns import Models, NotMeasuredError, Settings  # noqa: E402

Row = dict[str, Any]
ROUND = 0.3  # processor seconds of steps in a round
MOST_STEPS = 50  # in a round
PATIENCE = 30.0  # processor seconds of rounds in a box, after which a model has no further ones


def error_row(models: Models, model: str, system: str, chosen: argparse.Namespace) -> Row:
    """Errors of a model on the test file of a system, by the package's own function for all.

    Raises:
        NotMeasuredError: the model gave no predictions.
    """
    from ase_nbody.data import Compared, Evaluation, error_report, read_dataset
    from ase_nbody.predictions import ENERGY, FORCES

    file = SYSTEMS[system].test_file(chosen.data)
    with tempfile.TemporaryDirectory() as place:
        output = f"{place}/predictions.npz"
        models.ask(model, do="predict", system=system, output=output, **places(chosen))
        found = dict(np.load(output))
    dataset = read_dataset(file)
    labels = dataset.labels
    report = error_report(
        Evaluation(
            n_atoms=np.array([len(atoms) for atoms in dataset.structures]),
            atomic_numbers=np.concatenate([atoms.numbers for atoms in dataset.structures]),
            reference_energies=np.zeros(len(dataset)),
            compared=(
                Compared(ENERGY, np.array([one.energy for one in labels]), found["energies"]),
                Compared(FORCES, np.concatenate([one.forces for one in labels]), found["forces"]),
            ),
        )
    )
    names = ("energy_mae_mev_per_atom", "energy_rmse_mev_per_atom", "energy_rmse_mev_per_atom_without_shift")
    names += ("forces_mae_mev_per_angstrom", "forces_rmse_mev_per_angstrom", "n_structures")
    return {name: value for name, value in report.to_json_dict().items() if name in names}


def places(chosen: argparse.Namespace) -> dict[str, str]:
    """Where a worker finds files."""
    return {"data": str(chosen.data), "models": str(chosen.models)}


def time_rows(models: Sequence[Models], keys: Sequence[Row], chosen: argparse.Namespace) -> list[Row]:
    """Times per atom and step of models in one box, which take turns; the best round of each counts, with the median.

    A model that is slow takes fewer rounds.

    Args:
        models: the processes of each key's model.
        keys: what identifies each row, with the same system and box.
        chosen: the command line.
    """
    rows: list[Row] = []
    for process, key in zip(models, keys, strict=True):
        try:
            rows.append(key | _prepared(process, key, chosen))
        except NotMeasuredError as error:
            rows.append(key | {"failed": str(error)})
    rounds: list[list[Row]] = [[] for _ in rows]
    for _ in range(chosen.rounds):
        for process, row, taken in zip(models, rows, rounds, strict=True):
            try:
                if "failed" not in row and seconds(row, taken) < PATIENCE:
                    taken.append(process.ask(row["model"], do="steps", number=row["steps"]))
            except NotMeasuredError as error:
                row["failed"] = str(error)
    return [row if "failed" in row else row | best(taken) for row, taken in zip(rows, rounds, strict=True)]


def seconds(row: Row, rounds: Sequence[Row]) -> float:
    """Processor seconds that the rounds of a row took."""
    return sum(one["cpu_us"] for one in rounds) * row["atoms"] * row["steps"] / 1e6


def _prepared(process: Models, key: Row, chosen: argparse.Namespace) -> Row:
    request = {name: key[name] for name in ("system", "repeat")}
    atoms = process.ask(key["model"], do="prepare", **request, **places(chosen))["atoms"]
    first = process.ask(key["model"], do="steps", number=1)
    return {"atoms": atoms, "steps": int(np.clip(ROUND / (first["cpu_us"] * atoms / 1e6), 1, MOST_STEPS))}


def best(rounds: Sequence[Row]) -> Row:
    """The round with the least processor time, the median of that time, and the least time of the wall clock."""
    least = min(rounds, key=lambda one: one["cpu_us"])
    row = {name: round(value, 3) for name, value in least.items()}
    row["cpu_us_median"] = round(float(np.median([one["cpu_us"] for one in rounds])), 3)
    row["wall_us"] = round(min(one["wall_us"] for one in rounds), 3)
    return row | {"rounds": len(rounds)}


def wanted(chosen: argparse.Namespace) -> Iterator[list[Row]]:
    """What identifies the rows that are measured together, the first box of every system first."""
    models = {system: [name for name in chosen.model if system in MODELS[name].systems] for system in chosen.system}
    for system in chosen.system if "errors" in chosen.parts else ():
        for model in models[system]:
            if MODELS[model].learnt != "none":
                yield [{"part": "errors", "system": system, "model": model}]
    for place in range(chosen.boxes) if "times" in chosen.parts else ():
        for system in chosen.system:
            box = {"part": "times", "system": system, "repeat": SYSTEMS[system].repeats[place]}
            yield [box | {"model": model} for model in models[system]]


def measured(keys: Sequence[Row], settings: Settings, chosen: argparse.Namespace) -> list[Row]:
    """Rows with their numbers, the machine and the versions, or why there are none."""
    models = [Models(MODELS[key["model"]].dtype, settings, HERE / "worker.py") for key in keys]
    load = round(os.getloadavg()[0], 1)
    try:
        if keys[0]["part"] == "times":
            rows = time_rows(models, keys, chosen)
        else:
            rows = [keys[0] | error_row(models[0], keys[0]["model"], keys[0]["system"], chosen)]
    except NotMeasuredError as error:
        rows = [keys[0] | {"failed": str(error)}]
    finally:
        for process in models:
            process.close()
    about = {"machine": machine(), "load": load, "date": datetime.datetime.now(datetime.UTC).isoformat("T", "minutes")}
    versions = [process.versions.get(key["model"].split()[0], {}) for process, key in zip(models, keys, strict=True)]
    return [
        row | {"dtype": process.dtype, "versions": found} | about
        for row, process, found in zip(rows, models, versions, strict=True)
    ]


def rows_of(file: Path) -> list[Row]:
    """The rows that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write_rows(file: Path, rows: list[Row]) -> None:
    """Write all rows to another name and rename."""
    written = file.with_suffix(".part")
    written.write_text("".join(json.dumps(row) + "\n" for row in rows))
    written.replace(file)


def forget(chosen: argparse.Namespace) -> None:
    """Drop the rows that are wanted."""
    known = [identity(key) for keys in wanted(chosen) for key in keys]
    write_rows(chosen.rows, [row for row in rows_of(chosen.rows) if identity(row) not in known])


def measure(settings: Settings, chosen: argparse.Namespace) -> None:
    """Add the rows that are missing, and those that failed before."""
    for keys in filter(None, wanted(chosen)):
        there = [identity(row) for row in rows_of(chosen.rows) if "failed" not in row]
        missing = [key for key in keys if identity(key) not in there]
        if not missing:
            continue
        rows = measured(missing, settings, chosen)
        measured_now = [identity(row) for row in rows]
        write_rows(chosen.rows, [row for row in rows_of(chosen.rows) if identity(row) not in measured_now] + rows)
        for row in rows:
            print({name: value for name, value in row.items() if name not in ("machine", "versions")}, flush=True)


def identity(row: Row) -> Row:
    """What tells a row from others."""
    return {name: row[name] for name in ("part", "system", "model", "repeat") if name in row}


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("train", "errors", "times", "report")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; all if none is given")
    parser.add_argument("--data", type=Path, required=True, help="folder with mlearn and water")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"))
    parser.add_argument("--models", type=Path, default=Path("runs/pareto"), help="folder of what is trained here")
    parser.add_argument("--rows", type=Path, default=HERE / "rows.jsonl")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="may be repeated")
    parser.add_argument("--model", action="append", choices=MODELS, help="may be repeated")
    parser.add_argument("--rounds", type=int, default=8, help="of steps, in turns; the best counts")
    parser.add_argument("--boxes", type=int, default=1, choices=(1, 2), help="of a system, the second 8 times as large")
    parser.add_argument("--again", action="store_true", help="drop what is measured now first")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a model is stopped")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen.parts, chosen.system = chosen.parts or parts, chosen.system or list(SYSTEMS)
    chosen.model = chosen.model or list(MODELS)
    chosen.data, chosen.models = chosen.data.absolute(), chosen.models.absolute()
    return chosen


def main() -> None:
    """Train, measure and report."""
    chosen = arguments()
    settings = Settings(chosen.environments, 1, chosen.rounds, ROUND, chosen.limit, chosen.limit, memory=12.0)
    if "train" in chosen.parts:
        train_all(chosen.system, chosen.model, Folders(chosen.data, chosen.models), chosen.environments)
    if chosen.again:
        forget(chosen)
    for _ in range(2):
        measure(settings, chosen)
    if "report" in chosen.parts:
        from report import write

        write(rows_of(chosen.rows), HERE)


if __name__ == "__main__":
    main()
