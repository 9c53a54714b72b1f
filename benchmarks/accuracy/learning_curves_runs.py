"""The trainings behind the learning curves: which there are, what each is told, and what it leaves behind."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Options of `nbody train` that differ between architectures. Tried: 1.2 minutes on half a core with 50 structures of
# ethanol, batches of 5; forces MAE (meV/Å) of 40 other training structures for each learning rate:
#   schnet              0.001: 124   0.003: 109
#   dimenet_pp medium   0.001:  92   0.003:  87     small  0.003: 66
#   nequip_l0           0.005: 110   0.01:  102 (and on aspirin it diverged)
#   nequip_l2           0.002:  85   0.005:  89     0.01:  879
# N-body networks take the default of `nbody train`. Gradients are clipped at 10, its default when this was tried.
ARCHITECTURES = {
    "schnet": ("--architecture", "schnet", "--preset", "medium", "--learning-rate", "0.003"),
    "dimenet_pp": ("--architecture", "dimenet_pp", "--preset", "small", "--learning-rate", "0.003"),
    "nequip_l0": (
        *("--architecture", "nequip", "--preset", "medium", "--set", "max_degree=0"),
        *("--learning-rate", "0.005"),
    ),
    "nequip_l2": ("--architecture", "nequip", "--preset", "medium", "--learning-rate", "0.002"),
    "nbody": ("--architecture", "nbody", "--preset", "medium"),
}


@dataclass(frozen=True)
class Size:
    """How a number of configurations is used.

    Attributes:
        valid: configurations among them that choose the best weights, and are not trained on.
        batch_size: configurations per step.
        seeds: trainings with different configurations and initial weights, for ethanol.
    """

    valid: int
    batch_size: int
    seeds: int


SIZES = {
    10: Size(valid=2, batch_size=2, seeds=3),
    50: Size(valid=5, batch_size=5, seeds=3),
    250: Size(valid=25, batch_size=5, seeds=1),
    1000: Size(valid=50, batch_size=5, seeds=1),
}
LARGEST = max(SIZES)
MOLECULES = {"ethanol": tuple(SIZES), "aspirin": (50, 1000)}  # and their sizes
MORE_SEEDS = ("ethanol",)  # the others have one


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        folder: of the whole figure.
        molecule: whose data.
        architecture: one of ARCHITECTURES.
        configurations: labelled structures, with those for validation.
        seed: of the choice of structures, of the split and of the initial weights.
        minutes: budget of the training on the wall clock.
    """

    folder: Path
    molecule: str
    architecture: str
    configurations: int
    seed: int
    minutes: float

    def __str__(self) -> str:
        return f"{self.molecule}, {self.architecture}, {self.configurations} configurations, seed {self.seed}"

    def file(self, suffix: str) -> Path:
        """A file of this training: .safetensors, .json (errors on the test set), .run.json, .history.csv, .log."""
        return self.folder / self.molecule / f"{self.architecture}-{self.configurations}-{self.seed}{suffix}"

    @property
    def subset(self) -> Path:
        """The structures, the same for all architectures."""
        return self.folder / self.molecule / f"subset-{self.configurations}-{self.seed}.xyz"

    def options(self) -> list[str]:
        """What decides the training besides the structures, as options of `nbody train`."""
        size = SIZES[self.configurations]
        return [
            *ARCHITECTURES[self.architecture],
            *("--minutes", f"{self.minutes:g}", "--seed", str(self.seed), "--n-valid", str(size.valid)),
            *("--batch-size", str(size.batch_size), "--gradient-clip", "10", "--device", "cpu", "--threads", "1"),
        ]

    def record(self) -> dict[str, Any]:
        """What the report and a later call need to know, as JSON values."""
        names = ("molecule", "architecture", "configurations", "seed", "minutes")
        return {**{name: getattr(self, name) for name in names}, "options": self.options()}


def budget(configurations: int, minutes: float) -> float:
    """Minutes of a training, the same for every architecture: those of the largest size times the root of the share.

    A hundred times the configurations get ten times the steps, and each configuration is seen a tenth as often.
    """
    return minutes * (configurations / LARGEST) ** 0.5


def planned_runs(
    folder: Path, molecules: Sequence[str], architectures: Sequence[str], sizes: Sequence[int], minutes: float
) -> list[Run]:
    """All trainings, first one seed of everything: a figure without error bars is there as early as possible."""
    runs = [
        Run(folder, molecule, architecture, size, seed, budget(size, minutes))
        for molecule in molecules
        for size in MOLECULES[molecule]
        if size in sizes
        for seed in range(SIZES[size].seeds if molecule in MORE_SEEDS else 1)
        for architecture in architectures
    ]
    return sorted(runs, key=lambda run: run.seed > 0)


def check_record(run: Run) -> None:
    """Make sure that what is there of a training was made with the same options.

    Raises:
        ValueError: it was not.
    """
    file = run.file(".run.json")
    if not file.exists():
        return
    then, now = json.loads(file.read_text())["options"], run.options()
    if then != now:
        raise ValueError(
            f"'{file}' is of a training with other options ({' '.join(then)}) than now ({' '.join(now)}); "
            f"choose another --output, or remove {run.file('').name}.* to train it again"
        )


def finished_runs(folder: Path) -> Iterator[dict[str, Any]]:
    """Records of all trainings with errors on the test set, these, and the passes over the data."""
    for file in sorted(folder.glob("*/*.run.json")):
        base = file.name.removesuffix(".run.json")
        errors, history = file.with_name(f"{base}.json"), file.with_name(f"{base}.history.csv")
        if errors.exists():
            yield {**json.loads(file.read_text()), **json.loads(errors.read_text()), "passes": passes(history)}


def passes(history: Path) -> float:
    """Passes over the data that a history ends with."""
    with history.open(newline="", encoding="utf-8") as lines:
        *_, last = csv.DictReader(lines)
    return float(last["epoch"])


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name first, so that it is never there in part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
