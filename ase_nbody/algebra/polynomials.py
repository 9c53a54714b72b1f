"""Covariant polynomials of one state: the symmetric products of its irreps that turn as an irrep (ACE, MACE).

For each number of factors and each irrep there is a basis, made by coupling one more factor to the basis of one factor
less with Clebsch-Gordan coefficients and leaving out what depends on the products before it (Drautz 2019, doi
10.1103/PhysRevB.99.014104; Batatia et al. 2022, arXiv:2206.07697, eq. 10). A product of components is a monomial, the
sorted tuple of their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ase_nbody.algebra.clebsch_gordan import MAX_DEGREE, clebsch_gordan
from ase_nbody.algebra.irreps import Irrep, Irreps, dimension

Monomial = tuple[int, ...]

_DEPENDENT = 1e-6  # part of a unit vector that the others do not span; what is independent keeps more than 1e-2


@dataclass(frozen=True)
class PolynomialTable:
    """Polynomials up to a number of factors.

    Attributes:
        irreps: of the factors, each once.
        results: irreps of the polynomials.
        factors: largest number of factors, the correlation of MACE.
    """

    irreps: Irreps
    results: Irreps
    factors: int

    @property
    def orders(self) -> range:
        """Numbers of factors."""
        return range(1, self.factors + 1)


class Term(NamedTuple):
    """One monomial of one component of a result, which has its own coefficient for each channel."""

    monomial: Monomial
    output: int


@cache
def monomials(components: int, factors: int) -> tuple[Monomial, ...]:
    """All products of so many components."""
    return tuple(combinations_with_replacement(range(components), factors))


@cache
def basis(irreps: Irreps, factors: int, result: Irrep) -> NDArray[np.float64]:
    """Independent polynomials that turn as an irrep, (polynomials, 2l + 1, monomials).

    Args:
        irreps: of the factors.
        factors: how many.
        result: irrep.

    Example:
        >>> basis((Irrep(0, 1), Irrep(1, -1)), 2, Irrep(0, 1)).shape
        (2, 1, 10)
    """
    count = len(monomials(dimension(irreps), factors))
    made: list[NDArray[np.float64]] = [np.zeros((0, result.dimension, count))]
    if factors == 1:
        made += [_alone(irreps, place) for place, irrep in enumerate(irreps) if irrep == result]
    for place, irrep in enumerate(irreps) if factors > 1 else ():
        for before in irrep.products(result):
            if before.degree <= MAX_DEGREE:
                made.append(_coupled(irreps, factors, (before, place), result))
    return _independent(np.concatenate(made))


def _alone(irreps: Irreps, place: int) -> NDArray[np.float64]:
    """The components of one of the irreps."""
    start = dimension(irreps[:place])
    return np.eye(dimension(irreps))[None, start : start + irreps[place].dimension]


def _coupled(irreps: Irreps, factors: int, pair: tuple[Irrep, int], result: Irrep) -> NDArray[np.float64]:
    """Polynomials of one factor less that turn as an irrep, each times one of the factors' irreps."""
    before, place = pair
    left = basis(irreps, factors - 1, before)  # (P, 2l' + 1, monomials)
    table = _multiplied(dimension(irreps), factors)[:, dimension(irreps[:place]) :][:, : irreps[place].dimension]
    coefficients = clebsch_gordan(before.degree, irreps[place].degree, result.degree) * result.dimension**0.5
    products = np.einsum("pam,abo->mbpo", left, coefficients)
    made = np.zeros((len(monomials(dimension(irreps), factors)), len(left), result.dimension))
    np.add.at(made, table, products)
    return made.transpose(1, 2, 0)


@cache
def _multiplied(components: int, factors: int) -> NDArray[np.int64]:
    """Number of the monomial that is another one, of one factor less, times a component, (monomials, components)."""
    numbers = {monomial: number for number, monomial in enumerate(monomials(components, factors))}
    return np.array(
        [
            [numbers[tuple(sorted((*monomial, c)))] for c in range(components)]
            for monomial in monomials(components, factors - 1)
        ]
    )


def _independent(polynomials: NDArray[np.float64]) -> NDArray[np.float64]:
    """Those that are no sums of others before them."""
    kept, directions = [], np.zeros((0, polynomials[0].size if len(polynomials) else 0))
    for number, polynomial in enumerate(polynomials):
        size = float(np.linalg.norm(polynomial))
        rest = polynomial.ravel() / (size or 1.0)
        for _ in range(2):  # the second time for rounding errors
            rest = rest - directions.T @ (directions @ rest)
        if np.linalg.norm(rest) > _DEPENDENT:
            kept.append(number)
            directions = np.concatenate([directions, rest[None] / np.linalg.norm(rest)])
    chosen = polynomials[kept]
    cleaned: NDArray[np.float64] = np.where(np.abs(chosen) > 1e-12, chosen, 0.0)
    return cleaned


@cache
def terms(table: PolynomialTable) -> tuple[Term, ...]:
    """Monomials of all components of all results, in the order of their coefficients."""
    found = []
    for result, start in _starts(table):
        for factors in table.orders:
            names = monomials(dimension(table.irreps), factors)
            outputs, used = _used(basis(table.irreps, factors, result))
            found += [Term(names[m], start + int(o)) for o, m in zip(outputs, used, strict=True)]
    return tuple(found)


def _used(polynomials: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
    """Components and monomials of which any polynomial has something, (K,) each."""
    found: tuple[NDArray[np.int64], ...] = np.abs(polynomials).sum(axis=0).nonzero()
    return found


@cache
def coefficients(table: PolynomialTable, result: Irrep, factors: int) -> NDArray[np.float64]:
    """What each polynomial of an irrep and of so many factors has of their terms, (P, K), which follow one another."""
    polynomials = basis(table.irreps, factors, result)
    outputs, used = _used(polynomials)
    found: NDArray[np.float64] = polynomials[:, outputs, used]
    return found


def _starts(table: PolynomialTable) -> list[tuple[Irrep, int]]:
    """First component of each result."""
    return [(result, dimension(table.results[:number])) for number, result in enumerate(table.results)]
