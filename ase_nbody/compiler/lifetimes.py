"""Arrays that are never needed at the same time take the same memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class LiveRange(NamedTuple):
    """When an array is needed, and how much memory it takes.

    Attributes:
        first: number of the first phase that uses it.
        last: number of the last one.
        length: numbers in each row.
    """

    first: int
    last: int
    length: int

    def overlaps(self, other: LiveRange) -> bool:
        """Whether both are needed in one phase."""
        return self.first <= other.last and other.first <= self.last


def hosts(ranges: Mapping[str, LiveRange]) -> dict[str, str]:
    """For each array the one whose memory it takes: itself, or a longer one that no phase between needs.

    Args:
        ranges: of arrays with equal numbers of rows, by their names.

    Examples:
        >>> hosts({"a": LiveRange(0, 1, 8), "b": LiveRange(1, 2, 4), "c": LiveRange(2, 3, 6)})
        {'a': 'a', 'c': 'a', 'b': 'b'}
    """
    guests: dict[str, list[LiveRange]] = {}
    taken: dict[str, str] = {}
    for name, own in sorted(ranges.items(), key=lambda item: -item[1].length):
        free = (host for host, others in guests.items() if not any(own.overlaps(other) for other in others))
        host = taken[name] = next(free, name)
        guests.setdefault(host, []).append(own)
    return taken
