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
ENOUGH = 0.9  # of the budget: a training that ends earlier is repeated with more epochs
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
        command += ["--gradient-clip", "10"]  # the default when this was measured
        command += ["--minutes", f"{run.minutes:g}", "--seed", str(SEED), "--device", "cpu", "--threads", "1"]
        if run.isolated is not None:
            command += ["--isolated-atoms", run.isolated]
        execute(command, run.log, {})
    with (run.folder / "model.history.csv").open(newline="") as lines:
        *_, last = csv.DictReader(lines)
    _write_trained(run, model, float(last["seconds (s)"]), float(last["epoch"]), {})


def train_peer(run: Run, peer: Peer) -> None:
    """Train for as many epochs as fit into the minutes, and again if that was far off.

    Minutes are counted from the first epoch on: imports, reading and statistics of the data are free. How long an epoch
    takes is measured with a few structures before. If the learning rate had not fallen to its end when the training was
    stopped, or much of the budget was left, the measurement was wrong (something else ran at the time), and the
    training is done once more with the epochs that its own speed suggests.

    Raises:
        FailedError: the program failed, or there is no checkpoint when it is stopped.
    """
    budget = 60 * run.minutes
    valid, isolated = run.structures("valid").absolute(), run.isolated and run.isolated.absolute()
    task = Task(run.folder.absolute() / "training", run.structures("train").absolute(), valid, isolated, epochs=1)
    seconds, epochs = _measured(run, peer, task), 1
    attempts = 0
    while attempts < 2:
        attempts += 1
        task = replace(task, epochs=max(1, round(budget * epochs / seconds)))
        seconds, epochs = _attempt(run, peer, task, budget)
        better = max(1, round(budget * epochs / seconds))
        if better == task.epochs or (epochs == task.epochs and seconds > ENOUGH * budget):
            break
    model = peer.model(task.folder)
    assert model is not None
    plan = {"planned_epochs": task.epochs, "trainings": attempts}
    _write_trained(run, model, seconds, epochs, plan)


def _attempt(run: Run, peer: Peer, task: Task, budget: float) -> tuple[float, int]:
    """Seconds and finished epochs of a training that is stopped if it takes much longer than a budget, seconds."""
    _empty(task.folder)

    def late() -> bool:
        times = peer.times(task.folder)
        return bool(times) and len(times) <= task.epochs and time.time() > times[0] + PATIENCE * budget

    in_time = execute(peer.command(task), run.log, PEERS_ENVIRONMENT, late)
    times = peer.times(task.folder)
    if not in_time and (rescue := peer.rescue(task)) is not None:
        execute(rescue, run.log, PEERS_ENVIRONMENT)
    if peer.model(task.folder) is None:
        raise FailedError(f"no checkpoint of {run} within {PATIENCE * run.minutes:g} minutes, see {run.log}")
    return times[-1] - times[0], len(times) - 1


def _measured(run: Run, peer: Peer, task: Task) -> float:
    """Seconds of an epoch, from passes over a few structures without the first pass, in which TorchScript compiles."""
    folder = task.folder.with_name("measured")
    _empty(folder)
    train, valid = read(task.train, ":"), read(task.valid, ":")
    share = min(1.0, MEASURED / len(train))
    write(folder / "train.xyz", train[:MEASURED])
    write(folder / "valid.xyz", valid[: max(1, round(share * len(valid)))])
    few = Task(folder, folder / "train.xyz", folder / "valid.xyz", task.isolated, MEASURED_EPOCHS)
    execute(peer.command(few), run.log, PEERS_ENVIRONMENT)
    times = peer.times(folder)
    shutil.rmtree(folder)
    return (times[-1] - times[1]) / (len(times) - 2) / share


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _write_trained(run: Run, model: Path, seconds: float, epochs: float, more: dict[str, Any]) -> None:
    relative = str(model.absolute().relative_to(run.folder.absolute()))
    found = {"model_file": relative, "trained_minutes": round(seconds / 60, 2), "epochs": round(epochs, 1), **more}
    write_whole(run.trained, json.dumps(found, indent=2) + "\n")
