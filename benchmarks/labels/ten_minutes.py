"""A network trained for ten minutes on 10,000 ANI labels, tested on molecules that it has not seen.

    python benchmarks/labels/ten_minutes.py runs/ten_minutes
    python benchmarks/labels/ten_minutes.py /tmp/try --molecules 5 --labels 100 --test-structures 3 --minutes 0.5

Molecules are drawn from data/organic/molecules.csv, sampled by GFN2-xTB and labelled by ANI-1x; a network is trained on
as many labels as wanted, drawn at random, and tested on structures of the twenty molecules of held_out.csv, which are
in none of the lists. Each step is left out where its file is in FOLDER already, so the same command goes on where it
was stopped; other options need another folder. Errors by kind of structure are printed at the end, and stand as rows in
FOLDER/rows.jsonl. The minutes of training are those of a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write
from commands import OUTSIDE_TRAINING, add_row, nbody, rows

LISTS = Path(__file__).parent.parent.parent / "data" / "organic"
SURPLUS = 1.3
"""Structures sampled for each label that is wanted: some molecules give fewer, and ANI refuses some."""


def main() -> None:
    options = arguments()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    check_options(options)
    draw_molecules(folder / "molecules.csv", options.molecules, options.seed)
    number = max(1, round(SURPLUS * options.labels / options.molecules))
    sample_and_label(folder / "molecules.csv", folder / "molecules", number, options)
    sample_and_label(LISTS / "held_out.csv", folder / "held_out", options.test_structures, options)
    draw_frames(folder / "molecules-ani.xyz", folder / "training.xyz", options.labels, options.seed)
    train(folder, options)
    evaluate(folder, options)
    print("\n".join(table(rows(folder / "rows.jsonl"))))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written")
    parser.add_argument("--molecules", type=int, default=500, help="drawn from the list")
    parser.add_argument("--labels", type=int, default=10000, help="that the network is trained on")
    parser.add_argument("--test-structures", type=int, default=50, help="of each molecule that is held out")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def check_options(options: argparse.Namespace) -> None:
    """Refuse a folder that was begun with other options."""
    given = {name: value for name, value in vars(options).items() if name not in ("folder", "processes")}
    path = options.folder / "options.json"
    if path.exists() and json.loads(path.read_text()) != given:
        raise SystemExit(
            f"{options.folder} was begun with {path.read_text().strip()}; give these options, or another folder"
        )
    path.write_text(json.dumps(given) + "\n")


def draw_molecules(path: Path, number: int, seed: int) -> None:
    """Write a list of molecules drawn at random from those without unpaired electrons, which ANI refuses."""
    if path.exists():
        return
    with (LISTS / "molecules.csv").open(encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file) if (row["charge"], row["multiplicity"]) == ("0", "1")]
    if number > len(listed):
        raise SystemExit(f"--molecules is at most {len(listed)}, not {number}")
    chosen = np.sort(np.random.default_rng(seed).choice(len(listed), number, replace=False))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, listed[0].keys())
        table.writeheader()
        table.writerows(listed[n] for n in chosen)


def sample_and_label(molecules: Path, stem: Path, number: int, options: argparse.Namespace) -> None:
    """Structures of all molecules of a list in STEM.xyz, and with their labels in STEM-ani.xyz."""
    structures, labelled = stem.with_suffix(".xyz"), stem.with_name(f"{stem.name}-ani.xyz")
    common = ("--processes", options.processes)
    if not structures.exists():
        sampling = ("--number", number, "--seed", options.seed)
        nbody("sample", molecules, "--with", "tblite:GFN2-xTB", *sampling, *common, "--output", structures)
    if not labelled.exists():
        nbody("label", structures, "--with", "ani:ANI-1x", *common, "--output", labelled)


def draw_frames(labelled: Path, path: Path, number: int, seed: int) -> None:
    """Write some of the labelled structures, drawn at random."""
    if path.exists():
        return
    frames = read(labelled, ":")
    if len(frames) < number:
        print(f"only {len(frames)} labels in place of {number}")
    chosen = np.random.default_rng(seed).permutation(len(frames))[:number]
    write(path, [frames[n] for n in np.sort(chosen)], format="extxyz")


def train(folder: Path, options: argparse.Namespace) -> None:
    """A network in FOLDER/model.safetensors."""
    if not (folder / "model.safetensors").exists():
        training = ("--preset", options.preset, "--minutes", options.minutes, "--seed", options.seed)
        nbody("train", "--data", folder / "training.xyz", *training, "--output", folder / "model.safetensors")


def evaluate(folder: Path, options: argparse.Namespace) -> None:
    """Errors of the network on all that is held out, and on each kind of it, as rows in FOLDER/rows.jsonl."""
    tests = read(folder / "held_out-ani.xyz", ":")
    n_labels = len(read(folder / "training.xyz", ":"))
    done = {row["kind"] for row in rows(folder / "rows.jsonl")}
    for kind, frames in {"all": tests, **by_kind(tests)}.items():
        if kind not in done:
            found = errors(folder, kind, frames)
            add_row(folder / "rows.jsonl", {**vars(options), "folder": str(folder), "labels": n_labels, **found})


def by_kind(frames: Sequence[Atoms]) -> dict[str, list[Atoms]]:
    """Frames by the first word of what they were sampled by."""
    groups: dict[str, list[Atoms]] = defaultdict(list)
    for atoms in frames:
        groups[str(atoms.info["sampled_by"]).split()[0]].append(atoms)
    return dict(sorted(groups.items()))


def errors(folder: Path, kind: str, frames: list[Atoms]) -> dict[str, Any]:
    """Errors of the network on some frames, and how large their forces are."""
    data, results = folder / "evaluated.xyz", folder / "evaluated.json"
    write(data, frames, format="extxyz")
    command = ("evaluate", folder / "model.safetensors", "--data", data, "--json", results, "--force")
    nbody(*command, allowed=(0, OUTSIDE_TRAINING))
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    values = json.loads(results.read_text())
    for path in (data, results):
        path.unlink()
    return {"kind": kind, "forces_rms_mev_per_angstrom": 1000 * float(np.sqrt((forces**2).mean())), **values}


def table(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a table in Markdown."""
    first = found[0]
    yield f"\n{first['labels']} labels of {first['molecules']} molecules, {first['minutes']:g} minutes"
    yield ""
    yield "| structures | number | forces MAE, meV/Å | RMSE | their size, RMS | energy MAE, meV/atom |"
    yield "|---|---:|---:|---:|---:|---:|"
    for one in found:
        yield (
            f"| {one['kind']} | {one['n_structures']} | {one['forces_mae_mev_per_angstrom']:.0f} | "
            f"{one['forces_rmse_mev_per_angstrom']:.0f} | {one['forces_rms_mev_per_angstrom']:.0f} | "
            f"{one['energy_mae_mev_per_atom']:.1f} |"
        )


if __name__ == "__main__":
    main()
