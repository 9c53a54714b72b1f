"""The laws that every potential must obey, checked on one model and one structure: by how much each is broken.

They are checked through the calculator, so on the very evaluation that simulations use. The structure is displaced at
random first, so that no force is zero by symmetry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_nbody.calculator import NBodyCalculator

Floats = NDArray[np.float64]

DISPLACEMENT = 0.05  # angstrom, standard deviation of a component
STEP = 1e-3  # angstrom, or strain: of five-point differences, whose error goes with its fourth power
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # Abramowitz and Stegun, table 25.2
COMPONENTS = 30  # coordinates that forces and Hessian are compared at, where a structure has more
HESSIAN_ATOMS = 24  # of the largest structure whose Hessian is compared
TEMPERATURE, TIMESTEP, DURATION = 300.0, 0.5, 40.0  # K, fs, fs
APART = 10.0  # angstrom beyond the cutoff

# Largest deviations per eV/angstrom of the largest force (1 at least), eV, eV/angstrom and eV/angstrom^3; differences
# of float32 energies say nothing of slopes.
SAME = {"float64": 1e-9, "float32": 1e-4}
FORCES, STRESS, HESSIAN = 1e-6, 1e-7, 1e-5
ACROSS_JUMPS = 100  # times as much for forces and stress where second derivatives jump within the stencil
ROUGHNESS = 0.2
FLOORS = np.array([1e-9, 1e-8, 1e-5])  # eV, eV/angstrom, eV/angstrom^2: rounding of jumps at the cutoff
NVE_RATIO, NVE_TOLERANCE = 4.0, 0.6


@dataclass(frozen=True)
class Finding:
    """By how much a law is broken.

    Attributes:
        law: in words.
        found: the deviation.
        allowed: the largest that passes.
        unit: of both; empty for ratios.
        binding: the law is one that the model is to obey.
    """

    law: str
    found: float
    allowed: float
    unit: str = ""
    binding: bool = True

    @property
    def passed(self) -> bool:
        """Whether the deviation is allowed; NaN is not."""
        return bool(self.found <= self.allowed)


def conformance(calculator: NBodyCalculator, atoms: Atoms, seed: int = 0) -> Iterator[Finding]:
    """Check a structure, law by law.

    Args:
        calculator: of the model, with `outside="ignore"`: structures are displaced, taken apart and strained.
        atoms: structure to check; it stays as it is.
        seed: of displacements, turns and velocities.

    Yields:
        Findings, the next when it is asked for.

    Raises:
        ValueError: a structure that cannot be evaluated.

    >>> from ase.build import molecule
    >>> calculator = NBodyCalculator("organic", outside="ignore")
    >>> all(finding.passed for finding in conformance(calculator, molecule("CH3OH")))
    True
    """
    yield from _Check(calculator, atoms, seed).findings()


class _Check:
    def __init__(self, calculator: NBodyCalculator, atoms: Atoms, seed: int) -> None:
        self._calculator, self._draw = calculator, np.random.default_rng(seed)
        self._atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if "groups" in atoms.arrays:
            self._atoms.set_array("groups", atoms.arrays["groups"])
        self._atoms.positions += self._draw.normal(scale=DISPLACEMENT, size=(len(atoms), 3))
        self._double = calculator.parameters["dtype"] == "float64"
        self._same = SAME[calculator.parameters["dtype"]]

    def findings(self) -> Iterator[Finding]:
        """All laws that the structure and the precision have."""
        yield self._symmetry("rotation", self._under(_rotation(self._draw)))
        network = self._calculator.potential.network
        mirrored = network.invariant_under_reflection or self._calculator.potential.over_inversion
        yield self._symmetry("reflection", self._under(np.diag([-1.0, 1.0, 1.0])), binding=mirrored)
        yield self._symmetry("translation", self._translated())
        yield self._symmetry("order of the atoms", self._permuted())
        periodic = bool(self._atoms.pbc.any())
        if periodic:
            yield self._symmetry("atoms moved by whole cells", self._moved_by_cells())
            yield self._symmetry("supercell", self._supercell())
        else:
            yield self._symmetry("far fragments", self._far_fragments())
        yield self._symmetry("an atom alone", self._alone())
        yield self._symmetry("sum of the energies of atoms", self._sum())
        yield self._symmetry("a batch of structures", self._batch())
        yield self._symmetry("neighbour list used again", self._reused_list())
        if self._double:
            yield from self._slopes_and_dynamics()

    def _slopes_and_dynamics(self) -> Iterator[Finding]:
        smooth = self._calculator.potential.network.has_smooth_slopes
        factor = 1 if smooth else ACROSS_JUMPS
        yield Finding("forces, the slope of the energy", self._force_error(), self._scaled(factor * FORCES), "eV/Å")
        if "stress" in self._own:
            allowed = self._scaled(factor * STRESS)
            yield Finding("stress, the slope by strain", self._stress_error(), allowed, "eV/Å³")
        if len(self._atoms) <= HESSIAN_ATOMS:
            allowed = self._scaled(HESSIAN)
            yield Finding("Hessian, the slope of the forces", self._hessian_error(), allowed, "eV/Å²", smooth)
        energy, force, slope = self._roughness()
        yield Finding("energy and forces through the cutoff", max(energy, force), ROUGHNESS)
        yield Finding("slopes of forces through the cutoff", slope, ROUGHNESS, "", smooth)
        if len(self._atoms) > 1:
            yield Finding("energy in dynamics, by step squared", self._nve(), NVE_TOLERANCE)

    def _symmetry(self, law: str, found: float, *, binding: bool = True) -> Finding:
        return Finding(law, found, self._scaled(self._same), "eV, eV/Å", binding)

    def _scaled(self, tolerance: float) -> float:
        return tolerance * max(1.0, _largest(self._own["forces"]))

    def _results(self, *structures: Atoms) -> list[dict[str, Any]]:
        return self._calculator.calculate_many(structures)

    @cached_property
    def _own(self) -> dict[str, Any]:
        return self._results(self._atoms)[0]

    # --- symmetries ---------------------------------------------------------------------------------------------------

    def _under(self, matrix: Floats) -> float:
        """Energies stay, forces and stress turn with the structure."""
        after, turned = self._results(_transformed(self._atoms, matrix))[0], dict(self._own)
        turned["forces"] = self._own["forces"] @ matrix.T
        if "stress" in self._own:
            stress = voigt_6_to_full_3x3_stress(self._own["stress"])
            turned["stress"] = full_3x3_to_voigt_6_stress(matrix @ stress @ matrix.T)
        return _difference(after, turned)

    def _translated(self) -> float:
        moved = self._atoms.copy()
        moved.translate(self._draw.normal(scale=3.0, size=3))
        return _difference(self._results(moved)[0], self._own)

    def _permuted(self) -> float:
        order = self._draw.permutation(len(self._atoms))
        expected = {name: v[order] if name in ("energies", "forces") else v for name, v in self._own.items()}
        return _difference(self._results(self._atoms[order])[0], expected)

    def _moved_by_cells(self) -> float:
        moved = self._atoms.copy()
        cells = self._draw.integers(-5, 6, size=(len(moved), 3)) * moved.pbc
        moved.positions += cells @ moved.cell.array
        return _difference(self._results(moved)[0], self._own)

    def _supercell(self) -> float:
        """Twice the cell along the shortest periodic vector."""
        lengths = np.where(self._atoms.pbc, self._atoms.cell.lengths(), np.inf)
        repeats = [2 if axis == lengths.argmin() else 1 for axis in range(3)]
        doubled = self._results(self._atoms.repeat(repeats))[0]
        forces, energies = np.tile(self._own["forces"], (2, 1)), np.tile(self._own["energies"], 2)
        expected = {"energy": 2 * self._own["energy"], "energies": energies, "forces": forces}
        return _difference(doubled, {**self._own, **expected})

    def _far_fragments(self) -> float:
        far = self._atoms.copy()
        extent = float(np.ptp(self._atoms.positions, axis=0).max())
        far.positions = far.positions @ _rotation(self._draw).T
        far.positions += [2 * extent + self._calculator.potential.cutoff + APART, 0.0, 0.0]
        together, alone = self._results(self._atoms + far)[0], self._results(far)[0]
        expected = {n: np.concatenate([self._own[n], alone[n]]) for n in ("energies", "forces")}
        return _difference(together, {**expected, "energy": self._own["energy"] + alone["energy"]})

    def _alone(self) -> float:
        """Energy beyond the reference energy, and force, of one atom of each element."""
        symbols = sorted(set(self._atoms.symbols))
        found = self._results(*(Atoms(symbol) for symbol in symbols))
        references = self._calculator.potential.reference_energies
        return max(
            _largest(one["energy"] - references[symbol], one["forces"])
            for symbol, one in zip(symbols, found, strict=True)
        )

    def _sum(self) -> float:
        return abs(float(self._own["energies"].sum() - self._own["energy"]))

    def _batch(self) -> float:
        others = [self._displaced() for _ in range(2)]
        together = self._results(self._atoms, *others)
        singles = [self._own, *(self._results(other)[0] for other in others)]
        return max(_difference(one, single) for one, single in zip(together, singles, strict=True))

    def _reused_list(self) -> float:
        """Steps with one neighbour list, of a structure whose cell is strained where it is periodic."""
        moving, worst = self._atoms.copy(), 0.0
        self._calculator.get_property("energy", moving)
        for _ in range(10):
            if moving.pbc.any():
                strain = np.eye(3) + self._draw.normal(scale=4e-3, size=(3, 3))
                moving.set_cell(moving.cell.array @ strain, scale_atoms=True)
            moving.positions += self._draw.normal(scale=0.04, size=(len(moving), 3))
            self._calculator.get_property("energy", moving)
            worst = max(worst, _difference(self._calculator.results, self._results(moving)[0]))
        return worst

    def _displaced(self) -> Atoms:
        moved: Atoms = self._atoms.copy()
        moved.positions += self._draw.normal(scale=DISPLACEMENT, size=moved.positions.shape)
        return moved

    # --- slopes -------------------------------------------------------------------------------------------------------

    @cached_property
    def _along(self) -> tuple[list[int], list[dict[str, Any]]]:
        """Coordinates, and results of the structures moved along each by the stencil."""
        n = 3 * len(self._atoms)
        components = sorted(self._draw.permutation(n)[:COMPONENTS].tolist())
        moved = []
        for component in components:
            for steps, _ in STENCIL:
                moved.append(self._atoms.copy())
                moved[-1].positions.reshape(-1)[component] += steps * STEP
        return components, self._results(*moved)

    def _force_error(self) -> float:
        components, along = self._along
        slopes = _slopes([one["energy"] for one in along])
        return _largest(self._own["forces"].reshape(-1)[components] + slopes)

    def _stress_error(self) -> float:
        directions = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
        strained = []
        for i, j in directions:
            for steps, _ in STENCIL:
                strain = np.zeros((3, 3))
                strain[i, j] += 0.5 * steps * STEP
                strain[j, i] += 0.5 * steps * STEP
                strained.append(_transformed(self._atoms, np.eye(3) + strain))
        slopes = _slopes([one["energy"] for one in self._results(*strained)])
        return _largest(self._own["stress"] - slopes / self._atoms.get_volume())

    def _hessian_error(self) -> float:
        """The larger of its asymmetry and its deviation from differences of forces."""
        n = 3 * len(self._atoms)
        exact = np.asarray(self._calculator.get_hessian(self._atoms)).reshape(n, n)
        components, along = self._along
        slopes = -_slopes([one["forces"].reshape(-1) for one in along])
        return _largest(exact - exact.T, exact[components] - slopes)

    def _roughness(self) -> list[float]:
        """Jumps of E, F and dF/dr as an atom passes the cutoff of two others, over those ten times farther out.

        Where value, slope and curvature vanish at the cutoff they fall at least ten times; those of a jump do not.
        """
        coarse, fine = self._jumps(1e-2), self._jumps(1e-3)
        ratios: list[float] = ((fine - FLOORS).clip(min=0) / np.maximum(coarse, FLOORS)).tolist()
        return ratios

    def _jumps(self, width: float) -> Floats:
        """Changes of E, F and dF/dr over 2 `width` around the cutoff, (3,)."""
        symbols = [*dict.fromkeys(self._atoms.symbols)]
        cutoff = self._calculator.potential.network.settings.cutoff
        structures = []
        for shift in (-1.0, -0.98, 0.98, 1.0):
            places = [(0, 0, 0), (0, 1.5, 0), (cutoff + shift * width, 0, 0)]
            structures.append(Atoms([symbols[k % len(symbols)] for k in range(3)], positions=places))
        found = self._results(*structures)
        forces = np.array([one["forces"].reshape(-1) for one in found])
        slopes = (forces[[1, 3]] - forces[[0, 2]]) / (0.02 * width)
        energy = abs(found[1]["energy"] - found[2]["energy"])
        return np.array([energy, _largest(forces[1] - forces[2]), _largest(slopes[1] - slopes[0])])

    def _nve(self) -> float:
        """Deviation from 4 of the ratio of the fluctuations of the total energy with a step and with its half."""
        momenta = self._draw.normal(size=(len(self._atoms), 3))
        momenta *= np.sqrt(units.kB * TEMPERATURE * self._atoms.get_masses())[:, None]
        coarse = self._total_energies(momenta, TIMESTEP)
        fine = self._total_energies(momenta, TIMESTEP / 2)[::2]
        if coarse.std() < FLOORS[0]:  # nothing acts, and rounding is left
            return 0.0
        return abs(float(coarse.std() / fine.std()) - NVE_RATIO)

    def _total_energies(self, momenta: Floats, timestep: float) -> Floats:
        moving = self._atoms.copy()
        moving.calc = self._calculator
        moving.set_momenta(momenta)
        dynamics = VelocityVerlet(moving, timestep=timestep * units.fs)
        return np.array([moving.get_total_energy() for _ in dynamics.irun(round(DURATION / timestep))])


def _rotation(draw: np.random.Generator) -> Floats:
    """A random rotation, (3, 3)."""
    q, r = np.linalg.qr(draw.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def _transformed(atoms: Atoms, matrix: Floats) -> Atoms:
    """The structure and its cell after x -> matrix x."""
    turned: Atoms = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    return turned


def _slopes(values: Sequence[Any]) -> Floats:
    """Of values along the stencil, one coordinate after another."""
    along = np.asarray(values, dtype=float).reshape(-1, len(STENCIL), *np.shape(values[0]))
    slopes: Floats = np.einsum("cs...,s->c...", along, [weight for _, weight in STENCIL]) / STEP
    return slopes


def _difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest of all results that both have; infinite where only one has a stress."""
    if ("stress" in one) != ("stress" in other):
        return np.inf
    names = [name for name in ("energy", "energies", "forces", "stress") if name in one]
    return _largest(*(one[name] - other[name] for name in names))


def _largest(*differences: Any) -> float:
    return max(float(np.abs(np.asarray(d)).max(initial=0.0)) for d in differences)
