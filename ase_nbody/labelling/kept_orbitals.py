"""Values of atomic orbitals on an integration grid, kept from one cycle of the self-consistent field to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyscf.dft.numint import BLKSIZE, NumInt

_POINTS = 20 * BLKSIZE  # of the grid at a time: orbitals of a block and what is made of them stay in the cache
_LARGEST = 1.5e9  # bytes that are kept; above, PySCF computes the orbitals again in each cycle


class KeptOrbitals(NumInt):  # type: ignore[misc]
    """PySCF's numerical integration, with the orbitals of the last grid in memory.

    PySCF 2.14 computes them in each cycle, in blocks larger than a processor's cache;
    `benchmarks/labels/pyscf_times.py` measures what it takes with and without this.
    """

    def __init__(self) -> None:
        super().__init__()
        self._coords: Any = None
        self._deriv = -1
        self._blocks: list[tuple[Any, ...]] = []

    def block_loop(
        self,
        mol: Any,
        grids: Any,
        nao: int | None = None,
        deriv: int = 0,
        max_memory: float = 2000,
        *args: Any,
        **options: Any,
    ) -> Iterator[tuple[Any, ...]]:
        """Orbitals, mask, weights and coordinates of each block of a grid, as PySCF has them.

        Args:
            mol: molecule whose orbitals they are; that of the grid where they are to be kept.
            grids: integration grid.
            nao: number of orbitals.
            deriv: highest derivative of the orbitals.
            max_memory: of a block, MB.
            *args: PySCF's further ones; where there are any, nothing is kept.
            **options: likewise.
        """
        if args or options or mol is not grids.mol or _bytes(grids, mol, deriv) > _LARGEST:
            yield from super().block_loop(mol, grids, nao, deriv, max_memory, *args, **options)
            return
        if grids.coords is not self._coords or deriv != self._deriv:
            self._blocks = []  # before there are others
            found = super().block_loop(mol, grids, nao, deriv, max_memory, blksize=_POINTS)
            self._blocks = [(orbitals.copy(order="K"), *rest) for orbitals, *rest in found]
            self._coords, self._deriv = grids.coords, deriv
        yield from self._blocks


def _bytes(grids: Any, mol: Any, deriv: int) -> int:
    """Of all orbitals and their derivatives on a grid, which is made where it is not there yet."""
    if grids.coords is None:
        grids.build(with_non0tab=True)
    components = (deriv + 1) * (deriv + 2) * (deriv + 3) // 6
    return 8 * components * len(grids.weights) * int(mol.nao)
