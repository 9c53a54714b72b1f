"""Which atoms of a molecule are bonded, and what a bond divides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from ase_nbody.simulation.fragments import BONDED

# In units of the sum of covalent radii. Vibrations at 1000 K stretch C-H to 1.35; an O...H that shares its proton lies
# at 1.25; the bridgeheads of bicyclo[1.1.1]pentane, which are not bonded, at 1.23.
BROKEN = 1.5
FORMED = 1.15


@dataclass(frozen=True, eq=False)
class BondGraph:
    """Atoms and the bonds between them.

    Attributes:
        numbers: atomic numbers, (N,).
        pairs: bonded atoms, the smaller index first, sorted, (B, 2).
    """

    numbers: NDArray[np.int64]
    pairs: NDArray[np.intp]

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Atoms bonded to each atom."""
        lists: list[list[int]] = [[] for _ in self.numbers]
        for first, second in self.pairs.tolist():
            lists[first].append(second)
            lists[second].append(first)
        return tuple(tuple(sorted(atoms)) for atoms in lists)

    @cached_property
    def matrix(self) -> NDArray[np.bool_]:
        """Whether two atoms are bonded, (N, N)."""
        bonded = np.zeros((len(self.numbers), len(self.numbers)), dtype=bool)
        bonded[self.pairs[:, 0], self.pairs[:, 1]] = True
        return bonded | bonded.T

    @cached_property
    def molecules(self) -> NDArray[np.intp]:
        """Number of the molecule that each atom belongs to, (N,)."""
        return np.asarray(connected_components(csr_array(self.matrix), directed=False)[1], dtype=np.intp)

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Equal numbers for atoms with equal surroundings along the bonds, (N,): Weisfeiler and Leman's refinement."""
        colours: list[int] = self.numbers.tolist()
        while True:
            signatures = [
                (colours[atom], *sorted(colours[other] for other in neighbours))
                for atom, neighbours in enumerate(self.neighbours)
            ]
            number = {signature: n for n, signature in enumerate(sorted(set(signatures)))}
            if len(number) == len(set(colours)):
                return tuple(colours)
            colours = [number[signature] for signature in signatures]

    def side(self, first: int, second: int) -> NDArray[np.intp] | None:
        """Atoms on the side of `second` once the bond is cut; None where a ring holds both ends together."""
        reached, front = {second}, [second]
        while front:
            atom = front.pop()
            for neighbour in self.neighbours[atom]:
                if (atom, neighbour) != (second, first) and neighbour not in reached:
                    reached.add(neighbour)
                    front.append(neighbour)
        return None if first in reached else np.array(sorted(reached), dtype=np.intp)

    def kinds_of_bonds(self) -> list[tuple[int, int]]:
        """One bond (first, second) of each kind: those whose ends have equal surroundings count as one."""
        kinds: dict[tuple[int, ...], tuple[int, int]] = {}
        for first, second in self.pairs.tolist():
            kinds.setdefault(tuple(sorted((self.classes[first], self.classes[second]))), (first, second))
        return list(kinds.values())


def distance_ratios(atoms: Atoms) -> NDArray[np.float64]:
    """Distances in units of the sum of covalent radii (Cordero et al. 2008, doi 10.1039/b801115j), (N, N), no cell."""
    radii = covalent_radii[atoms.numbers]
    ratios: NDArray[np.float64] = cdist(atoms.positions, atoms.positions) / (radii[:, None] + radii)
    return ratios


def bond_graph(atoms: Atoms) -> BondGraph:
    """Bonds of a molecule by its distances: up to 1.25 times the sum of the covalent radii.

    Args:
        atoms: a structure without periodicity.
    """
    bonded = np.triu(distance_ratios(atoms) <= BONDED, k=1)
    return BondGraph(atoms.numbers.copy(), np.argwhere(bonded))


def reaction(bonds: BondGraph, atoms: Atoms) -> str | None:
    """What was broken or formed, in words; None where the bonds of a structure are those of the graph.

    A bond is broken beyond 1.5 times the sum of the covalent radii and formed below 1.15 times; in between, it is what
    it was.

    Args:
        bonds: what should be bonded.
        atoms: the structure, without periodicity.
    """
    ratios = distance_ratios(atoms)
    upper = np.triu(np.ones_like(bonds.matrix), k=1)
    symbols = atoms.get_chemical_symbols()
    words = []
    for verb, changed in (
        ("broke", upper & bonds.matrix & (ratios > BROKEN)),
        ("formed", upper & ~bonds.matrix & (ratios < FORMED)),
    ):
        names = [f"{symbols[i]}{i}-{symbols[j]}{j}" for i, j in np.argwhere(changed)]
        if names:
            words.append(f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} {verb}")
    return "; ".join(words) or None
