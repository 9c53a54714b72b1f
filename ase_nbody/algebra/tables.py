"""ProductTable: the Clebsch-Gordan product of two lists of irreps, as paths and as non-zero entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_nbody.algebra.clebsch_gordan import clebsch_gordan
from ase_nbody.algebra.irreps import Irrep, Irreps, dimension


@dataclass(frozen=True)
class Path:
    """One way of multiplying an irrep of the first factor with one of the second.

    Attributes:
        first: number of the irrep in the first factor.
        second: number of the irrep in the second factor.
        irrep: irrep of the result.
        first_start: where the components of the first irrep begin.
        second_start: where the components of the second irrep begin.
        outputs: component of the output for each component of the result, (2l+1,).
    """

    first: int
    second: int
    irrep: Irrep
    first_start: int
    second_start: int
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ProductTable:
    """The product of two covariant states of equal channels, decomposed into irreps path by path.

    The output keeps the fragments of every path apart (Kondor 2018, the matrices F^l of eq. 9): its components are
    ordered by irrep, then by component m, then by path, so that all fragments of one irrep are one contiguous
    block (2l+1, paths, channels), ready for the mixing matrix W^l.

    The coefficients of a path have norm sqrt(2l+1), so that factors with components of variance 1 give results with
    components of variance 1 (e3nn's normalisation="component").

    Attributes:
        first_irreps: irreps of the first factor.
        second_irreps: irreps of the second factor.
        paths: all paths, in the order of the radial weights.
        output_irreps: irreps of the output, each once, ordered by degree.
        output_multiplicities: paths that lead to each of them: the type tau' of the product.
    """

    first_irreps: Irreps
    second_irreps: Irreps
    paths: tuple[Path, ...]
    output_irreps: Irreps
    output_multiplicities: tuple[int, ...]

    @property
    def n_first(self) -> int:
        """Components of one channel of the first factor."""
        return dimension(self.first_irreps)

    @property
    def n_second(self) -> int:
        """Components of one channel of the second factor."""
        return dimension(self.second_irreps)

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return len(self.paths)

    @property
    def n_output(self) -> int:
        """Components of one channel of the output, all paths."""
        return sum(i.dimension * n for i, n in zip(self.output_irreps, self.output_multiplicities, strict=True))


class Entry(NamedTuple):
    """One non-zero coefficient: first[a] second[b] value is added to output[o] of a path."""

    path: int
    a: int
    b: int
    o: int
    value: float


@cache
def entries(table: ProductTable) -> tuple[Entry, ...]:
    """All non-zero coefficients, in the order of paths, first, output and second components."""
    nonzero = []
    for number, path in enumerate(table.paths):
        dense = coefficients(table, path)
        for a, b, o in np.argwhere(dense):
            first, second = path.first_start + int(a), path.second_start + int(b)
            nonzero.append(Entry(number, first, second, path.outputs[o], float(dense[a, b, o])))
    return tuple(sorted(nonzero, key=lambda e: (e.path, e.a, e.o, e.b)))


def coefficients(table: ProductTable, path: Path) -> NDArray[np.float64]:
    """Dense coefficients of one path, (2l1+1, 2l2+1, 2l+1), norm sqrt(2l+1)."""
    first, second = table.first_irreps[path.first], table.second_irreps[path.second]
    unit = clebsch_gordan(first.degree, second.degree, path.irrep.degree)
    scaled: NDArray[np.float64] = unit * np.sqrt(path.irrep.dimension)
    return scaled


@cache
def product_table(
    first_irreps: Irreps, second_irreps: Irreps, output_irreps: Irreps, *, symmetric: bool = False
) -> ProductTable:
    """The product of two states, kept to the irreps asked for.

    Args:
        first_irreps: irreps of the first factor.
        second_irreps: irreps of the second factor.
        output_irreps: irreps to keep; those that the product does not contain are left out.
        symmetric: both factors are the same state, so only one of (i, j) and (j, i) is kept and vanishing
            antisymmetric paths are left out.

    Raises:
        ValueError: no path leads to any of the irreps asked for.
    """
    triples = [
        (result, i, j)
        for i, first in enumerate(first_irreps)
        for j, second in enumerate(second_irreps)
        for result in first.products(second)
        if result in output_irreps and not (symmetric and _vanishes_or_repeats(first, i, j, result))
    ]
    if not triples:
        raise ValueError(
            f"the product of {_text(first_irreps)} and {_text(second_irreps)} contains none of {_text(output_irreps)}"
        )
    return _table(first_irreps, second_irreps, sorted(triples, key=lambda f: (f[0].degree, -f[0].parity)))


def _vanishes_or_repeats(first: Irrep, i: int, j: int, result: Irrep) -> bool:
    """Of two equal factors: (j, i) repeats (i, j), and l x l -> odd is antisymmetric."""
    return i > j or (i == j and result.degree % 2 == 1)


def _text(irreps: Irreps) -> str:
    return "+".join(str(i) for i in irreps)


def _table(first_irreps: Irreps, second_irreps: Irreps, triples: list[tuple[Irrep, int, int]]) -> ProductTable:
    results = list(dict.fromkeys(f[0] for f in triples))
    counts = [sum(f[0] == r for f in triples) for r in results]
    starts = np.cumsum([0, *(r.dimension * n for r, n in zip(results, counts, strict=True))])
    paths = []
    for result, count, start in zip(results, counts, starts, strict=False):
        for number, (_, i, j) in enumerate(f for f in triples if f[0] == result):
            outputs = tuple(int(start) + m * count + number for m in range(result.dimension))
            paths.append(Path(i, j, result, dimension(first_irreps[:i]), dimension(second_irreps[:j]), outputs))
    return ProductTable(first_irreps, second_irreps, tuple(paths), tuple(results), tuple(counts))
