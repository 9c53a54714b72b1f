"""The pool of threads: who borrows, who waits, what reaches the caller, and what a forked process has."""

import multiprocessing
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, Timer, get_ident

import numpy as np
import pytest
import torch
from ase import Atoms
from nbody_networks import potential, rattled, structures
from test_programs import doubling

from ase_nbody import NBodyCalculator
from ase_nbody import thread_count as thread_count_module
from ase_nbody.compiler import programs, thread_pool
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.programs import Program
from ase_nbody.compiler.team_code import STANDING_BY, control
from ase_nbody.compiler.thread_pool import PoolThread, borrowed_threads, run_ranges, side_by_side
from ase_nbody.devices import plain_torch
from ase_nbody.thread_count import thread_count, threads_worth, using_threads
from ase_nbody.timings import Timings

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
PATIENCE = 60  # seconds


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def assert_doubles(program: Program, threads: int) -> None:
    rows = torch.rand(300, 4, dtype=torch.float64)
    out = torch.zeros_like(rows)
    bounds = {"double": np.arange(301, dtype=np.int64)}
    program.run(program.addresses({"rows": rows, "out": out}), bounds, threads, Timings())
    assert torch.equal(out, 2 * rows)


def assert_asleep(threads: list[PoolThread]) -> None:
    """They sleep a while after their last work."""
    latest = time.monotonic() + PATIENCE
    while any(thread.state for thread in threads):
        assert time.monotonic() < latest
        time.sleep(0.01)


# --- phases of programs ----------------------------------------------------------------------------------------------


def test_threads_that_never_come_hold_up_nobody() -> None:
    program, gate = doubling(), Event()
    with borrowed_threads(2) as threads:
        assert_asleep(threads)  # those awake from before would come
        busy = [thread.submit(gate.wait) for thread in threads]
    try:
        for _ in range(3):
            assert_doubles(program, 3)
        assert [thread.state for thread in threads] == [2, 2]  # called, and not there yet
    finally:
        gate.set()
    for task in busy:
        task.result()
    assert_asleep(threads)  # those that come late find nothing to do
    assert_doubles(program, 3)


def test_threads_are_called_asleep_and_awake() -> None:
    program = doubling()
    with borrowed_threads(1) as threads:
        pass
    for pause in (0.0, 1e-4, 1e-3, 3e-3, 0.05):
        for _ in range(20):
            assert_doubles(program, 2)
            time.sleep(pause)
    assert_asleep(threads)


def call(thread: PoolThread, program: Program, rows: torch.Tensor, out: torch.Tensor) -> None:
    bounds = {"double": np.arange(len(rows) + 1, dtype=np.int64)}
    thread.call(program._whole, program.addresses({"rows": rows, "out": out}), 0, control(bounds))


def test_threads_that_wait_for_phases_come_for_tasks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = re.sub(r"(%late = icmp sge i64 %following), \d+", rf"\1, {2**62}", STANDING_BY)
    functions = compiled(patient, ["stand_by", "offer"], 1)
    monkeypatch.setattr(thread_pool, "_functions", lambda: functions)  # those that wait never go to sleep
    program, thread = doubling(), PoolThread()
    for _ in range(3):
        rows, out = torch.rand(30, 4, dtype=torch.float64), torch.zeros(30, 4, dtype=torch.float64)
        call(thread, program, rows, out)
        thread.join()
        assert thread.state == 1
        assert torch.equal(out, 2 * rows)
        assert thread.submit(get_ident).result(PATIENCE) != get_ident()
        assert thread.state == 0


def test_phases_need_no_thread_at_the_end_of_the_interpreter() -> None:
    thread = PoolThread()
    thread._executor.shutdown()
    rows, out = torch.rand(30, 4, dtype=torch.float64), torch.zeros(30, 4, dtype=torch.float64)
    call(thread, doubling(), rows, out)
    thread.join()  # it counts as asleep
    assert thread.state == 0 and not out.any()


def test_phases_that_are_interrupted_end_before_the_caller_goes_on() -> None:
    program, gate = doubling(), Event()
    rows, out = torch.rand(30, 4, dtype=torch.float64), torch.zeros(30, 4, dtype=torch.float64)
    with pytest.raises(KeyboardInterrupt), borrowed_threads(1) as threads:
        assert_asleep(threads)
        threads[0].submit(gate.wait)
        call(threads[0], program, rows, out)
        Timer(0.2, gate.set).start()
        raise KeyboardInterrupt
    assert threads[0].state != 2
    assert torch.equal(out, 2 * rows)


# --- tasks and ranges ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("three_threads")
def test_threads_of_others_are_left_as_they_are() -> None:
    PoolThread()
    assert side_by_side([torch.get_num_threads] * 4) == [1] * 4
    assert side_by_side([torch.is_grad_enabled] * 4) == [False] * 4
    assert torch.get_num_threads() == 3 and torch.is_grad_enabled()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


def test_one_task_is_done_by_the_caller_and_several_by_threads_of_their_own() -> None:
    assert side_by_side([get_ident]) == [get_ident()]
    assert len({get_ident(), *side_by_side([get_ident] * 3)}) == 4


def test_threads_are_lent_again_in_the_same_order_also_after_an_error() -> None:
    with borrowed_threads(3) as first:
        pass
    with pytest.raises(ZeroDivisionError), borrowed_threads(3) as second:
        fail("an error")
    with borrowed_threads(3) as third:
        assert first == second == third


def test_work_inside_work_gets_threads_of_its_own() -> None:
    """All four meet: a pool that lends no more than two at once would never let them."""
    barrier = Barrier(4)
    meet = partial(barrier.wait, PATIENCE)
    results = side_by_side([partial(side_by_side, [meet, meet])] * 2)
    assert sorted(results[0] + results[1]) == [0, 1, 2, 3]


def fail(message: str) -> None:
    raise ZeroDivisionError(message)


def test_what_a_task_raises_reaches_the_caller_when_all_have_ended() -> None:
    ended: list[int] = []

    def slow() -> None:
        time.sleep(0.2)
        ended.append(1)

    with pytest.raises(ZeroDivisionError, match="first"):
        side_by_side([partial(fail, "first"), partial(fail, "second"), slow, slow])
    assert ended == [1, 1]
    assert side_by_side([int, int]) == [0, 0]


@pytest.mark.parametrize("failing", [0, 10, 20])
def test_what_a_range_raises_reaches_the_caller_when_all_have_ended(failing: int) -> None:
    ended: list[tuple[int, int]] = []

    def kernel(begin: int, end: int, address: int) -> None:
        if begin == failing:
            fail(f"range of {address}")
        time.sleep(0.02 * begin)
        ended.append((begin, end))

    with pytest.raises(ZeroDivisionError, match="range of 7"):
        run_ranges(kernel, [0, 10, 20, 25], [7])
    assert sorted(ended) == [ends for ends in ((0, 10), (10, 20), (20, 25)) if ends[0] != failing]


def test_ranges_are_run_once_each_the_first_by_the_caller() -> None:
    seen: list[tuple[int, int, bool]] = []
    caller = get_ident()
    run_ranges(lambda begin, end: seen.append((begin, end, get_ident() == caller)), [0, 3, 3, 8], [])
    assert sorted(seen) == [(0, 3, True), (3, 3, False), (3, 8, False)]


# --- who evaluates at once -------------------------------------------------------------------------------------------


def test_python_threads_have_threads_of_their_own() -> None:
    program = doubling()
    tasks: list[Callable[[], object]] = [
        partial(assert_doubles, program, 3),
        partial(side_by_side, [partial(assert_doubles, program, 2)] * 2),
    ]
    with ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(task) for task in tasks * 100]:
            task.result()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_calculators_that_share_phases_among_threads_at_once_are_right(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SMALLEST_WORK", 0)
    monkeypatch.setattr(programs, "SMALLEST_SHARE", 1)
    crystal = structures()[1] * (2, 2, 2)
    frames = [rattled(crystal, seed) for seed in range(5)]
    alone = [forces(calculator(1, dtype), frame) for frame in frames]
    shared = [calculator(threads, dtype) for threads in (2, 3)]
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda one: [forces(one, frame) for frame in frames * 3], shared):
            assert all(np.array_equal(a, b) for a, b in zip(found, alone * 3, strict=True))


def calculator(threads: int | None, dtype: str = "float64") -> NBodyCalculator:
    return NBodyCalculator(potential(torch.float64), device="cpu", dtype=dtype, threads=threads, outside="ignore")


def forces(one: NBodyCalculator, atoms: Atoms) -> np.ndarray:
    return one.get_property("forces", atoms)


# --- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize(
    ("work", "most", "expected"), [(0, 9, 1), (199, 9, 1), (200, 9, 2), (1e9, 9, 3), (1e9, 2, 2), (1e9, 0, 1)]
)
def test_work_is_shared_among_as_many_threads_as_torch_uses_where_it_is_worth_it(
    work: float, most: int, expected: int
) -> None:
    assert threads_worth(work, 100, most) == expected


@pytest.mark.usefixtures("three_threads")
def test_numbers_of_threads_hold_inside_only() -> None:
    with using_threads(2):
        assert (thread_count(), torch.get_num_threads()) == (2, 2)
        with using_threads(None):
            assert (thread_count(), torch.get_num_threads()) == (2, 2)
    assert (thread_count(), torch.get_num_threads()) == (3, 3)


@pytest.mark.usefixtures("three_threads")
def test_torch_uses_one_thread_in_a_forked_process_and_the_pool_as_many_as_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thread_count_module, "_PROCESS", -1)
    with plain_torch():  # as calculators work
        assert (thread_count(), torch.get_num_threads()) == (3, 1)
    with using_threads(None):
        assert (thread_count(), torch.get_num_threads()) == (3, 1)
        with using_threads(2):
            assert (thread_count(), torch.get_num_threads()) == (2, 1)
            assert side_by_side([thread_count] * 2) == [1, 1]
        with using_threads(None):
            assert (thread_count(), torch.get_num_threads()) == (3, 1)
    assert (thread_count(), torch.get_num_threads()) == (3, 3)


# --- forks -----------------------------------------------------------------------------------------------------------


def assert_works_in_a_fork(task: Callable[[], object]) -> None:
    child = multiprocessing.get_context("fork").Process(target=task)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child.start()
    child.join(PATIENCE)
    hangs = child.is_alive()
    child.kill()
    child.join()
    assert not hangs and child.exitcode == 0


def use_the_pool(program: Program) -> None:
    assert_doubles(program, 2)
    assert side_by_side([int, int]) == [0, 0]
    run_ranges(lambda begin, end: None, [0, 1, 2], [])


@FORKS
def test_a_forked_process_has_threads_of_its_own() -> None:
    program = doubling()
    use_the_pool(program)
    assert_works_in_a_fork(partial(use_the_pool, program))
    with thread_pool._pool(os.getpid())._lock:  # as another thread may hold it in that moment
        assert_works_in_a_fork(partial(use_the_pool, program))
    use_the_pool(program)


@FORKS
@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("threads", [None, 2])
def test_calculators_work_in_a_forked_process(threads: int | None) -> None:
    crystal = structures()[1] * (4, 4, 4)
    expected = forces(calculator(threads), crystal)
    torch.ones(1_000_000).exp_()  # starts torch's own threads, which the child does not have

    def evaluate() -> None:
        assert np.array_equal(forces(calculator(threads), crystal), expected)

    assert_works_in_a_fork(evaluate)
