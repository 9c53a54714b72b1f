"""What standard deviations are multiplied by, so that they fit errors on held-out structures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]
SMALLEST_FACTOR = 1e-6
"""Where a model has no errors at all."""
SMALLEST_DEVIATION = 1e-3
"""In units of their root mean square: what is smaller vanishes by symmetry, and its error is of rounding."""


def calibration_factor(deviations: Floats, errors: Floats) -> float:
    """The factor with the least continuous ranked probability score of errors in units of standard deviations.

    The score of a Gaussian grows linearly with an error (Gneiting and Raftery 2007, doi 10.1198/016214506000001437), so
    that few structures with huge errors do not decide, as they do where mean squares are compared. Its derivative by
    the factor a vanishes where the mean of exp(-z^2 / 2 a^2) over errors z is 1/sqrt(2), as for normally distributed z
    with the standard deviation a.

    Args:
        deviations: standard deviations before calibration, of any shape.
        errors: of the same quantities, in the same unit; NaN where there is no label.

    >>> bool(abs(calibration_factor(np.ones(10_000), np.random.default_rng(0).normal(0.0, 2.0, 10_000)) - 2.0) < 0.05)
    True
    """
    vanishing = SMALLEST_DEVIATION * np.sqrt(np.mean(np.square(deviations)))
    counted = ~np.isnan(errors) & (deviations > vanishing)
    squares = np.square(errors[counted] / deviations[counted])

    def excess(factor: float) -> float:
        return float(np.exp(-0.5 * squares / factor**2).mean() - np.sqrt(0.5))

    if not len(squares) or excess(SMALLEST_FACTOR) >= 0:
        return SMALLEST_FACTOR
    return float(brentq(excess, SMALLEST_FACTOR, 2 * np.sqrt(squares.max())))
