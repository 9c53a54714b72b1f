"""Functions of the distance as B-splines: few coefficients, and smooth enough for vibrations and dynamics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly
from scipy.linalg import solveh_banded

_BEYOND = 80  # knots outside the interval: the ends of the band matrix then change coefficients inside by < 0.54^80

Functions = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""From distances (R,) to values (R, F); smooth beyond both ends of the interval too."""


@dataclass(frozen=True)
class Grid:
    """Intervals between 0 and a cutoff; interval i takes degree + 1 rows of the coefficients from i on.

    Its place on the grid is a distance counted in intervals, n (r / cutoff)^(1 / power), of which the splines are
    uniform. With power 2, the intervals are short where r is small, and r^4.6 is as smooth as x^9.2.

    Functions may be smooth in pieces only. Each piece has rows of its own, so `degree` rows more lie before those of
    each later piece.

    Attributes:
        cutoff: angstrom.
        intervals: how many.
        degree: of the splines, odd: 3 for the fewest operations, 5 for the fewest rows.
        breaks: numbers of the intervals with which another piece begins.
        power: 1 for intervals of one width, or 2.
    """

    cutoff: float
    intervals: int
    degree: int
    breaks: tuple[int, ...] = ()
    power: Literal[1, 2] = 1

    def places(self, distances: NDArray[np.floating]) -> NDArray[np.floating]:
        """Places of distances from 0 on."""
        return self.intervals * (distances / self.cutoff) ** (1 / self.power)

    def distances(self, places: NDArray[np.floating]) -> NDArray[np.floating]:
        """Distances of places, and of those beyond both ends, where functions go on smoothly."""
        return self.cutoff * (places / self.intervals) ** self.power

    @property
    def rows(self) -> int:
        """Rows of coefficients."""
        return self.intervals + self.degree * (len(self.breaks) + 1)

    def first_row(self, interval: NDArray[np.int64]) -> NDArray[np.int64]:
        """First row of coefficients of intervals."""
        rows: NDArray[np.int64] = interval + self.degree * np.searchsorted(self.breaks, interval, side="right")
        return rows


@cache
def basis_polynomials(degree: int) -> NDArray[np.float64]:
    """The splines that are not zero in an interval, (degree + 1 splines, degree + 1 powers of t), t in [0, 1)."""
    spline = BSpline.basis_element(np.arange(degree + 2.0), extrapolate=False)
    pieces = PPoly.from_spline(spline).c[:, degree : 2 * degree + 1]  # highest power first, one column per interval
    found: NDArray[np.float64] = np.ascontiguousarray(pieces[::-1, ::-1].T)
    return found


def interpolate(pieces: Sequence[Functions], grid: Grid) -> NDArray[np.float64]:
    """Coefficients of the splines that meet the functions at the ends of all intervals, (rows, F).

    Args:
        pieces: the functions, once for each piece of the grid, smooth beyond both ends of it.
        grid: with one break less.
    """
    bounds = (0, *grid.breaks, grid.intervals)
    parts = [_piece(f, grid, a, b) for f, a, b in zip(pieces, bounds[:-1], bounds[1:], strict=True)]
    return np.concatenate(parts)


def _piece(functions: Functions, grid: Grid, first: int, last: int) -> NDArray[np.float64]:
    """Coefficients of the intervals from first to last."""
    knots = np.arange(first - _BEYOND, last + _BEYOND + 1)
    values = functions(grid.distances(knots.astype(np.float64)))
    at_knots = basis_polynomials(grid.degree)[:, 0]  # of the splines to the left, at t = 0
    half = grid.degree // 2
    band = np.repeat(at_knots[: half + 1, None], len(knots), axis=1)  # upper form of a symmetric Toeplitz matrix
    coefficients: NDArray[np.float64] = solveh_banded(band, values)
    return coefficients[_BEYOND - half :][: last - first + grid.degree]


def evaluate(coefficients: NDArray[np.float64], grid: Grid, distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values of the splines, (R, F)."""
    x = grid.places(distances)
    interval = np.minimum(x.astype(np.int64), grid.intervals - 1)
    powers = (x - interval)[:, None] ** np.arange(grid.degree + 1)  # (R, degree + 1)
    basis = powers @ basis_polynomials(grid.degree).T
    rows = coefficients[grid.first_row(interval)[:, None] + np.arange(grid.degree + 1)]  # (R, degree + 1, F)
    found: NDArray[np.float64] = np.einsum("rk,rkf->rf", basis, rows)
    return found


def fitted_grid(
    functions: Sequence[Sequence[Functions]],
    cutoff: float,
    *,
    degree: int,
    tolerance: float,
    breaks: Sequence[float] = (),
    power: Literal[1, 2] = 1,
) -> Grid:
    """The coarsest of some grids on which the splines of all functions keep a tolerance.

    Args:
        functions: to be tabulated, each once for each piece.
        cutoff: angstrom.
        degree: of the splines.
        tolerance: largest error in the middle of the intervals, relative to the largest value of the same functions.
        breaks: distances at which another piece begins, angstrom.
        power: of the grid.

    Raises:
        ValueError: no grid is fine enough: the functions are not smooth, or not finite; or none has its knots at the
            breaks.
    """
    starts = [(b / cutoff) ** (1 / power) for b in breaks]
    step = _common_step(starts)
    counts = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
    multiples = (-(-count // step) * step for count in counts)
    grids = iter(Grid(cutoff, n, degree, tuple(round(start * n) for start in starts), power) for n in multiples)
    grid = next(grids)
    for pieces in functions:
        while not _keeps(pieces, grid, tolerance):
            finer = next(grids, None)
            if finer is None:
                raise ValueError(
                    f"the radial functions of this model are not smooth enough for tables of {tolerance} relative "
                    "accuracy; are its weights finite?"
                )
            grid = finer
    return grid


def _common_step(starts: Sequence[float]) -> int:
    """Smallest number of intervals of which all starts of pieces, between 0 and 1, are ends."""
    for step in range(1, 101):
        if all(abs(start * step - round(start * step)) < 1e-9 for start in starts):
            return step
    raise ValueError(f"pieces that start at {starts} of the grid have no common step above 1 %")


def _keeps(pieces: Sequence[Functions], grid: Grid, tolerance: float) -> bool:
    coefficients = interpolate(pieces, grid)
    intervals = np.arange(grid.intervals)
    number = np.searchsorted(grid.breaks, intervals, side="right")
    middles = grid.distances(intervals + 0.5)
    exact = np.concatenate([piece(middles[number == n]) for n, piece in enumerate(pieces)])
    error = np.abs(evaluate(coefficients, grid, middles) - exact).max()
    return bool(error <= tolerance * np.abs(exact).max())
