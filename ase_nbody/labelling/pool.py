"""Tasks over processes of one thread each: one that crashes or takes too long costs its own task and no other.

`concurrent.futures` gives up all tasks when one process dies. Here each process has a pipe of its own and one task at a
time, so that it is always known whose task it was.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from ase_nbody.labelling.worker import ProcessFailure, work
from ase_nbody.stopping import StopRequest

__all__ = ["ProcessFailure", "WorkerStartError", "outcomes"]

T = TypeVar("T")
R = TypeVar("R")

_LOOK = 0.1  # seconds between looks at time limits and stop requests
_GRACE = 5.0  # seconds that tasks in progress have after a stop request
_FAREWELL = 2.0  # seconds that an idle process has to end by itself


class WorkerStartError(RuntimeError):
    """A process died, or its initializer raised an error, before it had its first task."""


def outcomes(
    function: Callable[[T], R],
    tasks: Iterable[T],
    *,
    processes: int,
    time_limit: float | Callable[[T], float] | None = None,
    initializer: Callable[[], None] | None = None,
    stop: StopRequest | None = None,
) -> Generator[tuple[int, R | ProcessFailure]]:
    """Results of a function for many tasks, each as soon as it is there, in no order.

    A process has one task at a time. Processes are spawned, compute with one thread each, are not reached by Ctrl-C,
    and end with their parent, even if that is killed.

    Args:
        function: of a module, so that it can be pickled, as arguments and results can.
        tasks: arguments; the next is taken once a process is free.
        processes: how many at most.
        time_limit: for one task, seconds, or a function that gives them for a task; its process is killed then, with
            the programs that it started.
        initializer: called once in each process, before its first task.
        stop: once it is filled in, no task is begun, and those in progress have five seconds to end.

    Returns:
        Numbers of tasks, from 0, each with its result or why there is none.

    Raises:
        ValueError: there is not at least one process.
        WorkerStartError: a process does not get as far as its first task.
    """
    if processes < 1:
        raise ValueError(f"tasks need at least one process, not {processes}")
    setup = _Setup(function, initializer, time_limit)
    crew: _Crew[T, R] = _Crew(setup, enumerate(tasks), stop or StopRequest())
    try:
        crew.hire(processes)
        while crew.is_at_work:
            yield from crew.results()
    finally:
        crew.end()


@dataclass(frozen=True)
class _Setup:
    """What all processes of a call have in common."""

    function: Callable[[Any], Any]
    initializer: Callable[[], None] | None
    time_limit: float | Callable[[Any], float] | None

    def limit(self, task: Any) -> float | None:
        return self.time_limit(task) if callable(self.time_limit) else self.time_limit


class _Worker:
    """A process, its pipe, and the task that it has, which it is given once it is ready."""

    def __init__(self, setup: _Setup, number: int, task: Any) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True, name="nbody-worker")
        self.process.start()
        theirs.close()  # so that the pipe ends with the process
        self.number, self._task, self._setup = number, task, setup
        self._begin: float | None = None
        self._limit: float | None = None
        self._send((setup.function, setup.initializer))

    @property
    def has_begun(self) -> bool:
        """Whether it was given its task."""
        return self._begin is not None

    @property
    def is_late(self) -> bool:
        """Whether its task takes longer than allowed."""
        return self._limit is not None and self._begin is not None and time.monotonic() - self._begin > self._limit

    def report(self, request: StopRequest) -> tuple[Any] | None:
        """The result of its task, or the failure; None from a process that has just become ready.

        Raises:
            WorkerStartError: it did not become ready, and nobody asked for a stop.
        """
        message = self._received()
        if message is None:
            late = self.is_late and self.process.is_alive()
            self.kill()
            self.process.join()
            reason = f"took longer than the time limit of {self._limit:g} s" if late else _death(self.process.exitcode)
            message = (ProcessFailure(reason),)
        if self._begin is not None:
            return message
        if message[0] is not None and not request.signal:
            raise WorkerStartError(_start_words(message[0].reason))
        if message[0] is None:
            self._give()
        return None

    def takes(self, number: int, task: Any) -> bool:
        """Give it another task; False if it is dead."""
        if not self.process.is_alive():
            return False
        self.number, self._task = number, task
        self._give()
        return True

    def dismiss(self) -> None:
        """Let an idle process end by itself."""
        self.connection.close()

    def kill(self) -> None:
        """End the process, and the programs that it started."""
        if self.process.is_alive():
            with suppress(OSError):  # it does not lead a group of its own yet
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.kill()

    def join(self) -> None:
        """Wait for the end of the process, not long."""
        self.connection.close()
        self.process.join(_FAREWELL)
        self.kill()
        self.process.join()

    def _received(self) -> tuple[Any] | None:
        try:
            message: tuple[Any] | None = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            message = None
        return message

    def _give(self) -> None:
        self._limit = self._setup.limit(self._task)
        self._begin = time.monotonic()
        self._send(self._task)

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # a process that died is seen by its pipe
            self.connection.send(message)


class _Crew(Generic[T, R]):
    """The workers of a call: those with a task, and those that are ended but may live still.

    Args:
        setup: what they have in common.
        tasks: with their numbers; taken when a worker is free.
        stop: once it is filled in, no task is begun, and those in progress have five seconds.
    """

    def __init__(self, setup: _Setup, tasks: Iterator[tuple[int, T]], stop: StopRequest) -> None:
        self._setup, self._tasks, self._stop = setup, tasks, stop
        self._working: list[_Worker] = []
        self._retired: list[_Worker] = []
        self._last_moment = math.inf

    @property
    def is_at_work(self) -> bool:
        """Whether results may come."""
        return bool(self._working) and time.monotonic() < self._last_moment

    def hire(self, count: int) -> None:
        """Start workers, at most so many, and no more than there are tasks."""
        self._working += [_Worker(self._setup, *task) for task in islice(self._tasks, count)]

    def results(self) -> Iterator[tuple[int, R | ProcessFailure]]:
        """Numbers and results of the tasks that ended within a moment; their workers have the next ones."""
        if self._stop.signal and self._last_moment == math.inf:
            self._last_moment = time.monotonic() + _GRACE
            self._dismiss_idle()
        for worker in self._reporting():
            value = worker.report(self._stop)
            if value is None:
                continue
            number = worker.number
            self._give_next(worker)
            yield number, value[0]

    def end(self) -> None:
        """Kill who has a task, and wait for all."""
        for worker in self._working:
            worker.kill()
        for worker in (*self._working, *self._retired):
            worker.join()

    def _give_next(self, worker: _Worker) -> None:
        """Give a worker the next task, or end it; one that died is replaced."""
        following = None if self._stop.signal else next(self._tasks, None)
        if following is not None and worker.takes(*following):
            return
        self._working.remove(worker)
        self._retired.append(worker)
        worker.dismiss()
        if following is not None:
            self._working.append(_Worker(self._setup, *following))

    def _reporting(self) -> list[_Worker]:
        """Workers that sent something, died or are late, if there are such within a moment."""
        signs = {sign: worker for worker in self._working for sign in (worker.connection, worker.process.sentinel)}
        ready = {id(signs[sign]) for sign in wait(list(signs), _LOOK)}  # type: ignore[index]
        return [worker for worker in self._working if id(worker) in ready or worker.is_late]

    def _dismiss_idle(self) -> None:
        """End workers that have not begun their task."""
        idle = [worker for worker in self._working if not worker.has_begun]
        for worker in idle:
            worker.kill()
        self._working = [worker for worker in self._working if worker.has_begun]
        self._retired += idle


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else "unknown"
        memory = "; the system does so when memory runs out" if -exit_code == signal.SIGKILL else ""
        return f"the process died of signal {-exit_code} ({name}{memory})"
    return f"the process ended with exit status {exit_code}"


def _start_words(reason: str) -> str:
    return (
        f"a process that was to compute did not begin: {reason}. What it printed stands above; in a script, calls that "
        "start processes stand below `if __name__ == '__main__':`"
    )
