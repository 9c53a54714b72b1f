"""Memory of training passes, kept for the next: fresh memory costs a fifth of a step."""

from __future__ import annotations

import math
import weakref
from threading import Lock

import torch
from torch import Tensor


class Arena:
    """One piece of memory from which the arrays of a pass are cut."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0)
        self._used = 0

    def empty(self, like: Tensor, *shape: int) -> Tensor:
        """An array of a tensor's dtype, not filled in; of its own where the memory is too small."""
        size = math.prod(shape)
        begin = self._used
        self._used += size + -size % 16  # rows begin where vectors do
        if self._buffer.dtype != like.dtype or self._used > len(self._buffer):
            return like.new_empty(shape)
        return self._buffer[begin : begin + size].view(shape)

    def clear(self, like: Tensor) -> None:
        """Forget all arrays, and make room for as many as there were."""
        if self._buffer.dtype != like.dtype or self._used > len(self._buffer):
            self._buffer = like.new_empty(self._used + self._used // 8)
        self._used = 0


class SpareArenas:
    """Arenas that no pass uses. Copies and pickles begin without any."""

    def __init__(self) -> None:
        self._spare: list[Arena] = []
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[SpareArenas], tuple[()]]:
        return SpareArenas, ()

    def take(self, user: object, like: Tensor) -> Arena:
        """An arena for a pass, which comes back when the pass is gone."""
        with self._lock:
            arena = self._spare.pop() if self._spare else Arena()
        arena.clear(like)
        weakref.finalize(user, self._spare.append, arena).atexit = False
        return arena
