"""Threads that stay awake between evaluations, so that a step of a small molecule can be shared among them.

To wake a thread through Python takes about 100 us, a tenth of such a step. A helper that has finished its work waits
for more, offering the processor to others all the time, and sleeps when none has come for about two milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock, local

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.compiler.cpu import compiled
from ase_nbody.compiler.team_code import ANSWER, HELPER, POST, yield_address

_WAITING, _CALLED = 1, 2  # states beside 0, asleep


class Scratch:
    """Memory that one thread uses for one run after another."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def address(self, size: int) -> int:
        """Where at least so many bytes begin, with whatever is there."""
        if self._memory.numel() < size:
            self._memory = torch.empty(size, dtype=torch.uint8)
        return self._memory.data_ptr()


class _Own(local):
    """What every thread has for itself."""

    def __init__(self) -> None:
        self.scratch = Scratch()


own = _Own()


class Helper:
    """One thread of this process that runs a program's phases beside the caller.

    Attributes:
        state: whether it sleeps, waits for work or has been called and not yet finished.
    """

    def __init__(self) -> None:
        self._post: NDArray[np.int64] = np.zeros(POST, dtype=np.int64)
        self._post[1] = yield_address()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ase_nbody-helper")
        self._scratch = Scratch()
        self._kept: tuple[NDArray[np.int64], ...] = ()

    @property
    def state(self) -> int:
        """0 asleep, 1 waiting, 2 called."""
        return int(self._post[0])

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
        _functions()["offer"](_WAITING, _CALLED, self._post.ctypes.data)
        if not self._post[ANSWER]:  # asleep
            self._post[0] = _CALLED
            self._thread.submit(_functions()["stand_by"], 0, 0, self._post.ctypes.data)


@contextmanager
def helpers(count: int) -> Iterator[list[Helper]]:
    """So many helpers that nobody else calls in the meantime."""
    found = _spare(os.getpid())
    with _lock:
        taken = [found.pop() if found else Helper() for _ in range(count)]
    try:
        yield taken
    finally:
        with _lock:
            found.extend(reversed(taken))


_lock = Lock()


@cache
def _spare(process: int) -> list[Helper]:
    """Those of one process: a forked child does not inherit its parent's threads."""
    return []


@cache
def _functions() -> dict[str, Callable[..., None]]:
    return compiled(HELPER, ["stand_by", "offer"], 1)
