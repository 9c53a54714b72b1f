"""Whether molecules that were whole at the start are whole still."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial import KDTree

# Bonds in molecules and metals are at most this much longer than the sum of the covalent radii.
BONDED = 1.25
_NAMED_ATOMS = 5  # atoms listed in a message


class Fragments:
    """The molecules of a structure without periodicity, and whether one of them has come apart.

    Atoms are bonded up to 1.25 times the sum of their covalent radii (Cordero et al. 2008, doi 10.1039/b801115j), and
    a molecule has come apart when no chain of pairs closer than `factor` times that sum joins its atoms. Atoms may so
    change partners, and structures with any periodic direction, where atoms may evaporate, are never apart.

    Args:
        atoms: the structure at the start.
        factor: distance in units of the sum of covalent radii up to which atoms hold together.
    """

    def __init__(self, atoms: Atoms, factor: float) -> None:
        self._factor = factor
        self._radii: NDArray[np.float64] = covalent_radii[atoms.numbers]
        self._symbols = list(atoms.symbols)
        self._molecule = np.arange(len(atoms))
        if not atoms.pbc.any():
            self._molecule = self._components(self._pairs(atoms.positions, BONDED))
        self._set_bonds(self._pairs(atoms.positions, BONDED) if len(set(self._molecule)) < len(atoms) else None)

    def reason(self, positions: NDArray[np.float64]) -> str | None:
        """What has come apart, in words; None where nothing has.

        Args:
            positions: (N, 3), finite, angstrom.
        """
        vectors = positions[self._first] - positions[self._second]
        if (np.einsum("ij,ij->i", vectors, vectors) <= self._largest_squares).all():
            return None
        pairs = self._pairs(positions, self._factor)
        fragment = self._components(pairs)
        for molecule in np.unique(self._molecule):
            members = np.flatnonzero(self._molecule == molecule)
            labels, counts = np.unique(fragment[members], return_counts=True)
            if len(labels) > 1:
                return self._description(members[fragment[members] == labels[counts.argmin()]])
        self._set_bonds(pairs)
        return None

    def _description(self, atoms: NDArray[np.intp]) -> str:
        shown = ", ".join(f"{i} ({self._symbols[i]})" for i in atoms[:_NAMED_ATOMS])
        more = f" and {len(atoms) - _NAMED_ATOMS} more" if len(atoms) > _NAMED_ATOMS else ""
        return (
            f"a molecule came apart: atoms {shown}{more} are farther from the rest of it than {self._factor:g} times "
            "the sum of covalent radii"
        )

    def _pairs(self, positions: NDArray[np.float64], factor: float) -> csr_array:
        """Distance of pairs in units of the sum of radii, up to a factor, (N, N) sparse."""
        n = len(positions)
        pairs = KDTree(positions).query_pairs(2 * factor * self._radii.max(), output_type="ndarray")
        distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        ratios = distances / self._radii[pairs].sum(axis=1)
        near = ratios <= factor
        # Atoms on one spot are joined too: a stored zero would be no edge.
        values = np.maximum(ratios[near], 1e-12)
        return csr_array((values, (pairs[near, 0], pairs[near, 1])), shape=(n, n))

    def _components(self, pairs: csr_array) -> NDArray[np.intp]:
        return np.asarray(connected_components(pairs, directed=False)[1], dtype=np.intp)

    def _set_bonds(self, pairs: csr_array | None) -> None:
        """Watch the shortest pairs that hold molecules together; none where there is no molecule."""
        tree = None if pairs is None else minimum_spanning_tree(pairs).tocoo()
        self._first: NDArray[np.intp] = np.empty(0, dtype=np.intp) if tree is None else tree.row
        self._second: NDArray[np.intp] = np.empty(0, dtype=np.intp) if tree is None else tree.col
        largest = self._factor * (self._radii[self._first] + self._radii[self._second])
        self._largest_squares = largest**2
