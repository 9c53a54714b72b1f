"""Irreps of states with their multiplicities: a block for each irrep."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ase_nbody.algebra import Irrep, Irreps
from ase_nbody.algebra.irreps import parse_irreps


class Block(NamedTuple):
    """The part of a state that has one irrep, (N, 2l + 1, columns).

    Attributes:
        irrep: by which it turns.
        columns: channels times paths.
    """

    irrep: Irrep
    columns: int

    @property
    def length(self) -> int:
        """Numbers of an atom."""
        return self.irrep.dimension * self.columns


StateIrreps = tuple[Block, ...]
"""Of a state; irreps differ."""


def state_irreps(irreps: Irreps, channels: int, multiplicities: Iterable[int] | None = None) -> StateIrreps:
    """Irreps of a state of equal channels, times the paths that lead to each irrep.

    Example:
        >>> state_irreps((Irrep(0, 1), Irrep(1, -1)), 8, (2, 1))
        (Block(irrep=Irrep(degree=0, parity=1), columns=16), Block(irrep=Irrep(degree=1, parity=-1), columns=8))
    """
    counts = [1] * len(irreps) if multiplicities is None else multiplicities
    return tuple(Block(irrep, channels * count) for irrep, count in zip(irreps, counts, strict=True))


def parse_state_irreps(text: str) -> StateIrreps:
    """Irreps of a state from text such as "64x0e+32x1o".

    Raises:
        ValueError: a part is not a number of channels, x, and an irrep.

    Example:
        >>> parse_state_irreps("64x0e+32x1o")[1].columns
        32
    """
    parts = [re.fullmatch(r"(\d+)x(\d+[eo])", part.strip()) for part in text.split("+")]
    if not all(parts):
        raise ValueError(f"states must look like '64x0e+32x1o', not {text!r}")
    return tuple(Block(parse_irreps(p[2])[0], int(p[1])) for p in parts if p is not None)
