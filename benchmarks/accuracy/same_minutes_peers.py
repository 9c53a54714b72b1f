"""How MACE and NequIP are started, followed and asked for their model; nothing of theirs is imported here."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ase.data import atomic_numbers
from ase.io import read
from same_minutes_runs import HERE, SEED

from ase_nbody.data import isolated_energies

BATCH_SIZE = 5


@dataclass(frozen=True)
class Task:
    """A training by a peer's own program.

    Attributes:
        folder: for everything the program writes.
        train: structures to learn from.
        valid: structures to choose the best weights with.
        isolated: energies of single atoms; None: the program fits or averages them.
        epochs: passes over the structures.
    """

    folder: Path
    train: Path
    valid: Path
    isolated: Path | None
    epochs: int


class Peer(ABC):
    """A package with a program that trains for a number of epochs.

    Attributes:
        environment: folder of its virtual environment.
    """

    def __init__(self, environment: Path) -> None:
        self.environment = environment

    @property
    @abstractmethod
    def evaluation(self) -> list[str | Path]:
        """Program that predicts: MODEL, STRUCTURES and OUTPUT.npz are to be added."""

    @abstractmethod
    def command(self, task: Task) -> list[str | Path]:
        """Program that trains."""

    @abstractmethod
    def times(self, folder: Path) -> list[float]:
        """When training began and when each epoch ended, in seconds since 1970; empty before it began."""

    @abstractmethod
    def model(self, folder: Path) -> Path | None:
        """The best model so far, in the form that `evaluation` takes; None if there is none."""

    def rescue(self, task: Task) -> list[str | Path] | None:
        """Program that turns the last checkpoint of a training that was stopped into a model, if one is needed."""
        return None


class Mace(Peer):
    """mace_run_train with same_minutes_mace.yaml.

    The first three quarters of the epochs are of the first stage, the rest of the second ("swa"), as by MACE's own
    default. Within the first stage the learning rate waits for plateaus: tried on 300 structures of ethanol, 8 epochs
    of 64x0e, forces RMSE (meV/Å) of other structures: plateau 73; exponential to a tenth, then the second stage 89;
    exponential to a hundredth without a second stage 101.

    Attributes:
        irreps: hidden irreps, which decide the size of the model.
    """

    def __init__(self, environment: Path, irreps: str) -> None:
        super().__init__(environment)
        self.irreps = irreps

    @property
    def evaluation(self) -> list[str | Path]:
        """MACE's calculator."""
        return [self.environment / "bin" / "python", HERE / "same_minutes_mace.py"]

    def command(self, task: Task) -> list[str | Path]:
        """mace_run_train."""
        first_stage = max(1, task.epochs * 3 // 4)
        schedule = ["--max_num_epochs", str(task.epochs)]
        if first_stage < task.epochs:
            schedule += ["--swa", "--start_swa", str(first_stage)]
        return [*self._without_schedule(task), *schedule]

    def _without_schedule(self, task: Task) -> list[str | Path]:
        options: dict[str, str | Path] = {
            "config": HERE / "same_minutes_mace.yaml",
            "name": "model",
            "work_dir": task.folder,
            "train_file": task.train,
            "valid_file": task.valid,
            "hidden_irreps": self.irreps,
            "E0s": "average" if task.isolated is None else _atomic_energies(task.isolated),
        }
        program = self.environment / "bin" / "mace_run_train"
        return [program, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def times(self, folder: Path) -> list[float]:
        """Read from the log, where times have milliseconds."""
        log = folder / "logs" / f"model_run-{SEED}.log"
        if not log.exists():
            return []
        found = re.findall(r"^(\S+ \S+) INFO: (?:Initial|Epoch \d+): head", log.read_text(), re.MULTILINE)
        return [datetime.strptime(time, "%Y-%m-%d %H:%M:%S.%f").timestamp() for time in found]

    def model(self, folder: Path) -> Path | None:
        """That of the second stage, if there was one."""
        return _first([folder / "model_stagetwo.model", folder / "model.model"])

    def rescue(self, task: Task) -> list[str | Path] | None:
        """The same program for no epochs: it reads the last checkpoint and writes models."""
        checkpoints = list((task.folder / "checkpoints").glob("*.pt"))
        if not checkpoints:
            return None
        both_stages = ["--swa", "--start_swa", "-1"] if any(c.stem.endswith("_swa") for c in checkpoints) else []
        return [*self._without_schedule(task), "--restart_latest", "--max_num_epochs", "0", *both_stages]


class Nequip(Peer):
    """nequip-train with same_minutes_nequip.yaml."""

    @property
    def evaluation(self) -> list[str | Path]:
        """NequIP's calculator."""
        return [self.environment / "bin" / "python", HERE / "same_minutes_nequip.py"]

    def command(self, task: Task) -> list[str | Path]:
        """nequip-train."""
        structures = read(task.train, ":")
        steps = task.epochs * math.ceil(len(structures) / BATCH_SIZE)
        elements = sorted({symbol for atoms in structures for symbol in atoms.symbols})
        shifts = "${training_data_stats:per_atom_energy_mean}"
        if task.isolated is not None:
            alone = isolated_energies(task.isolated)
            shifts = "{" + ",".join(f"{element}:{alone[element]!r}" for element in elements) + "}"
        return [
            *(self.environment / "bin" / "nequip-train", "-cp", HERE.absolute(), "-cn", "same_minutes_nequip"),
            f"hydra.run.dir='{task.folder.absolute()}'",
            f"train_file='{task.train.absolute()}'",
            f"valid_file='{task.valid.absolute()}'",
            f"elements=[{','.join(elements)}]",
            f"shifts={shifts}",
            f"epochs={task.epochs}",
            f"constant_steps={steps - steps // 4}",
            f"falling_steps={steps // 4}",
        ]

    def times(self, folder: Path) -> list[float]:
        """Written by a callback."""
        file = folder / "epochs.txt"
        return [float(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []

    def model(self, folder: Path) -> Path | None:
        """The checkpoint with the smallest errors of validation; its averaged weights are the ones evaluated."""
        return _first([folder / "best.ckpt"])


def peers(environments: Path) -> dict[str, Peer]:
    """All trainings by peers, by the names of same_minutes_runs.MODELS."""
    mace, nequip = environments.absolute() / "mace", environments.absolute() / "nequip"
    return {"mace64": Mace(mace, "64x0e"), "mace128": Mace(mace, "128x0e+128x1o"), "nequip": Nequip(nequip)}


def _atomic_energies(isolated: Path) -> str:
    found = {atomic_numbers[element]: energy for element, energy in isolated_energies(isolated).items()}
    return "{" + ", ".join(f"{number}: {energy!r}" for number, energy in sorted(found.items())) + "}"


def _first(files: Sequence[Path]) -> Path | None:
    return next((file for file in files if file.exists()), None)
