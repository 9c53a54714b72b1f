"""Learning curves of all architectures on rMD17, each training with the same minutes on one thread; one command.

    .venv/bin/python benchmarks/accuracy/learning_curves.py DATA --output runs/learning-curves --minutes 20 --jobs 2

DATA is the folder with ethanol_train.xyz, ethanol_test.xyz and those of aspirin. A training with N configurations gets
`minutes * sqrt(N / 1000)`. The configurations are the first N of the training file in an order of their own for each
seed, so smaller sets are within larger ones, and all architectures see the same ones. N counts those set aside to
choose the best weights (2 of 10, 5 of 50, 25 of 250, 50 of 1000). Errors are on the whole test file.

What is finished is not done again, and what was interrupted (Ctrl-C, SIGTERM) goes on from its checkpoint, by the same
command. At the end, or by learning_curves_report.py at any time, OUTPUT/learning_curves.md and .png are written.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

import numpy as np
from ase.io import read, write
from learning_curves_report import write_report
from learning_curves_runs import ARCHITECTURES, MOLECULES, SIZES, Run, check_record, planned_runs, write_whole

NBODY = Path(sys.executable).with_name("nbody")


class Processes:
    """Commands that run now, each from a thread of its own; they can be stopped together."""

    def __init__(self) -> None:
        self.stopped = False
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: Sequence[str | Path], log: Path) -> bool:
        """Whether a command ended well; its output is added to the log."""
        with log.open("ab") as output:
            with self._lock:
                if self.stopped:
                    return False
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
                self._running.add(process)
            status = process.wait()
        with self._lock:
            self._running.remove(process)
        return status == 0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ask all to end, and start no others: a signal handler."""
        with self._lock:
            self.stopped = True
            for process in self._running:
                process.terminate()


def write_subset(run: Run, data: Path) -> None:
    """Write the structures of a training.

    Raises:
        ValueError: the file has too few.
    """
    if run.subset.exists():
        return
    source = data / f"{run.molecule}_train.xyz"
    frames = read(source, ":")
    if len(frames) < run.configurations:
        raise ValueError(f"'{source}' has {len(frames)} structures, and {run.configurations} are needed")
    order = np.random.default_rng(run.seed).permutation(len(frames))[: run.configurations]
    temporary = run.subset.with_name(f".{run.subset.name}.{os.getpid()}")
    write(temporary, [frames[i] for i in order], format="extxyz")
    temporary.replace(run.subset)


def finish(run: Run, data: Path, processes: Processes) -> bool:
    """Train and evaluate what is not done yet, and say what came out; whether all of it is done now."""
    if processes.stopped:
        return False
    well = run.file(".json").exists() or train_and_evaluate(run, data, processes)
    if well:
        found = json.loads(run.file(".json").read_text())
        forces, energy = found["forces_mae_mev_per_angstrom"], found["energy_mae_mev_per_atom"]
        print(f"{run}: MAE of forces {forces:.1f} meV/Å, of energy {energy:.2f} meV/atom", flush=True)
    elif not processes.stopped:
        print(f"{run}: failed, see {run.file('.log')}", flush=True)
    return well


def train_and_evaluate(run: Run, data: Path, processes: Processes) -> bool:
    """Train, or go on from a checkpoint, or take the model that is there, and evaluate it; whether both ended well."""
    model, log = run.file(".safetensors"), run.file(".log")
    write_whole(run.file(".run.json"), json.dumps(run.record(), indent=2) + "\n")
    train: list[str | Path] = [NBODY, "train", "--data", run.subset, "--output", model, *run.options()]
    test = data / f"{run.molecule}_test.xyz"
    evaluate: list[str | Path] = [NBODY, "evaluate", model, "--data", test, "--json", run.file(".json")]
    evaluate += ["--device", "cpu", "--threads", "1"]
    return (model.exists() or processes.run(train, log)) and processes.run(evaluate, log)


def finish_all(runs: Sequence[Run], data: Path, jobs: int) -> list[Run]:
    """Do all trainings, so many side by side, and return those that failed.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; checkpoints are written.
    """
    processes = Processes()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, processes.stop)
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(partial(finish, data=data, processes=processes), runs))
    if processes.stopped:
        raise KeyboardInterrupt
    return [run for run, well in zip(runs, done, strict=True) if not well]


def prepare(runs: Sequence[Run], data: Path) -> None:
    """Check that everything is there and fits, and write the structures.

    Raises:
        ValueError: too few structures, or a training of other options is in the way.
        FileNotFoundError: a data file is not there.
    """
    for molecule in {run.molecule for run in runs}:
        for file in (data / f"{molecule}_train.xyz", data / f"{molecule}_test.xyz"):
            if not file.is_file():
                raise FileNotFoundError(f"there is no '{file}'; DATA is the folder with the files of rMD17")
    for run in runs:
        check_record(run)
    for run in runs:
        run.subset.parent.mkdir(parents=True, exist_ok=True)
        write_subset(run, data)


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--output", type=Path, default=Path("runs/learning-curves"))
    parser.add_argument(
        "--minutes",
        type=float,
        default=20.0,
        help="of a training with 1000 configurations; the whole figure takes 18.5 times as long, divided by the jobs",
    )
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1, help="trainings side by side")
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="ARCH")
    parser.add_argument("--molecule", nargs="+", choices=MOLECULES, default=list(MOLECULES))
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=list(SIZES), metavar="N")
    chosen = parser.parse_args()
    if chosen.minutes <= 0:
        parser.error(f"--minutes must be positive, not {chosen.minutes:g}")
    return chosen


def main() -> None:
    """Command line."""
    chosen = options()
    runs = planned_runs(chosen.output, chosen.molecule, chosen.only, chosen.sizes, chosen.minutes)
    try:
        prepare(runs, chosen.data)
        missing = [run for run in runs if not run.file(".json").exists()]
        minutes = sum(run.minutes for run in missing) / chosen.jobs
        print(f"{len(missing)} of {len(runs)} trainings to do, {minutes:.0f} minutes and their evaluation", flush=True)
        failed = finish_all(runs, chosen.data, chosen.jobs)
        print(write_report(chosen.output))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the checkpoints")
    if failed:
        sys.exit(f"Error: {len(failed)} of {len(runs)} trainings failed; the same command tries them again")


if __name__ == "__main__":
    main()
