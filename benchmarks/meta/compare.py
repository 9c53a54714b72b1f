"""What meta-learning adds: one network, same molecules and minutes, trained jointly or by inner loops, then adapted.

    python benchmarks/meta/compare.py --data LABELLED.xyz --folder RUNS            # what is not there yet
    python benchmarks/meta/compare.py --folder RUNS --readme                       # the tables of README.md

LABELLED has frames with a `name`, as `nbody sample` and `nbody label` write them. Some molecules are held out. A joint
training on the others is the common beginning; from it each way of learning goes on for the same minutes. Then each
start is adapted to some structures of every molecule that was held out, and tested on the rest of them.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.io import read, write

from ase_nbody.data import evaluate, read_dataset
from ase_nbody.meta.candidates import SCRATCH, START, AdaptationMethod, AdaptationTask, candidates
from ase_nbody.meta.closed_form import with_linear_errors
from ase_nbody.meta.fitting import prepared
from ase_nbody.meta.meta_settings import InnerSettings, MetaTrainingSettings
from ase_nbody.meta.meta_train import meta_train
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.model_file import load_model
from ase_nbody.predictions import FORCES
from ase_nbody.thread_count import using_threads
from ase_nbody.training.budget import StepBudget
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings

JOINT = "joint"
INNER: dict[str, InnerSettings] = {
    "Reptile, all": InnerSettings(method="reptile"),
    "FOMAML, all": InnerSettings(method="fomaml"),
    "FOMAML, all, learnt rates": InnerSettings(method="fomaml", learned_rates=True),
    "FOMAML, radial": InnerSettings(method="fomaml", adapted="radial"),
    "FOMAML, readout": InnerSettings(method="fomaml", adapted="readout"),
    "MAML, radial": InnerSettings(method="maml", adapted="radial"),
    "MAML, all": InnerSettings(method="maml"),
}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- rows:begin -->", "<!-- rows:end -->"


def main() -> None:
    """Run what is missing, or write the tables."""
    options = _options()
    rows = options.folder / "rows.jsonl"
    if options.readme:
        text = README.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{tables(options.folder)}{END}{rest.split(END)[1]}", encoding="utf-8")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "learnt.xyz").exists():
        split(options)
    with using_threads(1):
        train_all(options)
        done = {(row["start"], row["molecule"]) for row in read_rows(rows)}
        for path in sorted(options.folder.glob("start-*.safetensors")):
            for data in sorted(options.folder.glob("held-out-*.xyz")):
                if (path.stem, data.stem) not in done:
                    row = {**errors_of(path, data, options, read_rows(rows)), "start": path.stem}
                    with rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


def split(options: argparse.Namespace) -> None:
    """Write the structures that are learnt, and those of each molecule that is held out."""
    by_name: dict[str, list[Atoms]] = defaultdict(list)
    for atoms in read(options.data, ":"):
        by_name[atoms.info["name"]].append(atoms)
    rng = random.Random(options.seed)
    names = sorted(by_name)
    rng.shuffle(names)
    enough = [n for n in names if len(by_name[n]) >= 1.5 * options.support and (by_name[n][0].numbers > 1).sum() >= 4]
    held_out = enough[: options.held_out]
    if len(held_out) < options.held_out:
        raise SystemExit(
            f"{options.data} has {len(enough)} molecules with enough structures, {options.held_out} wanted"
        )
    for number, name in enumerate(held_out):
        frames = rng.sample(by_name[name], len(by_name[name]))
        write(options.folder / f"held-out-{number}.xyz", frames, format="extxyz")
    learnt = [n for n in names if n not in held_out][: options.molecules]
    kept = [atoms for n in learnt for atoms in rng.sample(by_name[n], min(options.frames, len(by_name[n])))]
    write(options.folder / "learnt.xyz", kept, format="extxyz")


def train_all(options: argparse.Namespace) -> None:
    """The common beginning, and each way of learning from there."""
    data = options.folder / "learnt.xyz"
    common = {"data": data, "seed": options.seed, "repulsion": False, "device": "cpu", "batch_size": 16}
    first = options.folder / "beginning.safetensors"
    if not first.exists():
        train(TrainingSettings(**common, preset="small", minutes=options.beginning, output=first))
    later = {**common, "start": str(first), "minutes": options.minutes, "learning_rate": 0.002}
    for name in (JOINT, *INNER):
        output = options.folder / f"{stem_of(name)}.safetensors"
        if output.exists():
            continue
        begun = time.process_time()
        if name == JOINT:
            train(TrainingSettings(**later, output=output))
        else:
            meta_train(MetaTrainingSettings(**{**later, "batch_size": 4}, inner=INNER[name], output=output))
        print(f"{name}: {time.process_time() - begun:.0f} s of CPU time in {60 * options.minutes:.0f} s")


def stem_of(name: str) -> str:
    """Stem of the model file of one way of learning."""
    return f"start-{name.replace(', ', '-').replace(' ', '-').lower()}"


def errors_of(path: Path, data: Path, options: argparse.Namespace, known: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of `adapted`, as it is known of another start with the same weights: many keep those of the beginning."""
    weights = load_model(path)[0].network.state_dict()
    digest = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()[:12]
    same = [row for row in known if (row["weights"], row["molecule"]) == (digest, data.stem)]
    return same[0] if same else {"weights": digest, **adapted(path, data, options)}


def adapted(path: Path, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Errors of a start on a molecule: with new reference energies only, and after each adaptation."""
    potential, _ = load_model(path, dtype=torch.float32)
    frames = read_dataset(data)
    support = with_linear_errors(
        prepared(frames.subset(range(options.support)), potential), potential, float("inf"), time.monotonic
    )
    test = frames.subset(range(options.support, len(frames)))
    settings = AdaptationSettings(steps=options.steps, accept_worse=True)

    def error(method: AdaptationMethod, steps: int) -> float:
        task = AdaptationTask(potential, support, None, StepBudget(steps), settings)
        report = evaluate(method.fitted(task).referenced.potential, test)[0]
        return 1000.0 * (report.of(FORCES).mae or 0.0)

    known = candidates(potential)
    return {
        "molecule": data.stem,
        "new reference energies": error(START, 1),
        "closed form": error(known["readout"], 1),
        "radial": error(known["radial"], options.steps),
        "all, a tenth of the steps": error(known["all"], max(options.steps // 10, 1)),
        "all": error(known["all"], options.steps),
        "from scratch": error(SCRATCH, options.steps),
    }


def tables(folder: Path) -> str:
    """Force errors, in Markdown: on systems that are set aside in each training, then on the molecules held out."""
    rows = read_rows(folder / "rows.jsonl")
    columns = [c for c in rows[0] if c not in ("start", "weights", "molecule")]
    trainings = [
        "| from the beginning, on | steps | set aside, before | best | at the end |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    starts = [f"| start | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    of_weights: dict[str, list[str]] = {}
    for name in (JOINT, *INNER):
        history = read_history(folder / f"{stem_of(name)}.history.csv")
        errors = [1000 * row["forces_mae (eV/angstrom)"] for row in history]
        trainings.append(
            f"| {name} | {history[-1]['step']:.0f} | {errors[0]:.1f} | {min(errors):.1f} | {errors[-1]:.1f} |"
        )
        for row in rows:
            if row["start"] == stem_of(name) and name not in of_weights.setdefault(row["weights"], []):
                of_weights[row["weights"]].append(name)
    for weights, names in of_weights.items():
        some = {row["molecule"]: row for row in rows if row["weights"] == weights}.values()
        means = [f"{np.mean([row[c] for row in some]):.1f}" for c in columns]
        starts.append(f"| {'; '.join(names)} | {' | '.join(means)} |")
    return "\n".join([*trainings, "", *starts]) + "\n"


def read_history(path: Path) -> list[dict[str, float]]:
    """Validations of a training, as numbers where they are."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows that are there."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="labelled frames with names")
    parser.add_argument("--folder", type=Path, required=True, help="where models and rows are kept")
    parser.add_argument("--beginning", type=float, default=6.0, help="minutes of the common beginning")
    parser.add_argument("--minutes", type=float, default=3.0, help="of each way of learning")
    parser.add_argument("--molecules", type=int, default=200, help="that are learnt")
    parser.add_argument("--frames", type=int, default=30, help="most structures of each")
    parser.add_argument("--held-out", type=int, default=6, help="molecules")
    parser.add_argument("--support", type=int, default=50, help="structures of each that adapt a start")
    parser.add_argument("--steps", type=int, default=200, help="of the adaptations that take steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md, run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
