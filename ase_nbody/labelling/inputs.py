"""The structures of a run: which can be labelled, and which of them are one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property

from ase import Atoms

from ase_nbody.labelling.journal import structure_hash
from ase_nbody.labelling.judgement import structure_problem


class Inputs:
    """Structures by number, what is wrong with some, and hashes of the others.

    Args:
        structures: they are only read.
    """

    def __init__(self, structures: Sequence[Atoms]) -> None:
        self.structures = structures
        words = ((n, structure_problem(atoms)) for n, atoms in enumerate(structures))
        self.problems = {n: problem for n, problem in words if problem is not None}
        self.hashes = {n: structure_hash(a) for n, a in enumerate(structures) if n not in self.problems}
        self._times = Counter(self.hashes.values())

    @cached_property
    def distinct(self) -> dict[bytes, int]:
        """Hashes that occur, with the number of the first structure of each."""
        return {key: n for n, key in reversed(self.hashes.items())}

    def count(self, keys: Collection[bytes]) -> int:
        """How many structures have one of these hashes."""
        return sum(self._times[key] for key in keys)
