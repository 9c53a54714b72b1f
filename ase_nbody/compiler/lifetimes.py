"""Arrays that are never needed at the same time take the same memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Life(NamedTuple):
    """When an array is needed, and how much memory it takes.

    Attributes:
        first: number of the first phase that uses it.
        last: number of the last one.
        length: numbers in each row.
    """

    first: int
    last: int
    length: int

    def meets(self, other: Life) -> bool:
        """Whether both are needed in one phase."""
        return self.first <= other.last and other.first <= self.last


def hosts(lives: Mapping[str, Life]) -> dict[str, str]:
    """For each array the one whose memory it takes: itself, or a longer one that no phase between needs.

    Args:
        lives: of arrays with equal numbers of rows, by their names.

    Examples:
        >>> hosts({"a": Life(0, 1, 8), "b": Life(1, 2, 4), "c": Life(2, 3, 6)})
        {'a': 'a', 'c': 'a', 'b': 'b'}
    """
    guests: dict[str, list[Life]] = {}
    taken: dict[str, str] = {}
    for name, life in sorted(lives.items(), key=lambda item: -item[1].length):
        free = (host for host, others in guests.items() if not any(life.meets(other) for other in others))
        host = taken[name] = next(free, name)
        guests.setdefault(host, []).append(life)
    return taken
