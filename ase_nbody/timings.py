"""Timings: where the time of evaluations goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Timings:
    """Seconds and calls of each part of the work, added up.

    Attributes:
        seconds: by the name of the part.
        calls: by the name of the part.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time spent inside to a part."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + perf_counter() - started
            self.calls[part] = self.calls.get(part, 0) + 1

    def clear(self) -> None:
        """Forget everything measured so far."""
        self.seconds.clear()
        self.calls.clear()
