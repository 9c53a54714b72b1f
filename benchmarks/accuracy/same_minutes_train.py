"""Trainings within a budget of minutes: ours by its own option, a peer's by as many epochs as fit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase.io import read, write
from same_minutes_peers import Peer, Task
from same_minutes_runs import HERE, SEED, Run, write_whole

NBODY = Path(sys.executable).with_name("nbody")
MEASURED, MEASURED_EPOCHS = 60, 4  # structures and passes over them that tell how long an epoch takes
PATIENCE = 1.1  # times the budget, after which a peer is stopped
PEERS_ENVIRONMENT = {
    "MKL_NUM_THREADS": "1",
    # mace-torch's e3nn reads its own constants in a way that newer versions of torch refuse unless told
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    # for the callback in same_minutes_nequip.py
    "PYTHONPATH": str(HERE.absolute()),
}

Command = Sequence[str | Path]


class FailedError(Exception):
    """A program ended with an error; its log says why."""


def execute(command: Command, log: Path, environment: dict[str, str], late: Callable[[], bool] = lambda: False) -> bool:
    """Run a program on one thread, its output added to a log; whether it ended by itself before it was late.

    Raises:
        FailedError: it ended with an error.
    """
    with log.open("ab") as output:
        output.write(f"$ {' '.join(map(str, command))}\n".encode())
        output.flush()
        whole = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=whole)
        try:
            while process.poll() is None:
                if late():
                    return False
                time.sleep(0.5)
        except BaseException:
            process.terminate()  # ours writes a checkpoint
            process.wait()
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise FailedError(f"{Path(command[0]).name} failed, see {log}")
    return True


def train_ours(run: Run) -> None:
    """Train with `nbody train`, which keeps to the minutes by itself and goes on from a checkpoint."""
    model = run.folder / "model.safetensors"
    if not model.exists():
        command: list[str | Path] = [NBODY, "train", "--data", run.structures("train"), "--output", model]
        command += ["--valid", run.structures("valid"), "--preset", "medium", "--batch-size", "2"]
        command += ["--minutes", f"{run.minutes:g}", "--seed", str(SEED), "--device", "cpu", "--threads", "1"]
        if run.isolated is not None:
            command += ["--isolated-atoms", run.isolated]
        execute(command, run.log, {})
    with (run.folder / "model.history.csv").open(newline="") as lines:
        *_, last = csv.DictReader(lines)
    _write_trained(run, model, float(last["seconds (s)"]), float(last["epoch"]), {})


def train_peer(run: Run, peer: Peer) -> None:
    """Measure how long an epoch takes, train for as many as fit, and stop a training that takes much longer.

    Minutes are counted from the first epoch on: imports, reading and statistics of the data are free.

    Raises:
        FailedError: the program failed, or there is no checkpoint when it is stopped.
    """
    folder, budget = run.folder / "training", 60 * run.minutes
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    task = Task(folder, run.structures("train"), run.structures("valid"), run.isolated, epochs=1)
    task = _absolute(task)
    per_epoch = _seconds_per_epoch(run, peer, task)
    task = replace(task, epochs=max(1, round(budget / per_epoch)))

    def late() -> bool:
        times = peer.times(folder)
        return bool(times) and len(times) <= task.epochs and time.time() > times[0] + PATIENCE * budget

    in_time = execute(peer.command(task), run.log, PEERS_ENVIRONMENT, late)
    if not in_time and (rescue := peer.rescue(task)) is not None:
        execute(rescue, run.log, PEERS_ENVIRONMENT)
    times, model = peer.times(folder)[: task.epochs + 1], peer.model(folder)
    if model is None:
        raise FailedError(f"no checkpoint of {run} within {PATIENCE * run.minutes:g} minutes, see {run.log}")
    seconds = times[-1] - times[0] if in_time else PATIENCE * budget
    plan = {"planned_epochs": task.epochs, "measured_seconds_per_epoch": round(per_epoch, 2)}
    _write_trained(run, model, seconds, len(times) - 1, plan)


def _seconds_per_epoch(run: Run, peer: Peer, task: Task) -> float:
    """From passes over a few structures; the first, in which TorchScript compiles, does not count."""
    folder = (run.folder / "measured").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    train, valid = read(task.train, ":"), read(task.valid, ":")
    share = MEASURED / len(train)
    write(folder / "train.xyz", train[:MEASURED])
    write(folder / "valid.xyz", valid[: max(1, round(share * len(valid)))])
    few = Task(folder, folder / "train.xyz", folder / "valid.xyz", task.isolated, MEASURED_EPOCHS)
    execute(peer.command(few), run.log, PEERS_ENVIRONMENT)
    times = peer.times(folder)
    shutil.rmtree(folder)
    return (times[-1] - times[1]) / (len(times) - 2) / share


def _absolute(task: Task) -> Task:
    isolated = None if task.isolated is None else task.isolated.absolute()
    return Task(task.folder.absolute(), task.train.absolute(), task.valid.absolute(), isolated, task.epochs)


def _write_trained(run: Run, model: Path, seconds: float, epochs: float, more: dict[str, Any]) -> None:
    relative = str(model.absolute().relative_to(run.folder.absolute()))
    found = {"model_file": relative, "trained_minutes": round(seconds / 60, 2), "epochs": round(epochs, 1), **more}
    write_whole(run.trained, json.dumps(found, indent=2) + "\n")
