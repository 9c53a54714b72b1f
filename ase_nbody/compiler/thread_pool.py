"""The package's one pool of threads: tasks of Python, ranges of a kernel, and phases of a program run in its threads.

Who wants threads borrows them, and nobody else uses them in the meantime; when all are lent, new ones start. So work
inside work, and work of several Python threads, never waits for a thread. A forked process begins with an empty pool,
and idle threads end with the interpreter.

To wake a thread through Python takes about 100 us, a tenth of the step of a small molecule. A thread that has finished
phases waits for more, offering the processor to others all the time, and sleeps when none have come for about two
milliseconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from threading import Lock, local
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.team_code import ANSWER, DISMISSED, POST, STANDING_BY, yield_address

Result = TypeVar("Result")

_ASLEEP, _WAITING, _CALLED = 0, 1, 2


def side_by_side(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Results of tasks, each done in a thread of its own without autograd, where torch uses one thread.

    To share every small matrix product between torch's own threads costs more than it gives, and much more where others
    use the machine too. One task alone is done by the caller.

    Raises:
        Exception: what the first of the tasks that failed raised, when all have ended.
    """
    if len(tasks) == 1:
        return [tasks[0]()]
    with borrowed_threads(len(tasks)) as threads:
        return _results([thread.submit(task) for thread, task in zip(threads, tasks, strict=True)])


def run_ranges(kernel: Callable[..., None], bounds: Sequence[int], pointers: Sequence[int]) -> None:
    """Run a kernel over consecutive ranges at once, the first of them in the calling thread.

    Args:
        kernel: of begin, end and pointers; it releases the GIL.
        bounds: of the ranges, (ranges + 1,).
        pointers: addresses of arrays.

    Raises:
        Exception: what the first of the ranges that failed raised, when all have ended.
    """
    first, *others = pairwise(bounds)
    if not others:
        kernel(*first, *pointers)
        return
    with borrowed_threads(len(others)) as threads:
        futures = [thread.submit(kernel, *ends, *pointers) for thread, ends in zip(threads, others, strict=True)]
        try:
            kernel(*first, *pointers)
        finally:
            _results(futures)


class Scratch:
    """Memory that one thread uses for one run after another."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def address(self, size: int) -> int:
        """Where at least so many bytes begin, with whatever is there."""
        if self._memory.numel() < size:
            self._memory = torch.empty(size, dtype=torch.uint8)
        return self._memory.data_ptr()


class _OwnScratch(local):
    """The scratch memory of every thread that is not of the pool."""

    def __init__(self) -> None:
        self.scratch = Scratch()


own = _OwnScratch()


class PoolThread:
    """One thread of the pool. It works without autograd, and torch uses one thread in it."""

    def __init__(self) -> None:
        self._post: NDArray[np.int64] = np.zeros(POST, dtype=np.int64)
        self._post[1] = yield_address()
        self._scratch = Scratch()
        self._kept: tuple[NDArray[np.int64], ...] = ()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ase_nbody", initializer=_work_alone)
        before = torch.get_num_threads()
        self._executor.submit(int).result()
        torch.set_num_threads(before)  # what threads that others start later begin with

    @property
    def state(self) -> int:
        """0 asleep or at a task, 1 waiting for phases, 2 called for phases and not yet finished."""
        return int(self._post[0])

    def submit(self, task: Callable[..., Result], *arguments: object) -> Future[Result]:
        """Let it do a task; if it is waiting for phases, it stops that."""
        self._post[DISMISSED] = 1
        return self._executor.submit(task, *arguments)

    def call(self, function: int, addresses: NDArray[np.int64], scratch_bytes: int, control: NDArray[np.int64]) -> None:
        """Let it call a function of `team_code`, unless it is still at what it was called for before.

        Args:
            function: its address.
            addresses: of the arrays.
            scratch_bytes: size of the scratch space that it needs.
            control: of this run.
        """
        if self.state == _CALLED:
            return
        scratch = self._scratch.address(scratch_bytes)
        self._kept = addresses, control  # it may still look at them when the caller has gone on
        self._post[2:6] = function, addresses.ctypes.data, scratch, control.ctypes.data
        self._post[DISMISSED] = 0
        _functions()["offer"](_WAITING, _CALLED, self._post.ctypes.data)
        if not self._post[ANSWER]:
            self._wake()

    def _wake(self) -> None:
        self._post[0] = _CALLED
        try:
            self._executor.submit(_functions()["stand_by"], 0, 0, self._post.ctypes.data)
        except RuntimeError:  # the interpreter ends; the caller finishes all phases without it
            self._post[0] = _ASLEEP

    def join(self) -> None:
        """Wait until it has finished the phases that it was called for."""
        while self.state == _CALLED:
            time.sleep(0)


@contextmanager
def borrowed_threads(count: int) -> Iterator[list[PoolThread]]:
    """So many threads of the pool, which nobody else uses in the meantime.

    On an error they finish their phases first: these use arrays of the caller.
    """
    pool = _pool(os.getpid())
    threads = pool.take(count)
    try:
        yield threads
    except BaseException:
        for thread in threads:
            thread.join()
        raise
    finally:
        pool.give_back(threads)


class _Pool:
    """Threads of one process that nobody uses."""

    def __init__(self) -> None:
        self._spare: list[PoolThread] = []
        self._lock = Lock()

    def take(self, count: int) -> list[PoolThread]:
        """Those used last before others: they may be awake."""
        with self._lock:
            return [self._spare.pop() if self._spare else PoolThread() for _ in range(count)]

    def give_back(self, threads: Sequence[PoolThread]) -> None:
        """In the order in which they are to be taken."""
        with self._lock:
            self._spare.extend(reversed(threads))


@cache
def _pool(process: int) -> _Pool:
    """The pool of one process: a forked child does not inherit its parent's threads, and its locks may be held."""
    return _Pool()


def _work_alone() -> None:
    torch.get_num_threads()  # a thread takes over the process's number when it first asks, which must come first
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def _results(futures: Sequence[Future[Result]]) -> list[Result]:
    """Results when all have ended, also where one failed: they use what the caller holds."""
    for future in futures:
        future.exception()
    return [future.result() for future in futures]


@cache
def _functions() -> dict[str, Callable[..., None]]:
    return compiled(STANDING_BY, ["stand_by", "offer"], 1)
