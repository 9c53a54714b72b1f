"""Timings: where the time of evaluations goes."""

from __future__ import annotations

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

    def measure(self, part: str) -> Measurement:
        """Add the time spent inside to a part."""
        return Measurement(self, part)

    def clear(self) -> None:
        """Forget everything measured so far."""
        self.seconds.clear()
        self.calls.clear()


class Measurement:
    """The time of what is done inside, for `with`; a class, since steps of small molecules enter ten of them."""

    def __init__(self, timings: Timings, part: str) -> None:
        self._timings, self._part = timings, part

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds, calls = self._timings.seconds, self._timings.calls
        seconds[self._part] = seconds.get(self._part, 0.0) + perf_counter() - self._started
        calls[self._part] = calls.get(self._part, 0) + 1
