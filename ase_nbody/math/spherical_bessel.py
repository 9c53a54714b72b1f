"""Spherical Bessel functions that vanish at the cutoff, of any degree, as polynomials that are stable everywhere.

Recursions and closed forms of j_l lose all digits at small arguments, and are not a number at zero. On the interval
from zero to the cutoff these functions are entire, so a Chebyshev series of some thirty terms has all digits.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor

MORE_TERMS = 18  # beyond half the largest zero: the last coefficients are below 1e-15 of the first


@cache
def spherical_bessel_zeros(n_degrees: int, n_zeros: int) -> NDArray[np.float64]:
    """The first positive zeros of j_0, j_1, ..., (n_degrees, n_zeros); those of each degree separate the next's."""
    zeros = [math.pi * np.arange(1, n_zeros + n_degrees)]
    for degree in range(1, n_degrees):
        below = zeros[-1]
        found = [
            brentq(lambda x, degree=degree: spherical_jn(degree, x), a, b, xtol=1e-14, rtol=1e-15)
            for a, b in pairwise(below)
        ]
        zeros.append(np.array(found))
    return np.stack([row[:n_zeros] for row in zeros])


def spherical_bessel_basis(fractions: Tensor, n_degrees: int, n_functions: int) -> Tensor:
    """Functions sqrt(2) j_l(z_ln x) / |j_l+1(z_ln)|, z_ln the n-th zero of j_l (arXiv:2003.03123, in eq. 6).

    They are orthonormal on 0 < x < 1 with weight x^2, and vanish at x = 1.

    Args:
        fractions: x, distance over cutoff, (E,), from 0 to 1.
        n_degrees: degrees l = 0, ..., n_degrees - 1.
        n_functions: functions of each degree, n from 1 on.

    Returns:
        (E, n_degrees, n_functions).
    """
    table = _series(n_degrees, n_functions, fractions.dtype, fractions.device)
    even = _chebyshev(2 * fractions.square() - 1, len(table)) @ table  # (E, n_degrees * n_functions)
    parities = torch.stack([torch.ones_like(fractions), fractions], dim=1)  # j_l has the parity of l
    signs = parities[:, [degree % 2 for degree in range(n_degrees)]]  # (E, n_degrees)
    return even.view(-1, n_degrees, n_functions) * signs.unsqueeze(2)


def legendre_polynomials(cosines: Tensor, n_degrees: int) -> Tensor:
    """P_0, P_1, ... of cosines (T,) by Bonnet's recursion, (T, n_degrees); smooth at angles 0 and pi too."""
    values = [torch.ones_like(cosines), cosines]
    for degree in range(2, n_degrees):
        values.append(((2 * degree - 1) * cosines * values[-1] - (degree - 1) * values[-2]) / degree)
    return torch.stack(values[:n_degrees], dim=1)


def _chebyshev(y: Tensor, n_terms: int) -> Tensor:
    """T_0, ..., T_n_terms-1 of y, (E, n_terms), by T_k+j = 2 T_k T_j - T_k-j: the number doubles in each step."""
    known = torch.stack([torch.ones_like(y), y], dim=1)
    while known.shape[1] < n_terms:
        highest = known[:, -1:]
        more = 2 * highest * known[:, 1:] - known[:, :-1].flip(1)
        known = torch.cat([known, more], dim=1)
    return known[:, :n_terms]


@cache
@torch.inference_mode(False)  # tables made in inference mode could not be differentiated through later
def _series(n_degrees: int, n_functions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Chebyshev coefficients in y = 2 x^2 - 1, over x where the degree is odd, (terms, n_degrees * n_functions)."""
    zeros = spherical_bessel_zeros(n_degrees, n_functions)
    n_terms = math.ceil(zeros.max() / 2) + MORE_TERMS
    y = np.cos(math.pi * (np.arange(n_terms) + 0.5) / n_terms)
    x = np.sqrt((y + 1) / 2)
    degrees = np.arange(n_degrees)[:, None]
    scales = math.sqrt(2) / np.abs(spherical_jn(degrees + 1, zeros))  # (L, n)
    values = spherical_jn(degrees, zeros * x[:, None, None]) * scales / x[:, None, None] ** (degrees % 2)
    weights = np.full((n_terms, 1), 2.0 / n_terms)
    weights[0] = 1.0 / n_terms
    table = weights * (chebvander(y, n_terms - 1).T @ values.reshape(n_terms, -1))
    return torch.as_tensor(table).to(dtype=dtype, device=device)
