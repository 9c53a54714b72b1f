"""The trainings of same_minutes.py: data sets, what each model is, the files of a training, and what they share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read, write

HERE = Path(__file__).parent
SEED = 1  # of the split, initial weights and the order of structures, for all models
MODELS = {
    "nbody": "ase_nbody medium",
    "mace64": "MACE 64x0e",
    "mace128": "MACE 128x0e+128x1o",
    "nequip": "NequIP, 4 layers, l 2, 32 features",
}


@dataclass(frozen=True)
class DataSet:
    """Where structures come from.

    Attributes:
        title: of its table.
        source: file with the structures to learn from, in DATA.
        valid: how many of them choose the best weights and are not trained on.
        isolated: file with the energies of single atoms, in DATA; None: every package fits or averages by itself.
        tests: names of the test sets; files of the same names are in the folder of the data set.
    """

    title: str
    source: str
    valid: int
    isolated: str | None
    tests: tuple[str, ...]


DATA_SETS = {
    "3bpa": DataSet(
        title="3BPA-mixedT, 450 + 50 configurations at 300 K",
        source="3bpa/train_300K.xyz",
        valid=50,
        isolated="3bpa/iso_atoms.xyz",
        tests=("3bpa_mixedT_300K", "3bpa_mixedT_600K", "3bpa_mixedT_1200K"),
    ),
    "ethanol": DataSet(
        title="Ethanol of rMD17, 950 + 50 configurations",
        source="rmd17/ethanol_train.xyz",
        valid=50,
        isolated=None,
        tests=("ethanol_test",),
    ),
}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        output: folder of all of them.
        data_set: a name in DATA_SETS.
        model: a name in MODELS.
        minutes: budget on the wall clock.
        data: folder DATA.
    """

    output: Path
    data_set: str
    model: str
    minutes: float
    data: Path

    def __str__(self) -> str:
        return f"{self.data_set}, {MODELS[self.model]}"

    @property
    def folder(self) -> Path:
        """Where all files of the training go."""
        return self.output / self.data_set / self.model

    @property
    def result(self) -> Path:
        """Errors and times; there once everything is done."""
        return self.folder / "result.json"

    @property
    def trained(self) -> Path:
        """Path of the model and times; there once training is done."""
        return self.folder / "trained.json"

    @property
    def log(self) -> Path:
        """What training and evaluation print."""
        return self.folder / "log.txt"

    def structures(self, name: str) -> Path:
        """File with `train`, `valid` or a test set."""
        return self.output / self.data_set / f"{name}.xyz"

    @property
    def isolated(self) -> Path | None:
        """File with the energies of single atoms."""
        name = DATA_SETS[self.data_set].isolated
        return None if name is None else self.data / name

    def record(self) -> dict[str, Any]:
        """What tells it from other trainings, as JSON values."""
        return {"data_set": self.data_set, "model": self.model, "minutes": self.minutes}


def prepare(run: Run) -> None:
    """Make the folder and write the structures, which are the same for all models.

    Raises:
        ValueError: what is there has another budget.
        FileNotFoundError: a data file is not there.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    record = run.folder / "run.json"
    if record.exists() and (then := json.loads(record.read_text())) != run.record():
        raise ValueError(
            f"'{run.folder}' is of a training of {then['minutes']:g} minutes, not {run.minutes:g}; choose another "
            "--output, or remove that folder"
        )
    write_whole(record, json.dumps(run.record()) + "\n")
    _write_structures(run)


def _write_structures(run: Run) -> None:
    data_set = DATA_SETS[run.data_set]
    if all(run.structures(name).exists() for name in ("train", "valid", *data_set.tests)):
        return
    source = run.data / data_set.source
    if not source.is_file():
        raise FileNotFoundError(f"there is no '{source}'; DATA is the folder with 3bpa and rmd17")
    frames = read(source, ":")
    order = np.random.default_rng(SEED).permutation(len(frames))
    write(run.structures("valid"), [frames[i] for i in order[: data_set.valid]])
    write(run.structures("train"), [frames[i] for i in order[data_set.valid :]])
    if run.data_set == "3bpa":
        program = HERE / "split_3bpa.py"
        subprocess.run([sys.executable, program, source.parent, run.output / run.data_set], check=True)
    else:
        for name in data_set.tests:
            write(run.structures(name), read(source.with_name(f"{name}.xyz"), ":"))


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name first, so that it is never there in part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
