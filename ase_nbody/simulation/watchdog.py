"""MDWatchdog: an observer that stops molecular dynamics once it is no longer physical."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from ase_nbody.simulation.conservation import EnergyCheck, TemperatureCheck
from ase_nbody.simulation.errors import UnstableDynamicsError
from ase_nbody.simulation.fragments import Fragments

TRAINING_FACTOR = 5.0
"""Forces may be this many times the largest of the training data of the calculator's model."""
LARGEST_FORCE = 100.0
"""Limit of forces where nothing is known of a training, eV/angstrom."""
_ADVICE = (
    "Take a shorter time step, relax the start, or see whether the model was trained for such structures "
    "(nbody info MODEL)"
)
_EVERY = 10  # calls between looks at molecules, and between frames that are kept
_COMFORTABLE = 0.5  # part of every limit that a frame to go on from may reach
_LARGEST_STRAIN = 0.05  # change of the cell between two calls, in units of its longest vector


@dataclass(frozen=True)
class WatchdogLimits:
    """Beyond what molecular dynamics is stopped.

    Attributes:
        force: largest force on an atom, eV/angstrom; None: 5 times the largest of the training data of the
            calculator's model, and 100 where no training is known.
        displacement: largest way of an atom in one step, speed times time step, angstrom.
        bond_factor: molecules come apart beyond this many times the sum of covalent radii.
        energy_per_atom: NVE: change of the total energy, eV for each atom.
        energy_fraction: NVE: further change, part of the largest kinetic energy.
    """

    force: float | None = None
    displacement: float = 0.5
    bond_factor: float = 2.5
    energy_per_atom: float = 0.01
    energy_fraction: float = 0.25


class MDWatchdog:
    """ASE observer that stops molecular dynamics: `dynamics.attach(MDWatchdog(dynamics))`.

    It stops at values that are not finite, forces beyond the limit, atoms that move too far in one step, molecules
    without periodicity that come apart, temperatures that fluctuations do not explain, and, where the energy is to be
    conserved, its change or drift.

    Args:
        dynamics: what is watched, of any ASE calculator.
        temperature: target, K, or a function that gives it; if not given, that of Langevin, LangevinBAOAB, Andersen,
            Bussi and Berendsen dynamics is read at each call. Other thermostats have no check of the temperature.
        energy_conserved: check the total energy; if not given, for VelocityVerlet only.
        limits: beyond what it stops.

    Raises:
        UnstableDynamicsError: when called, once a limit is passed.
    """

    def __init__(
        self,
        dynamics: MolecularDynamics,
        *,
        temperature: float | Callable[[], float] | None = None,
        energy_conserved: bool | None = None,
        limits: WatchdogLimits | None = None,
    ) -> None:
        self._good: dict[str, Any] | None = None
        self._limits = limits or WatchdogLimits()
        self._dynamics = dynamics
        self._atoms: Atoms = dynamics.atoms
        self._temperature = temperature
        self._force_limit, self._force_source = force_limit(self._atoms, self._limits.force)
        self._inverse_masses: NDArray[np.float64] = 1 / np.maximum(self._atoms.get_masses(), 1e-12)
        self._inverse_squares = self._inverse_masses**2
        self._moving = moving_atoms(self._atoms)
        # A single atom in empty space meets nothing, however far it goes in one step.
        alone = len(self._atoms) == 1 and not self._atoms.pbc.any()
        self._largest_displacement = np.inf if alone else self._limits.displacement
        self._fragments = Fragments(self._atoms, self._limits.bond_factor)
        freedom = int(self._atoms.get_number_of_degrees_of_freedom())
        self._temperature_check = TemperatureCheck(freedom) if freedom > 0 else None
        conserved = isinstance(dynamics, VelocityVerlet) if energy_conserved is None else energy_conserved
        self._energy_check = (
            EnergyCheck(len(self._atoms), self._limits.energy_fraction, self._limits.energy_per_atom)
            if conserved
            else None
        )
        self._cell = self._atoms.cell.array.copy()
        self._calls = 0

    def __call__(self) -> None:
        """Look at the structure as it is."""
        reason = self._reason()
        if reason is not None:
            raise self.error(reason)
        self._calls += 1

    def error(self, reason: str) -> UnstableDynamicsError:
        """The error that ends the dynamics for a reason, with the structure as it is and the last good one."""
        good = self.last_good
        kept = [] if good is None else [good]
        return UnstableDynamicsError(self._dynamics.nsteps, reason, [stored(self._atoms)], kept, _ADVICE)

    @property
    def last_good(self) -> Atoms | None:
        """The latest structure that was well within all limits, with momenta, energy and forces; None before a call.

        Structures are kept every 10 calls.
        """
        if self._good is None:
            return None
        atoms: Atoms = self._atoms.copy()
        atoms.arrays |= {name: self._good[name].copy() for name in ("positions", "momenta")}
        atoms.cell[:] = self._good["cell"]
        atoms.calc = SinglePointCalculator(atoms, energy=self._good["energy"], forces=self._good["forces"])
        return atoms

    def _reason(self) -> str | None:
        results = current_results(self._atoms)
        momenta = self._atoms.arrays["momenta"]
        forces = results["forces"] if self._moving is None else results["forces"][self._moving]
        force = sqrt(np.einsum("ij,ij->i", forces, forces).max(initial=0.0))
        squares = np.einsum("ij,ij->i", momenta, momenta)
        kinetic = 0.5 * float(squares @ self._inverse_masses)
        displacement = sqrt((squares * self._inverse_squares).max()) * self._dynamics.dt
        potential = results.get("energy", 0.0)
        if not isfinite(force + kinetic + potential + self._atoms.positions.sum()):
            return _not_finite(self._atoms, results)
        if force > self._force_limit:
            return self._large_force(results["forces"])
        if displacement > self._largest_displacement and self._calls > 0:  # the start has made no step yet
            return self._large_displacement()
        reason = self._cell_change() or self._energies(kinetic, potential)
        if reason is None and self._calls % _EVERY == 0:
            reason = self._fragments.reason(self._atoms.positions)
            fractions = force / self._force_limit, displacement / self._largest_displacement, *self._fractions()
            # The start is kept as it is: its velocities are those that were asked for.
            if reason is None and (self._good is None or max(fractions) < _COMFORTABLE):
                self._good = _kept(self._atoms, results)
        return reason

    def _energies(self, kinetic: float, potential: float) -> str | None:
        if self._energy_check is not None:
            return self._energy_check.reason(kinetic, potential)
        target = target_temperature(self._dynamics, self._temperature)
        if self._temperature_check is None or target is None:
            return None
        return self._temperature_check.reason(target, kinetic, potential + _pressure_times_volume(self._dynamics))

    def _fractions(self) -> list[float]:
        return [check.fraction for check in (self._energy_check, self._temperature_check) if check is not None]

    def _cell_change(self) -> str | None:
        cell = self._atoms.cell.array
        if (cell == self._cell).all():
            return None
        strain = np.abs(cell - self._cell).max() / np.abs(self._cell).max()
        self._cell = cell.copy()
        if strain <= _LARGEST_STRAIN:
            return None
        return f"the cell changed by {100 * strain:.0f} % at once, the limit is {100 * _LARGEST_STRAIN:.0f} %"

    def _large_force(self, forces: NDArray[np.float64]) -> str:
        sizes = np.linalg.norm(forces, axis=1)
        if self._moving is not None:
            sizes = np.where(self._moving, sizes, 0.0)
        atom = int(sizes.argmax())
        return (
            f"the force on atom {atom} ({self._atoms.symbols[atom]}) is {sizes[atom]:.3g} eV/Å, "
            f"the limit {self._force_limit:.3g} eV/Å ({self._force_source})"
        )

    def _large_displacement(self) -> str:
        ways = np.linalg.norm(self._atoms.get_velocities(), axis=1) * self._dynamics.dt
        atom = int(ways.argmax())
        return (
            f"atom {atom} ({self._atoms.symbols[atom]}) moves {ways[atom]:.3g} Å in one step of "
            f"{self._dynamics.dt / units.fs:g} fs, the limit is {self._limits.displacement:g} Å"
        )


def force_limit(atoms: Atoms, given: float | None) -> tuple[float, str]:
    """Largest force allowed, eV/angstrom, and where the number comes from, in words."""
    if given is not None:
        return given, "as given"
    information = getattr(atoms.calc, "information", None)
    largest = None if information is None else information.envelope.force_max
    if largest is None:
        return LARGEST_FORCE, "where no training is known"
    return TRAINING_FACTOR * largest, f"{TRAINING_FACTOR:g} times the largest of the training"


def moving_atoms(atoms: Atoms) -> NDArray[np.bool_] | None:
    """Which atoms no FixAtoms holds, (N,); None where all move."""
    moving = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            moving[constraint.index] = False
    return None if moving.all() else moving


def target_temperature(dynamics: MolecularDynamics, given: float | Callable[[], float] | None = None) -> float | None:
    """Temperature that a thermostat keeps now, K; None where there is none, or it is not known."""
    if given is not None:
        return float(given() if callable(given) else given)
    if (kelvin := getattr(dynamics, "temperature_K", None)) is not None:  # LangevinBAOAB
        return float(kelvin)
    if (electronvolts := getattr(dynamics, "temp", None)) is not None:  # Langevin, Andersen, Bussi
        return float(electronvolts) / units.kB
    kelvin = getattr(dynamics, "temperature", None)  # Berendsen
    return float(kelvin) if isinstance(kelvin, int | float) else None


def current_results(atoms: Atoms) -> dict[str, Any]:
    """Energy, where there is one, and forces without constraints, as the calculator has them after a step."""
    results: dict[str, Any] = getattr(atoms.calc, "results", {})
    if "forces" in results and "energy" in results:
        return results
    forces = atoms.get_forces(apply_constraint=False)
    return {**getattr(atoms.calc, "results", {}), "forces": forces}


def stored(atoms: Atoms) -> Atoms:
    """A copy with momenta, and with energy and forces where they are known for it, finite or not."""
    copy: Atoms = atoms.copy()
    kept = [name for name in ("energy", "forces") if not atoms.calc.calculation_required(atoms, [name])]
    if kept:
        copy.calc = SinglePointCalculator(copy, **{name: atoms.calc.results[name] for name in kept})
    return copy


def _kept(atoms: Atoms, results: dict[str, Any]) -> dict[str, Any]:
    """Copies of what moves."""
    return {
        "positions": atoms.positions.copy(),
        "momenta": atoms.arrays["momenta"].copy(),
        "cell": atoms.cell.array.copy(),
        "energy": results.get("energy"),
        "forces": results["forces"].copy(),
    }


def _pressure_times_volume(dynamics: MolecularDynamics) -> float:
    if not isinstance(dynamics, LangevinBAOAB) or dynamics.externalstress is None:
        return 0.0
    stress = np.asarray(dynamics.externalstress)  # a number, or (3, 3)
    return -float(np.trace(stress) / 3 if stress.ndim else stress) * float(dynamics.atoms.get_volume())


def _not_finite(atoms: Atoms, results: dict[str, Any]) -> str:
    values = {
        "positions": atoms.positions,
        "momenta": atoms.get_momenta(),
        "forces": results["forces"],
        "the energy": np.array(results.get("energy", 0.0)),
    }
    wrong = [name for name, value in values.items() if not np.isfinite(value).all()]
    return f"not finite: {', '.join(wrong) or 'the kinetic energy'}"
