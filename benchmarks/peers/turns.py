"""Models take turns on a structure, each in a process of its own environment with limits on time and memory."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

HERE = Path(__file__).parent
MOST_STEPS = 200  # in a round


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        environments: folder of the peers' environments.
        threads: of every model.
        rounds: turns of every model on every structure; the median over them counts.
        seconds: of steps in a round.
        patience: a model whose rounds have taken more seconds than this on a structure has no further ones.
        limit: seconds until an answer, after which a model is stopped.
        memory: of a process, GB.
    """

    environments: Path
    threads: int
    rounds: int
    seconds: float
    patience: float
    limit: float
    memory: float


class NotMeasuredError(Exception):
    """Why there is no number."""


class Process:
    """A worker for one model."""

    def __init__(self, model: str, dtype: str, settings: Settings, worker: Path) -> None:
        self.settings = settings
        self.errors = tempfile.TemporaryFile()
        command = [python_of(model, settings.environments), worker, model, dtype, str(settings.threads)]
        if not command[0].exists():
            raise NotMeasuredError("no environment")
        allowed = int(settings.memory * 2**30)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=_environment(settings),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed)),
        )
        self.versions: dict[str, str] = self._line()

    def ask(self, **request: object) -> dict[str, Any]:
        """Answer to a request.

        Raises:
            NotMeasuredError: no answer; the process may have ended.
        """
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise NotMeasuredError(self._last_words()) from error
        answer = self._line()
        if "failed" in answer:
            raise NotMeasuredError(answer["failed"])
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _line(self) -> dict[str, Any]:
        timer = Timer(self.settings.limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        waited_too_long = not timer.is_alive()
        timer.cancel()
        if not line:
            raise NotMeasuredError(f"> {self.settings.limit:.0f} s" if waited_too_long else self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"ended with {self.process.returncode}"
        return "out of memory" if "emory" in last or "bad_alloc" in last else last


def python_of(model: str, environments: Path) -> Path:
    """Interpreter of the environment that a model runs in."""
    package = model.split()[0]
    return Path(sys.executable) if package == "ase_nbody" else environments / package / "bin" / "python"


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(settings.threads),
        "MKL_NUM_THREADS": str(settings.threads),
        # mace-torch's e3nn reads its own constants in a way that newer versions of torch refuse unless told
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(settings.environments.absolute() / "inductor"),
    }


@dataclass
class Models:
    """The processes of several models with one dtype, started when they are needed and again after a failure.

    Attributes:
        worker: the script that answers for a model.
        versions: of the packages in each environment.
    """

    dtype: str
    settings: Settings
    worker: Path = HERE / "worker.py"
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    running: dict[str, Process] = field(default_factory=dict)

    def ask(self, model: str, **request: object) -> dict[str, Any]:
        """A model's answer; its process ends if there is none.

        Raises:
            NotMeasuredError: no answer.
        """
        try:
            if model not in self.running:
                self.running[model] = Process(model, self.dtype, self.settings, self.worker)
                self.versions[model.split()[0]] = self.running[model].versions
            return self.running[model].ask(**request)
        except NotMeasuredError:
            self.end(model)
            raise

    def end(self, model: str) -> None:
        """End a model's process, if it has one."""
        if model in self.running:
            self.running.pop(model).close()

    def close(self) -> None:
        """End all processes."""
        for model in list(self.running):
            self.end(model)


def take_turns(models: Models, names: Sequence[str], task: str, structure: str) -> list[dict[str, Any]]:
    """One row of results for each model: in every round, each model takes some steps.

    Args:
        models: their processes.
        names: of the models.
        task: "evaluate" or "train".
        structure: name of the structure.
    """
    rows = [
        {"model": name, "structure": structure, "dtype": models.dtype, "rounds_ms": [], "seconds": 0.0}
        for name in names
    ]
    for row in rows:
        _prepare(models, row, task)
    for _ in range(models.settings.rounds):
        for row in rows:
            if "failed" not in row and row["seconds"] <= models.settings.patience:
                _add_round(models, row)
    return rows


def _prepare(models: Models, row: dict[str, Any], task: str) -> None:
    try:
        row["atoms"] = models.ask(row["model"], do=task, structure=row["structure"])["atoms"]
    except NotMeasuredError as error:
        row["failed"] = str(error)


def _add_round(models: Models, row: dict[str, Any]) -> None:
    try:
        found = models.ask(row["model"], do="steps", seconds=models.settings.seconds, most=MOST_STEPS)
    except NotMeasuredError as error:
        row["failed"] = str(error)
        return
    row["rounds_ms"].append(round(found["ms"], 3))
    row["seconds"] += round(found["ms"] * found["steps"] / 1000, 1)
    row["ms"] = round(statistics.median(row["rounds_ms"]), 3)
