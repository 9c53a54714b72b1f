"""The universal screened nuclear repulsion of Ziegler, Biersack and Littmark, switched off smoothly."""

from __future__ import annotations

import torch
from ase import units
from torch import Tensor

# Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids, Pergamon 1985, as in LAMMPS' pair_style zbl.
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
SCREENING_LENGTH = 0.46850  # angstrom, 0.8854 Bohr radii
SCREENING_POWER = 0.23
COULOMB = units.Hartree * units.Bohr  # e^2 / (4 pi epsilon_0), eV angstrom


def zbl_energy(distance: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Z_i Z_j e^2 / (4 pi epsilon_0 r) phi(r / a), a = 0.4685 angstrom / (Z_i^0.23 + Z_j^0.23), eV.

    Args:
        distance: r, angstrom, any shape.
        first: atomic numbers Z_i, same shape.
        second: atomic numbers Z_j, same shape.

    Example:
        >>> import torch
        >>> from ase_nbody.math.zbl import zbl_energy
        >>> z = torch.tensor([14.0], dtype=torch.float64)
        >>> round(zbl_energy(torch.ones_like(z), z, z).item(), 2)
        57.55
    """
    decays = _decays(first, second)
    screening = sum(c * torch.exp(-k * distance) for c, k in zip(COEFFICIENTS, decays, strict=True))
    energy: Tensor = COULOMB * first * second * screening / distance
    return energy


def switched_zbl_energy(distance: Tensor, first: Tensor, second: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """ZBL and a polynomial that brings it to zero at `outer`, with continuous first and second derivatives, eV.

    Below `inner` it is ZBL and a constant. This is LAMMPS' pair_style zbl: A/3 (r - inner)^3 + B/4 (r - inner)^4 + C.

    Args:
        distance: r, angstrom, any shape.
        first: atomic numbers Z_i, same shape.
        second: atomic numbers Z_j, same shape.
        inner: where the polynomial begins, angstrom, same shape.
        outer: where the energy ends, angstrom, same shape, above `inner`.
    """
    value, slope, curvature = _zbl_derivatives(outer, first, second)
    width = outer - inner
    cubic = (-3.0 * slope + width * curvature) / width**2
    quartic = (2.0 * slope - width * curvature) / width**3
    constant = -value + 0.5 * width * slope - width**2 * curvature / 12.0
    t = torch.clamp(distance - inner, min=0.0)
    switched = zbl_energy(distance, first, second) + cubic / 3.0 * t**3 + quartic / 4.0 * t**4 + constant
    return torch.where(distance < outer, switched, 0.0)


def _decays(first: Tensor, second: Tensor) -> list[Tensor]:
    inverse_length = (first**SCREENING_POWER + second**SCREENING_POWER) / SCREENING_LENGTH
    return [exponent * inverse_length for exponent in EXPONENTS]


def _zbl_derivatives(distance: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, slope and curvature of `zbl_energy`."""
    value, slope, curvature = torch.zeros_like(distance), torch.zeros_like(distance), torch.zeros_like(distance)
    for coefficient, k in zip(COEFFICIENTS, _decays(first, second), strict=True):
        term = COULOMB * first * second * coefficient * torch.exp(-k * distance) / distance
        rate = k + 1.0 / distance
        value = value + term
        slope = slope - term * rate
        curvature = curvature + term * (rate**2 + 1.0 / distance**2)
    return value, slope, curvature
