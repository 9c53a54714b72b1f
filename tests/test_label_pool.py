"""The pool of processes: order of the tasks, crashes, time limits, threads, stops, and parents that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ase_nbody.labelling import pool
from ase_nbody.labelling.pool import ProcessFailure, WorkerStartError, outcomes
from ase_nbody.stopping import StopRequest

TROUBLE = {3: "ended with exit status 7", 5: "signal 11 (SIGSEGV)", 8: "ValueError: bad eight", 9: "SystemExit: nine"}


def square(x):
    if x == 3:
        os._exit(7)
    if x == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if x == 7:
        time.sleep(60)
    if x == 8:
        raise ValueError("bad  eight")
    if x == 9:
        sys.exit("nine")
    return (lambda: x) if x == 10 else x * x


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def threads(with_torch):
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    counts = {library["num_threads"] for library in threadpool_info()}
    if with_torch:
        import torch

        counts.add(torch.get_num_threads())
    return counts, os.environ["OMP_NUM_THREADS"], os.getpid()


def refuse():
    raise ValueError("there is no such method")


def die():
    os._exit(1)


def test_a_task_that_goes_wrong_costs_no_other():
    found = dict(outcomes(square, range(14), processes=2, time_limit=2.0))
    assert set(found) == set(range(14))
    for x, value in found.items():
        if x in TROUBLE:
            assert isinstance(value, ProcessFailure) and TROUBLE[x] in value.reason
        elif x == 7:
            assert value.reason == "took longer than the time limit of 2 s"
        elif x == 10:
            assert "cannot be sent" in value.reason
        else:
            assert value == x * x


def test_time_limits_may_depend_on_the_task():
    found = dict(outcomes(sleep, [0.0, 5.0, 0.5], processes=3, time_limit=lambda task: 0.2 if task > 1 else 20.0))
    assert found[0] == 0.0 and found[2] == 0.5 and isinstance(found[1], ProcessFailure)


def test_tasks_are_taken_when_a_process_is_free():
    taken = []

    def tasks():
        for n in range(50):
            taken.append(n)
            yield 0.0

    results = outcomes(sleep, tasks(), processes=2)
    assert taken == []
    next(results)
    assert len(taken) <= 4
    results.close()


@pytest.mark.parametrize("with_torch", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_thread_and_the_environment_only_in_the_process(monkeypatch, with_torch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    [(_, (counts, variable, process))] = outcomes(threads, [with_torch], processes=1)
    assert counts == {1} and variable == "1"
    assert process != os.getpid() and os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("initializer, words", [(refuse, "there is no such method"), (die, "exit status 1")])
def test_a_process_that_cannot_begin_ends_all(initializer, words):
    with pytest.raises(WorkerStartError, match=words):
        list(outcomes(sleep, [0.0] * 5, processes=2, initializer=initializer))


def test_no_processes_are_refused_and_no_tasks_give_nothing():
    with pytest.raises(ValueError, match="at least one process"):
        next(outcomes(sleep, [0.0], processes=0))
    assert list(outcomes(sleep, [], processes=2)) == []


def test_a_stop_lets_tasks_end_and_begins_no_more():
    stop, found = StopRequest(), []
    for _, value in outcomes(sleep, [0.0, 0.5, 0.5, 0.5, 0.5], processes=2, stop=stop):
        found.append(value)
        stop.signal = signal.SIGTERM
    assert 1 <= len(found) <= 3


def test_a_stop_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(pool, "_GRACE", 0.3)
    stop, begin = StopRequest(), time.monotonic()
    for _ in outcomes(sleep, [0.0, 60.0], processes=2, stop=stop):
        stop.signal = signal.SIGINT
    assert time.monotonic() - begin < 30


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at /proc")
def test_processes_and_their_programs_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "from ase_nbody.labelling.pool import outcomes\n"
        "def work(x):\n"
        "    program = subprocess.Popen(['sleep', '60'])\n"
        "    open(f'process{x}', 'w').write(f'{os.getpid()} {program.pid}')\n"
        "    program.wait()\n"
        "if __name__ == '__main__':\n"
        "    list(outcomes(work, range(2), processes=2))\n"
    )
    parent = subprocess.Popen([sys.executable, script], cwd=tmp_path)
    files = [tmp_path / f"process{x}" for x in range(2)]
    wait_for(lambda: all(file.exists() and len(file.read_text().split()) == 2 for file in files))
    processes = [int(word) for file in files for word in file.read_text().split()]
    assert all(alive(process) for process in processes)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(alive(process) for process in processes))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


class Torn:
    """Raises an error where it is unpickled."""

    def __reduce__(self):
        return refuse, ()


def test_a_task_that_cannot_be_read_is_a_failure():
    found = dict(outcomes(sleep, [0.0, Torn(), 0.1], processes=1))
    assert (found[0], found[2]) == (0.0, 0.1)
    assert found[1] == ProcessFailure("ValueError: there is no such method")
