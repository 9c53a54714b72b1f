"""Few structures of each molecule of rMD17: errors of a start that is adapted to them, a row for each run.

    python benchmarks/few_shot/few_shot.py --start START --data FOLDER --rows ROWS     # what is not there yet
    python benchmarks/few_shot/few_shot.py --rows ROWS --readme                        # the tables of README.md

FOLDER has MOLECULE_train.xyz and MOLECULE_test.xyz. Molecules that the start was trained on, by the names and hashes of
the files in its card, are left out and said so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase_nbody.data import Dataset, evaluate, read_dataset
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.model import StartModel, adapted_model
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.model_file import ModelInformation, file_hash, load_model, save_model
from ase_nbody.models_directory import find_model
from ase_nbody.thread_count import using_threads

MOLECULES = ("aspirin", "ethanol", "malonaldehyde", "toluene", "benzene")
# Force MAE with 50 structures, meV/angstrom: README of the data (MACE from scratch and MACE-OFF23 fine-tuned: Kovacs et
# al. 2023, arXiv:2312.15211; ELoRA: Wang et al. 2025).
PUBLISHED = {
    "MACE from scratch": (43.9, 32.6, 43.3, 12.1, 2.7),
    "MACE-OFF23 fine-tuned": (23.6, 13.9, 25.3, 8.6, 2.4),
    "ELoRA": (17.6, 10.7, 21.7, 5.9, 1.6),
}
README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- rows:begin -->", "<!-- rows:end -->"


@dataclass(frozen=True)
class Run:
    """One adaptation: which structures, how long, and what is changed of the start."""

    molecule: str
    structures: int
    method: str
    minutes: float
    seed: int

    def key(self, start: str) -> tuple[Any, ...]:
        """What makes two rows the same."""
        return (start, self.molecule, self.structures, self.method, self.minutes, self.seed)


def main() -> None:
    """Run what is missing, or write the tables."""
    options = _options()
    rows = read_rows(options.rows)
    if options.readme:
        text = README.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        README.write_text(f"{before}{BEGIN}\n{tables(rows)}{END}{rest.split(END)[1]}", encoding="utf-8")
        return
    path = find_model(options.start)
    _, information = load_model(path)
    names = [m for m in options.molecules if not _is_known(information, m, options.data)]
    for molecule in sorted(set(options.molecules) - set(names)):
        print(f"{molecule}: left out, {information.name} was trained on it")
    done = {_key(row) for row in rows}
    for run in planned(names, options):
        if run.key(file_hash(path)) not in done:
            row = measured(run, path, options)
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{run}: {row['method_chosen']}, forces {row['test']['forces_mae_mev_per_angstrom']:.1f} meV/Å")


def planned(molecules: Sequence[str], options: argparse.Namespace) -> Iterator[Run]:
    """All runs, those with the first seed first."""
    for seed in range(options.seeds):
        for n in options.structures:
            for method in options.methods:
                yield from (Run(molecule, n, method, options.minutes, seed) for molecule in molecules)


def measured(run: Run, start: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Adapt and evaluate: the row of a run."""
    potential, information = load_model(start)
    data = spaced(read_dataset(options.data / f"{run.molecule}_train.xyz"), run.structures, run.seed)
    test = read_dataset(options.data / f"{run.molecule}_test.xyz")
    settings = AdaptationSettings(method=run.method, minutes=run.minutes, seed=run.seed, accept_worse=True)
    with using_threads(options.threads):
        adaptation = adapt(potential, data, settings, lambda words: print(f"    {words}"))
    if options.keep is not None:
        origin = StartModel(potential, information, file_hash(start), information.name)
        name = f"{run.molecule}-{run.structures}-{run.method}-{run.seed}"
        save_model(
            options.keep / f"{name}.safetensors", *adapted_model(adaptation, origin, data, name=name, level=None)
        )
    chosen = test if options.limit is None else spaced(test, min(options.limit, len(test)), 0)
    report = evaluate(adaptation.referenced.potential, chosen)[0]
    return {
        "start": information.name,
        "start_sha256": file_hash(start),
        "molecule": run.molecule,
        "structures": run.structures,
        "method": run.method,
        "minutes": run.minutes,
        "seed": run.seed,
        "test": report.to_json_dict(),
        **_found(adaptation),
    }


def spaced(dataset: Dataset, n: int, seed: int) -> Dataset:
    """Structures evenly spaced in a file, from the first one with seed 0, else later ones."""
    step = len(dataset) // n
    return dataset.subset(range(seed * step // 3 % step, n * step, step))


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Force and energy errors by start, with the first digits of its hash, structures and method, in Markdown."""
    heads = f"| start | structures | method | minutes | {' | '.join(MOLECULES)} |\n|{' --- |' * 4}{' ---: |' * 5}\n"
    groups: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for row in rows:
        label = row["method"] if row["method"] != "choose" else "chosen by held-out errors"
        start = f"{row['start']} `{row['start_sha256'][:6]}`"
        group = groups.setdefault((start, row["structures"], label, row["minutes"]), {})
        test, took = row["test"], f" ({row['method_chosen']})" if row["method"] == "choose" else ""
        forces, energy = test["forces_mae_mev_per_angstrom"], test["energy_mae_mev"]
        group.setdefault(row["molecule"], []).append(f"{forces:.1f} / {energy:.1f}{took}")
    lines = [
        f"| {start} | {n} | {label} | {minutes:g} | "
        + " | ".join("; ".join(group.get(m, ["–"])) for m in MOLECULES)
        + " |"
        for (start, n, label, minutes), group in groups.items()
    ]
    lines += [f"| *{name}* | 50 | published | – | {' | '.join(map(str, f))} |" for name, f in PUBLISHED.items()]
    return heads + "\n".join(lines) + "\n"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows that are there."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    run = Run(*(row[name] for name in ("molecule", "structures", "method", "minutes", "seed")))
    return run.key(row["start_sha256"])


def _found(adaptation: Adaptation) -> dict[str, Any]:
    return {
        "method_chosen": adaptation.chosen.candidate.name,
        "steps": adaptation.steps,
        "seconds": adaptation.seconds,
        "tried": [
            {
                "method": row.candidate.name,
                "held_out_forces_mae": report["forces_mae_mev_per_angstrom"],
                "held_out_energy_mae_per_atom": report["energy_mae_mev_per_atom"],
                "steps": row.steps,
                "seconds": row.seconds,
            }
            for row, report in ((row, row.report.to_json_dict()) for row in adaptation.rows)
        ],
    }


def _is_known(information: ModelInformation, molecule: str, folder: Path) -> bool:
    """Whether a model, or the one it came from, was trained on a molecule's file, by name or hash."""
    files = [file.model_dump() for file in information.data] + list(
        (information.training.get("start") or {}).get("data", ())
    )
    hashes = {file_hash(folder / f"{molecule}_{part}.xyz") for part in ("train", "test")}
    return any(molecule in file["name"] or file["sha256"] in hashes for file in files if file["role"] != "test")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", help="shipped model or model file")
    parser.add_argument("--data", type=Path, help="folder of rMD17")
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines; new rows are put at its end")
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, choices=MOLECULES)
    parser.add_argument("--structures", nargs="+", type=int, default=[50, 10], help="structures of each training file")
    parser.add_argument("--methods", nargs="+", default=["choose"], help="as `nbody adapt --method`")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=1, help="draws of the structures")
    parser.add_argument("--limit", type=int, help="test structures, evenly spaced; all of them if not given")
    parser.add_argument("--keep", type=Path, help="folder where the adapted models are kept; none is overwritten")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md, run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
