"""How many threads the work of the calling thread may use: as many as torch, whose number users set.

A forked process inherits the state of torch's OpenMP threads without the threads, and the first large operation would
wait for them for ever. Where that may be, torch itself gets one thread, and the number is kept here for our own pool.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local

import torch

_PROCESS = os.getpid()


class _OwnCount(local):
    """The number that stands in place of torch's in the calling thread of a forked process."""

    threads: int | None = None


_own_count = _OwnCount()


def thread_count() -> int:
    """Threads that the calling thread may use for its work, itself included."""
    return _own_count.threads or torch.get_num_threads()


def threads_worth(work: float, smallest: float, most: int) -> int:
    """Threads among which work is worth sharing.

    Args:
        work: in all.
        smallest: work below which another thread costs more than it gives.
        most: shares that the work can be divided into.
    """
    return max(1, min(thread_count(), int(work / smallest), most))


def forked() -> bool:
    """Whether this process was forked from the one that imported this module."""
    return os.getpid() != _PROCESS


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Let torch and our own pool use so many threads inside, in the calling thread; as many as they would if None.

    Torch uses one in a forked process, whatever the number.
    """
    if threads is None and not forked():
        yield
        return
    before, own_before = torch.get_num_threads(), _own_count.threads
    if forked():
        _own_count.threads = threads or thread_count()
    torch.set_num_threads(1 if forked() else threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _own_count.threads = own_before
