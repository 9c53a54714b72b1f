"""Pure functions of distances and directions."""

from ase_nbody.math.harmonics import spherical_harmonics
from ase_nbody.math.radial import bessel_basis, inverse_powers, polynomial_envelope

__all__ = ["bessel_basis", "inverse_powers", "polynomial_envelope", "spherical_harmonics"]
