"""Few structures of each molecule of rMD17, or of 3BPA: errors of a start that is adapted to them, a row for each test.

    python benchmarks/few_shot/few_shot.py --start START --data FOLDER --rows ROWS     # what is not there yet
    python benchmarks/few_shot/few_shot.py --rows ROWS --readme                        # the tables of README.md

FOLDER has MOLECULE_train.xyz and MOLECULE_test.xyz; for `--molecules 3bpa` it has train_300K.xyz and, as
benchmarks/accuracy/split_3bpa.py writes them, 3bpa_mixedT_*.xyz. Molecules that the start was trained on, by the names
and hashes of the files in its card, are left out and said so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase.io import read, write
from rich.console import Console

from ase_nbody.data import Dataset, evaluate, read_dataset
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.model import StartModel, adapted_model
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.start_level import nearest_start
from ase_nbody.model_file import ModelInformation, file_hash, load_model, save_model
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential
from ase_nbody.thread_count import using_threads
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings

MOLECULES = ("aspirin", "ethanol", "malonaldehyde", "toluene", "benzene")
TEMPERATURES = ("300K", "600K", "1200K")  # of the test files of 3BPA
SCRATCH = "scratch"  # in place of a method: `nbody train`, with the preset of organic-start
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
    """One adaptation: which structures, how long, what is changed of the start, and what is learnt beside, in words."""

    molecule: str
    structures: int
    method: str
    minutes: float
    seed: int
    start_level: str | None = None
    auxiliary: str | None = None

    def key(self, start: str) -> tuple[Any, ...]:
        """What makes two runs the same."""
        return (start, *vars(self).values())

    def training_file(self, folder: Path) -> Path:
        """Where its structures are."""
        return folder / ("train_300K.xyz" if self.molecule == "3bpa" else f"{self.molecule}_train.xyz")

    def test_files(self, folder: Path) -> dict[str | None, Path]:
        """What it is tested on: a file of rMD17, and one for each temperature of 3BPA."""
        if self.molecule == "3bpa":
            return {temperature: folder / f"3bpa_mixedT_{temperature}.xyz" for temperature in TEMPERATURES}
        return {None: folder / f"{self.molecule}_test.xyz"}

    def numbers(self, available: int) -> range:
        """Its structures: the first ones of 3BPA, and evenly spaced ones of rMD17."""
        return range(self.structures) if self.molecule == "3bpa" else spaced(available, self.structures, self.seed)


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
    _, information = load_model(path, level=options.start_level)
    names = [m for m in options.molecules if not _is_known(information, m, options.data)]
    for molecule in sorted(set(options.molecules) - set(names)):
        print(f"{molecule}: left out, {information.name} was trained on it")
    done = {_key(row) for row in rows}
    for run in planned(names, options):
        if run.key(file_hash(path)) not in done:
            for row in measured(run, path, options):
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{run}: {row['method_chosen']}, forces {row['test']['forces_mae_mev_per_angstrom']:.1f} meV/Å")


def planned(molecules: Sequence[str], options: argparse.Namespace) -> Iterator[Run]:
    """All runs, those with the first seed first."""
    for seed in range(options.seeds):
        for n in options.structures:
            for method in options.methods:
                for molecule in molecules:
                    beside = None if options.auxiliary is None else auxiliary_words(auxiliary(molecule, options))
                    yield Run(molecule, n, method, options.minutes, seed, options.start_level, beside)


def auxiliary(molecule: str, options: argparse.Namespace) -> Dataset:
    """What is learnt beside; `auxiliary.sh` makes it."""
    return read_dataset(options.auxiliary / f"{molecule}_auxiliary.xyz")


def auxiliary_words(dataset: Dataset) -> str:
    """Number and level of theory of what is learnt beside."""
    return f"{len(dataset)} by {dataset.level_of_theory}"


def measured(run: Run, start: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Adapt and evaluate: the rows of a run, one for each test file."""
    _, information = load_model(start, level=run.start_level)
    with using_threads(options.threads):
        potential, how = (trained if run.method == SCRATCH else adapted)(run, start, options)
    return [
        {
            "start": information.name,
            "start_sha256": file_hash(start),
            **vars(run),
            "temperature": temperature,
            "test": evaluate(potential, limited(read_dataset(file), options.limit))[0].to_json_dict(),
            **how,
        }
        for temperature, file in run.test_files(options.data).items()
    ]


def adapted(run: Run, start: Path, options: argparse.Namespace) -> tuple[Potential, dict[str, Any]]:
    """The start adapted to the structures of a run, as `nbody adapt` does it, and how it went."""
    whole = read_dataset(run.training_file(options.data))
    data = whole.subset(run.numbers(len(whole)))
    settings = AdaptationSettings(method=run.method, minutes=run.minutes, seed=run.seed, accept_worse=True)
    named = run.start_level is not None
    potential, information = (
        load_model(start, level=run.start_level) if named else nearest_start(start, data, settings)[:2]
    )
    beside = None if run.auxiliary is None else auxiliary(run.molecule, options)
    adaptation = adapt(potential, data, settings, lambda words: print(f"    {words}"), auxiliary=beside)
    if options.keep is not None:
        origin = StartModel(potential, information, file_hash(start), information.name)
        name = f"{run.molecule}-{run.structures}-{run.method}-{run.seed}"
        model = adapted_model(adaptation, origin, data, name=name, level=None, auxiliary=beside)
        save_model(options.keep / f"{name}.safetensors", *model)
    return adaptation.referenced.potential, _found(adaptation)


def trained(run: Run, start: Path, options: argparse.Namespace) -> tuple[Potential, dict[str, Any]]:
    """A potential trained from random weights on the structures of a run, as `nbody train` does it."""
    frames = read(run.training_file(options.data), ":")
    with TemporaryDirectory() as name:
        few, output = Path(name) / "few.xyz", Path(name) / "scratch.safetensors"
        write(few, [frames[i] for i in run.numbers(len(frames))])
        settings = TrainingSettings(data=(few,), preset="medium", minutes=run.minutes, seed=run.seed, output=output)
        potential, information = load_model(train(settings, console=Console(quiet=True)))
    training = information.training
    return potential, {
        "method_chosen": SCRATCH,
        "steps": training["steps"],
        "seconds": training["seconds"],
        "tried": [],
    }


def spaced(available: int, n: int, seed: int) -> range:
    """Numbers of structures evenly spaced in a file, from the first one with seed 0, else later ones."""
    step = available // n
    return range(seed * step // 3 % step, n * step, step)


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """At most so many structures, evenly spaced."""
    return dataset if limit is None else dataset.subset(spaced(len(dataset), min(limit, len(dataset)), 0))


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Errors by start, structures and method, in Markdown: MAE for the molecules of rMD17, RMSE for 3BPA."""
    of_rmd17, of_3bpa = ([row for row in rows if (row["molecule"] == "3bpa") is is_3bpa] for is_3bpa in (False, True))
    text = _table(of_rmd17, "molecule", MOLECULES, "mae")
    for name, figures in PUBLISHED.items():
        text += f"| *{name}* | 50 | published | – | {' | '.join(map(str, figures))} |\n"
    heading = "\n3BPA-mixedT, forces RMSE (meV/Å) / energy RMSE (meV):\n\n"
    return text + (heading + _table(of_3bpa, "temperature", TEMPERATURES, "rmse") if of_3bpa else "")


def _table(rows: Sequence[Mapping[str, Any]], column: str, columns: Sequence[str], error: str) -> str:
    """Force and energy errors, "mae" or "rmse", by start, with the first digits of its hash, structures and method."""
    groups: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for row in rows:
        label = row["method"] if row["method"] != "choose" else "chosen by held-out errors"
        label += f", {row['auxiliary']} beside" if row.get("auxiliary") else ""
        minutes = "–" if row["minutes"] is None else f"{row['minutes']:g}"
        group = groups.setdefault((_start_words(row), row["structures"], label, minutes), {})
        test, took = row["test"], f" ({row['method_chosen']})" if row["method"] == "choose" else ""
        forces, energy = test[f"forces_{error}_mev_per_angstrom"], test[f"energy_{error}_mev"]
        group.setdefault(row[column], []).append(f"{forces:.1f} / {energy:.1f}{took}")
    heads = f"| start | structures | method | minutes | {' | '.join(columns)} |\n"
    return f"{heads}|{' --- |' * 4}{' ---: |' * len(columns)}\n" + "".join(
        f"| {start} | {n} | {label} | {minutes} | {' | '.join('; '.join(group.get(c, ['–'])) for c in columns)} |\n"
        for (start, n, label, minutes), group in groups.items()
    )


def _start_words(row: Mapping[str, Any]) -> str:
    if row["method"] == SCRATCH:
        return "random weights"
    level = f", {row['start_level']}" if row.get("start_level") else ""
    return f"{row['start']} `{row['start_sha256'][:6]}`{level}"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows that are there."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return Run(**{field.name: row.get(field.name) for field in fields(Run)}).key(row["start_sha256"])


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
    run = Run(molecule, 0, "", 0.0, 0)
    hashes = {file_hash(file) for file in (run.training_file(folder), *run.test_files(folder).values())}
    return any(molecule in file["name"] or file["sha256"] in hashes for file in files if file["role"] != "test")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", help="shipped model or model file")
    parser.add_argument(
        "--start-level", help="level of theory of the start, where it has several; the nearest if not given"
    )
    parser.add_argument("--data", type=Path, help="folder of rMD17, or of 3BPA and its test files")
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines; new rows are put at its end")
    parser.add_argument("--molecules", nargs="+", default=MOLECULES, choices=[*MOLECULES, "3bpa"])
    parser.add_argument("--structures", nargs="+", type=int, default=[50, 10], help="structures of each training file")
    parser.add_argument("--methods", nargs="+", default=["choose"], help="as `nbody adapt --method`, or scratch")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each run")
    parser.add_argument("--auxiliary", type=Path, help="folder with MOLECULE_auxiliary.xyz, which is learnt beside")
    parser.add_argument("--seeds", type=int, default=1, help="draws of the structures")
    parser.add_argument("--limit", type=int, help="test structures, evenly spaced; all of them if not given")
    parser.add_argument("--keep", type=Path, help="folder where the adapted models are kept; none is overwritten")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--readme", action="store_true", help="write the tables into README.md, run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
