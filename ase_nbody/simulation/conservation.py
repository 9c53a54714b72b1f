"""What fluctuations allow: kinetic energies at a temperature, and the total energy where it is conserved."""

from __future__ import annotations

import numpy as np
from ase import units
from scipy.stats import chi2

# Chance that one kinetic energy of the canonical distribution is above the limit: 1e-12 for each step, 1e-9 for means.
_RARE = 1e-12
_RARE_MEAN = 1e-9
# Long but stable time steps make the kinetic temperature wrong by (omega dt)^2 / 4, a quarter where omega dt = 1.
_TIMESTEP_FACTOR = 1.5
_TIMESTEP_FACTOR_MEAN = 1.25
_MEMORY = 1000  # checks that the running mean reaches back
_TOLERANCE = 5e-4  # eV for each degree of freedom: errors of integration at 0 K
_BLOCK = 500  # checks in one mean of the total energy
_SPREADS = 3.0  # of the total energy within its block, that a mean may be off


class TemperatureCheck:
    """Whether a kinetic energy belongs to a target temperature.

    In equilibrium 2 K / kT follows a chi-squared distribution. Above its limit a kinetic energy may lie by what the
    start had too much and what the potential energy has released since, so that strained starts pass; targets that
    fall (ramps) leave the highest one as the limit. Being too cold is no failure: ramps from 0 K start so.

    Args:
        freedom: number of momenta that are thermal.
    """

    def __init__(self, freedom: int) -> None:
        self._freedom = freedom
        self._quantile = float(chi2.isf(_RARE, freedom))
        self._mean_quantile = float(chi2.isf(_RARE_MEAN, freedom))
        self._start: tuple[float, float] | None = None
        self._hottest = 0.0
        self._mean = 0.0
        self._checks = 0
        self.fraction = 0.0

    def reason(self, target: float, kinetic: float, potential: float) -> str | None:
        """What is wrong with a kinetic energy, in words; None where it is right.

        Sets `fraction`, the kinetic energy in units of its limit.

        Args:
            target: K.
            kinetic: kinetic energy, eV.
            potential: potential energy, with pressure the enthalpy, eV.
        """
        if self._start is None:
            self._start = kinetic, potential
            self._mean = kinetic
        self._checks += 1
        self._mean += (kinetic - self._mean) / min(self._checks, _MEMORY)
        self._hottest = max(self._hottest, target)
        half = 0.5 * units.kB * self._hottest
        released = max(0.0, self._start[0] - half * self._freedom) + max(0.0, self._start[1] - potential)
        tolerance = _TOLERANCE * self._freedom
        limit = _TIMESTEP_FACTOR * (half * self._quantile + released) + tolerance
        mean_limit = _TIMESTEP_FACTOR_MEAN * (half * self._mean_quantile + released) + tolerance
        self.fraction = kinetic / limit
        if kinetic > limit:
            return f"the temperature is {self._kelvin(kinetic)} K, the limit {self._kelvin(limit)} K at {target:.0f} K"
        if self._checks >= _MEMORY and self._mean > mean_limit:
            return (
                f"the mean temperature is {self._kelvin(self._mean)} K, the limit {self._kelvin(mean_limit)} K at "
                f"{target:.0f} K"
            )
        return None

    def _kelvin(self, kinetic: float) -> str:
        return f"{2 * kinetic / (self._freedom * units.kB):.0f}"


class EnergyCheck:
    """Whether the total energy is conserved.

    Velocity Verlet keeps the energy up to a fluctuation of the order (omega dt)^2 / 8 of the energy of vibrations. One
    total energy may differ from the first by `kinetic_fraction` of the largest kinetic energy so far plus `per_atom`;
    means of 500 checks may differ from the first such mean by three of their spreads and a fifth of that.

    Args:
        n_atoms: number of atoms.
        kinetic_fraction: part of the largest kinetic energy.
        per_atom: eV.
    """

    def __init__(self, n_atoms: int, kinetic_fraction: float = 0.25, per_atom: float = 0.01) -> None:
        self._n_atoms = n_atoms
        self._kinetic_fraction = kinetic_fraction
        self._per_atom = per_atom
        self._largest_kinetic = 0.0
        self._start: float | None = None
        self._block: list[float] = []
        self._first_mean: float | None = None
        self.fraction = 0.0

    def reason(self, kinetic: float, potential: float) -> str | None:
        """What is wrong with a total energy, in words; None where it is conserved.

        Sets `fraction`, its change in units of the limit.

        Args:
            kinetic: kinetic energy, eV.
            potential: potential energy, eV.
        """
        total = kinetic + potential
        if self._start is None:
            self._start = total
        self._largest_kinetic = max(self._largest_kinetic, kinetic)
        limit = self._kinetic_fraction * self._largest_kinetic + self._per_atom * self._n_atoms
        change = total - self._start
        self.fraction = abs(change) / limit
        if abs(change) > limit:
            return f"the total energy, which NVE keeps, changed by {self._millielectronvolts(change, limit)}"
        self._block.append(change)
        return self._trend(limit / 5) if len(self._block) == _BLOCK else None

    def _trend(self, tolerance: float) -> str | None:
        mean, spread = float(np.mean(self._block)), float(np.std(self._block))
        self._block.clear()
        if self._first_mean is None:
            self._first_mean = mean
        drift, limit = mean - self._first_mean, tolerance + _SPREADS * spread
        if abs(drift) > limit:
            return f"the total energy, which NVE keeps, drifted by {self._millielectronvolts(drift, limit)}"
        return None

    def _millielectronvolts(self, change: float, limit: float) -> str:
        return f"{1000 * change / self._n_atoms:+.3g} meV/atom, the limit {1000 * limit / self._n_atoms:.3g}"
