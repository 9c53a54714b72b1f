"""The laws that every potential must obey, checked on one model and one structure: by how much each is broken.

They are checked through the calculator, so on the very evaluation that simulations use. The structure is displaced at
random first, so that no force is zero by symmetry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.simulation import laws
from ase_nbody.simulation.laws import Evaluate, Floats, Results

DISPLACEMENT = 0.05  # angstrom, standard deviation of a component
COMPONENTS = 30  # coordinates that forces and Hessian are compared at, where a structure has more
HESSIAN_ATOMS = 24  # of the largest structure whose Hessian is compared
TIMESTEP, DURATION = 0.5, 40.0  # fs
APART = 10.0  # angstrom beyond the cutoff

# Largest deviations per eV/angstrom of the largest force (1 at least), eV, eV/angstrom and eV/angstrom^3; differences
# of float32 energies say nothing of slopes.
SAME = {"float64": 1e-9, "float32": 1e-4}
FORCES, STRESS, HESSIAN = 1e-6, 1e-7, 1e-5
ACROSS_JUMPS = 100  # times as much for forces and stress where second derivatives jump within the stencil
ROUGHNESS = 0.2
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
        self._calculator, self._draw, self._seed = calculator, np.random.default_rng(seed), seed
        self._atoms = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        if "groups" in atoms.arrays:
            self._atoms.set_array("groups", atoms.arrays["groups"])
        self._atoms.positions += self._draw.normal(scale=DISPLACEMENT, size=(len(atoms), 3))
        self._evaluate: Evaluate = calculator.calculate_many
        self._double = calculator.parameters["dtype"] == "float64"
        self._same = SAME[calculator.parameters["dtype"]]
        self._own: Results = self._evaluate([self._atoms])[0]

    def findings(self) -> Iterator[Finding]:
        """All laws that the structure and the precision have."""
        evaluate, atoms, draw, potential = self._evaluate, self._atoms, self._draw, self._calculator.potential
        mirrored = potential.network.invariant_under_reflection or potential.over_inversion
        mirror, order = np.diag([-1.0, 1.0, 1.0]), draw.permutation(len(atoms))
        yield self._symmetry("rotation", laws.change_under(evaluate, atoms, _rotation(draw)))
        yield self._symmetry("reflection", laws.change_under(evaluate, atoms, mirror), binding=mirrored)
        shift = draw.normal(scale=3.0, size=3)
        yield self._symmetry("translation", laws.change_by_translation(evaluate, atoms, shift))
        yield self._symmetry("order of the atoms", laws.change_by_permutation(evaluate, atoms, order))
        if atoms.pbc.any():
            cells = draw.integers(-5, 6, size=(len(atoms), 3))
            yield self._symmetry("atoms moved by whole cells", laws.change_by_moving_cells(evaluate, atoms, cells))
            yield self._symmetry("supercell", laws.supercell_error(evaluate, atoms, self._repeats()))
        else:
            yield self._symmetry("far fragments", laws.fragments_error(evaluate, atoms, self._far_copy()))
        symbols = sorted(set(atoms.symbols))
        references = {symbol: potential.reference_energies[symbol] for symbol in symbols}
        yield self._symmetry("an atom alone", laws.lone_atoms_error(evaluate, references))
        yield self._symmetry("sum of the energies of atoms", laws.sum_error(evaluate, [atoms]))
        batch = [atoms, self._displaced(), self._displaced()]
        yield self._symmetry("a batch of structures", laws.batch_error(evaluate, batch))
        yield self._symmetry("neighbour list used again", self._reused_list())
        if self._double:
            yield from self._slopes_and_dynamics()

    def _slopes_and_dynamics(self) -> Iterator[Finding]:
        evaluate, atoms, network = self._evaluate, self._atoms, self._calculator.potential.network
        smooth = network.has_smooth_slopes
        factor = 1 if smooth else ACROSS_JUMPS
        components = sorted(self._draw.permutation(3 * len(atoms))[:COMPONENTS].tolist())
        found = laws.force_error(evaluate, atoms, components)
        yield Finding("forces, the slope of the energy", found, self._scaled(factor * FORCES), "eV/Å")
        if "stress" in self._own:
            found = laws.stress_error(evaluate, atoms)
            yield Finding("stress, the slope by strain", found, self._scaled(factor * STRESS), "eV/Å³")
        if len(atoms) <= HESSIAN_ATOMS:
            found = laws.hessian_error(evaluate, atoms, self._calculator.get_hessian(atoms), components)
            yield Finding("Hessian, the slope of the forces", found, self._scaled(HESSIAN), "eV/Å²", smooth)
        symbols = [*dict.fromkeys(atoms.symbols)]
        energy, force, slope = laws.roughness_at_cutoff(evaluate, symbols, network.settings.cutoff).tolist()
        yield Finding("energy and forces through the cutoff", max(energy, force), ROUGHNESS)
        yield Finding("slopes of forces through the cutoff", slope, ROUGHNESS, "", smooth)
        if len(atoms) > 1:
            ratio = laws.nve_ratio(self._calculator, atoms, TIMESTEP, DURATION, self._seed)
            yield Finding("energy in dynamics, by step squared", abs(ratio - NVE_RATIO), NVE_TOLERANCE)

    def _symmetry(self, law: str, found: float, *, binding: bool = True) -> Finding:
        return Finding(law, found, self._scaled(self._same), "eV, eV/Å", binding)

    def _scaled(self, tolerance: float) -> float:
        return tolerance * max(1.0, laws.largest(self._own["forces"]))

    def _repeats(self) -> tuple[int, int, int]:
        """Twice the cell along the shortest periodic vector."""
        shortest = int(np.where(self._atoms.pbc, self._atoms.cell.lengths(), np.inf).argmin())
        first, second, third = (2 if axis == shortest else 1 for axis in range(3))
        return first, second, third

    def _far_copy(self) -> Atoms:
        """The structure, turned, so far away that it is out of reach."""
        far = laws.transformed(self._atoms, _rotation(self._draw))
        extent = float(np.ptp(self._atoms.positions, axis=0).max())
        far.positions += [2 * extent + self._calculator.potential.cutoff + APART, 0.0, 0.0]
        return far

    def _displaced(self) -> Atoms:
        moved: Atoms = self._atoms.copy()
        moved.positions += self._draw.normal(scale=DISPLACEMENT, size=moved.positions.shape)
        return moved

    def _reused_list(self) -> float:
        """Steps with one neighbour list, of a structure whose cell is strained where it is periodic."""
        moving, found = self._atoms.copy(), []
        self._calculator.get_property("energy", moving)
        for _ in range(10):
            if moving.pbc.any():
                strain = np.eye(3) + self._draw.normal(scale=4e-3, size=(3, 3))
                moving.set_cell(moving.cell.array @ strain, scale_atoms=True)
            moving.positions += self._draw.normal(scale=0.04, size=(len(moving), 3))
            self._calculator.get_property("energy", moving)
            found.append(laws.difference(self._calculator.results, self._evaluate([moving])[0]))
        return laws.largest(*found)


def _rotation(draw: np.random.Generator) -> Floats:
    """A random rotation, (3, 3)."""
    q, r = np.linalg.qr(draw.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q
