"""Functions of the distance as uniform B-splines: few coefficients, and smooth enough for vibrations and dynamics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, PPoly
from scipy.linalg import solveh_banded

_BEYOND = 80  # knots outside the interval: the ends of the band matrix then change coefficients inside by < 0.54^80

Functions = Callable[[NDArray[np.floating]], NDArray[np.float64]]
"""From distances (R,) to values (R, F); smooth beyond both ends of the interval too."""


@dataclass(frozen=True)
class Grid:
    """Equal intervals between 0 and a cutoff; interval i takes rows i to i + degree of the coefficients.

    Attributes:
        cutoff: angstrom.
        intervals: how many.
        degree: of the splines, odd: 3 for the fewest operations, 5 for the fewest rows.
    """

    cutoff: float
    intervals: int
    degree: int

    @property
    def width(self) -> float:
        """Of an interval, angstrom."""
        return self.cutoff / self.intervals

    @property
    def rows(self) -> int:
        """Rows of coefficients."""
        return self.intervals + self.degree


@cache
def basis_polynomials(degree: int) -> NDArray[np.float64]:
    """The splines that are not zero in an interval, (degree + 1 splines, degree + 1 powers of t), t in [0, 1)."""
    spline = BSpline.basis_element(np.arange(degree + 2.0), extrapolate=False)
    pieces = PPoly.from_spline(spline).c[:, degree : 2 * degree + 1]  # highest power first, one column per interval
    found: NDArray[np.float64] = np.ascontiguousarray(pieces[::-1, ::-1].T)
    return found


def interpolate(functions: Functions, grid: Grid) -> NDArray[np.float64]:
    """Coefficients of the splines that meet the functions at the ends of all intervals, (rows, F)."""
    knots = np.arange(-_BEYOND, grid.intervals + _BEYOND + 1)
    values = functions(knots * grid.width)
    at_knots = basis_polynomials(grid.degree)[:, 0]  # of the splines to the left, at t = 0
    half = grid.degree // 2
    band = np.repeat(at_knots[: half + 1, None], len(knots), axis=1)  # upper form of a symmetric Toeplitz matrix
    coefficients: NDArray[np.float64] = solveh_banded(band, values)
    return coefficients[_BEYOND - half :][: grid.rows]


def evaluate(coefficients: NDArray[np.float64], grid: Grid, distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Values of the splines, (R, F)."""
    x = distances / grid.width
    interval = np.minimum(x.astype(np.int64), grid.intervals - 1)
    powers = (x - interval)[:, None] ** np.arange(grid.degree + 1)  # (R, degree + 1)
    basis = powers @ basis_polynomials(grid.degree).T
    rows = coefficients[interval[:, None] + np.arange(grid.degree + 1)]  # (R, degree + 1, F)
    found: NDArray[np.float64] = np.einsum("rk,rkf->rf", basis, rows)
    return found


def fitted_grid(functions: Sequence[Functions], cutoff: float, *, degree: int, tolerance: float) -> Grid:
    """The coarsest of some grids on which the splines of all functions keep a tolerance.

    Args:
        functions: to be tabulated.
        cutoff: angstrom.
        degree: of the splines.
        tolerance: largest error in the middle of the intervals, relative to the largest value of the same functions.

    Raises:
        ValueError: no grid is fine enough: the functions are not smooth, or not finite.
    """
    intervals = iter((32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048))
    grid = Grid(cutoff, next(intervals), degree)
    for function in functions:
        while not _keeps(function, grid, tolerance):
            finer = next(intervals, None)
            if finer is None:
                raise ValueError(
                    f"the radial functions of this model are not smooth enough for tables of {tolerance} relative "
                    "accuracy; are its weights finite?"
                )
            grid = Grid(cutoff, finer, degree)
    return grid


def _keeps(function: Functions, grid: Grid, tolerance: float) -> bool:
    middles = (np.arange(grid.intervals) + 0.5) * grid.width
    exact = function(middles)
    error = np.abs(evaluate(interpolate(function, grid), grid, middles) - exact).max()
    return bool(error <= tolerance * np.abs(exact).max())
