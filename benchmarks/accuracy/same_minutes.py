"""Errors of ase_nbody, MACE and NequIP after the same minutes of training on one thread of the same machine.

    bash benchmarks/peers/make_environments.sh
    .venv/bin/python benchmarks/accuracy/same_minutes.py DATA --environments runs/peers --minutes 30

DATA is the folder with 3bpa and rmd17. Everything happens one after the other, never side by side; the machine should
be idle. Trainings and evaluations that are done are not done again; ours goes on from its checkpoint after an
interruption, a peer's training starts again. OUTPUT/results.json and OUTPUT/same_minutes.md are written after each.

What each is told: the same training and validation structures, energies of isolated atoms for 3BPA and none for
ethanol, one seed, single precision, one thread, EMA with decay 0.99 and a schedule that ends when the minutes are over;
the weights with the lowest errors of validation count.
- ase_nbody: `nbody train --preset medium --batch-size 2 --minutes M`. Minutes count from reading the data on.
- MACE: same_minutes_mace.yaml and the class Mace in same_minutes_peers.py.
- NequIP: same_minutes_nequip.yaml and the class Nequip.
Peers are given numbers of epochs, so a short training on a few structures measures how long one takes, which is not
part of the minutes; nor are their imports and statistics of the data. A training that has not ended after 1.1 times
the minutes is stopped, and its best checkpoint so far is what counts. One that was stopped, or ended within 0.9 times
the minutes, is done once more, with the epochs that its own speed suggests. The table says what each has taken.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from same_minutes_peers import Peer, peers
from same_minutes_report import errors, write_report
from same_minutes_runs import DATA_SETS, HERE, MODELS, Run, prepare, write_whole
from same_minutes_train import PEERS_ENVIRONMENT, FailedError, execute, train_ours, train_peer


def finish(run: Run, by_peers: Mapping[str, Peer]) -> None:
    """Train and evaluate what is not done yet.

    Raises:
        FailedError: a program failed.
    """
    peer = by_peers.get(run.model)
    if not run.trained.exists():
        if peer is None:
            train_ours(run)
        else:
            train_peer(run, peer)
    trained = json.loads(run.trained.read_text())
    program = [sys.executable, HERE / "same_minutes_nbody.py"] if peer is None else peer.evaluation
    environment = {} if peer is None else PEERS_ENVIRONMENT
    tests = {}
    for name in DATA_SETS[run.data_set].tests:
        predictions = run.folder / f"{name}.npz"
        execute([*program, run.folder / trained["model_file"], run.structures(name), predictions], run.log, environment)
        tests[name] = errors(run.structures(name), predictions)
    write_whole(run.result, json.dumps({**run.record(), **trained, "tests": tests}, indent=2) + "\n")


def finish_all(chosen: argparse.Namespace) -> list[str]:
    """Do all trainings and write the report after each; what went wrong."""
    by_peers = peers(chosen.environments)
    names = [(data_set, model) for data_set in chosen.data_set for model in chosen.only]
    runs = [Run(chosen.output, data_set, model, chosen.minutes, chosen.data) for data_set, model in names]
    for run in runs:
        prepare(run)
    wrong = []
    for run in runs:
        if not run.result.exists():
            print(f"{run}: {run.minutes:g} minutes, log in {run.log}", flush=True)
            try:
                finish(run, by_peers)
            except FailedError as error:
                wrong.append(str(error))
                print(error, flush=True)
                continue
        write_report(chosen.output, about())
    return wrong


def about() -> dict[str, Any]:
    """When and on what."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"date": datetime.date.today().isoformat(), "machine": system, "threads": 1}


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"), help="folder with mace and nequip")
    parser.add_argument("--output", type=Path, default=Path("runs/same-minutes"))
    parser.add_argument("--minutes", type=float, default=30.0, help="of each training")
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument("--data-set", nargs="+", choices=DATA_SETS, default=list(DATA_SETS))
    chosen = parser.parse_args()
    if chosen.minutes <= 0:
        parser.error(f"--minutes must be positive, not {chosen.minutes:g}")
    for model in chosen.only:
        if (peer := peers(chosen.environments).get(model)) and not peer.evaluation[0].exists():
            parser.error(f"there is no '{peer.evaluation[0]}'; make it with benchmarks/peers/make_environments.sh")
    return chosen


def main() -> None:
    """Command line."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wrong = finish_all(chosen)
        print((chosen.output / "same_minutes.md").read_text() if not wrong else "", end="")
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command does what is missing")
    if wrong:
        sys.exit(f"Error: {len(wrong)} trainings or evaluations failed; the same command tries them again")


if __name__ == "__main__":
    main()
