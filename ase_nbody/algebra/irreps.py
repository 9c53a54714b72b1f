"""Irreps of O(3): degree and parity. Components are those of e3nn, without importing it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Irrep(NamedTuple):
    """One irreducible representation of O(3), written as in e3nn: "0e", "1o", ...

    Attributes:
        degree: l, the order of the representation.
        parity: +1 (even, "e") or -1 (odd, "o"). With even parity everywhere the group is SO(3), as in Kondor 2018.
    """

    degree: int
    parity: int

    @property
    def dimension(self) -> int:
        """2 l + 1."""
        return 2 * self.degree + 1

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"

    def products(self, other: Irrep) -> list[Irrep]:
        """Irreps in the tensor product of two: |l1 - l2| <= l <= l1 + l2, parities multiply (eq. 13)."""
        lowest, highest = abs(self.degree - other.degree), self.degree + other.degree
        return [Irrep(degree, self.parity * other.parity) for degree in range(lowest, highest + 1)]


Irreps = tuple[Irrep, ...]


def natural_irreps(max_degree: int) -> Irreps:
    """The irreps of the spherical harmonics 0e, 1o, 2e, ... up to a degree."""
    return tuple(Irrep(degree, (-1) ** degree) for degree in range(max_degree + 1))


def parse_irreps(text: str) -> Irreps:
    """Irreps from text such as "0e+1o+2e".

    Raises:
        ValueError: a part is not a degree followed by e or o.
    """
    parts = [re.fullmatch(r"(\d+)([eo])", part.strip()) for part in text.split("+")]
    if not all(parts):
        raise ValueError(f"irreps must look like '0e+1o+2e', not {text!r}")
    return tuple(Irrep(int(p[1]), 1 if p[2] == "e" else -1) for p in parts if p is not None)


def dimension(irreps: Irreps) -> int:
    """Number of components of one channel."""
    return sum(irrep.dimension for irrep in irreps)
