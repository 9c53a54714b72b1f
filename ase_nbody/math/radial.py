"""Radial bases and the cutoff envelope."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def polynomial_envelope(distances: Tensor, cutoff: float, power: int) -> Tensor:
    """The envelope of DimeNet (Gasteiger et al. 2020, arXiv:2003.03123, eq. 8): one at zero, zero from the cutoff on.

    With x = r / cutoff and p = power, u(x) = 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2). Value, slope and
    curvature vanish at the cutoff.

    Args:
        distances: any shape, angstrom.
        cutoff: angstrom.
        power: p, at least 1; with p = 1, u(x) is (1 - x)^3.
    """
    return smooth_envelope(distances.clamp(max=cutoff), cutoff, power)


def smooth_envelope(distances: Tensor, cutoff: float, power: int) -> Tensor:
    """The polynomial of `polynomial_envelope`, beyond the cutoff and below zero too."""
    x = distances / cutoff
    p = float(power)
    polynomial = (p + 1) * (p + 2) / 2 - x * (p * (p + 2) - x * (p * (p + 1) / 2))
    return 1 - x**power * polynomial


def polynomial_envelope_slope(distances: Tensor, cutoff: float, power: int) -> Tensor:
    """Slope of `polynomial_envelope` by the distance, 1/angstrom: -(p (p+1) (p+2) / 2) x^(p-1) (1 - x)^2 / cutoff."""
    x, p = (distances / cutoff).clamp(max=1.0), float(power)
    return x ** (power - 1) * (1 - x).square() * (-p * (p + 1) * (p + 2) / (2 * cutoff))


def cosine_envelope(distances: Tensor, cutoff: float) -> Tensor:
    """(1 + cos(pi r / cutoff)) / 2, zero from the cutoff on; value and slope vanish there.

    It is the cutoff of Behler and Parrinello 2007, doi 10.1103/PhysRevLett.98.146401.

    Args:
        distances: any shape, angstrom.
        cutoff: angstrom.
    """
    return 0.5 * (torch.cos(distances.clamp(max=cutoff) * (math.pi / cutoff)) + 1)


def gaussian_basis(distances: Tensor, cutoff: float, n_functions: int) -> Tensor:
    """Gaussians of unit height from zero to the cutoff, as wide as they are apart, as in SchNet (arXiv:1706.08566).

    Args:
        distances: (E,), angstrom.
        cutoff: angstrom.
        n_functions: at least 2.

    Returns:
        (E, n_functions).
    """
    centres = torch.linspace(0.0, cutoff, n_functions, dtype=distances.dtype, device=distances.device)
    width = cutoff / (n_functions - 1)
    return torch.exp(-0.5 * ((distances.unsqueeze(1) - centres) / width).square())


def bessel_basis(distances: Tensor, cutoff: float, n_functions: int) -> Tensor:
    """Spherical Bessel functions of order zero (arXiv:2003.03123, eq. 7), sqrt(2/c) sin(n pi r / c) / r.

    Args:
        distances: (E,), angstrom; must be positive.
        cutoff: c, angstrom.
        n_functions: n runs from 1 to this number.

    Returns:
        (E, n_functions), 1/angstrom^(3/2).
    """
    orders = torch.arange(1, n_functions + 1, dtype=distances.dtype, device=distances.device)
    return torch.sin(distances.unsqueeze(1) * (orders * (math.pi / cutoff))) * (
        math.sqrt(2 / cutoff) / distances.unsqueeze(1)
    )


def inverse_powers(distances: Tensor, powers: tuple[int, ...]) -> Tensor:
    """The radial factors r^-s of Kondor 2018, eq. 10, (E, len(powers)), angstrom^-s."""
    return torch.stack([distances**-power for power in powers], dim=1)
