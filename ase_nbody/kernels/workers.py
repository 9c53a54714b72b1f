"""Threads of ours in which torch uses one thread, for parts of a batch side by side.

Sharing every small matrix product between torch's own threads costs more than it gives, and much more where others use
the machine too. torch's number of threads belongs to the calling thread, so that of others stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")


def side_by_side(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Results of the tasks, each done in a thread of its own, without autograd; one task is done by the caller."""
    if len(tasks) == 1:
        return [tasks[0]()]
    futures = [_pool(os.getpid(), len(tasks)).submit(task) for task in tasks]
    return [future.result() for future in futures]


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Let torch and the kernels use so many threads inside; as many as they would if None."""
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """One pool per process and size: a forked child does not inherit its parent's threads."""
    ready = Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread takes over the process's number when it first asks, which must come first
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        ready.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=f"ase_nbody-parts-{process}", initializer=start)
    for _ in range(workers):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(before)  # what threads that others start later begin with
    return pool
