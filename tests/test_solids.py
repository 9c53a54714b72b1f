"""The benchmark of solids beside experiment: minimum, bulk modulus and frequencies are what they are called."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units

from ase_nbody import NBodyCalculator
from ase_nbody.model_file import Trial

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks" / "universal"))
from solids import POINTS, SOLIDS, acoustic, equilibrium, frequencies, in_brief, table  # noqa: E402

COPPER = next(solid for solid in SOLIDS if solid.name == "Cu")


@pytest.fixture(scope="module")
def calculator() -> NBodyCalculator:
    return NBodyCalculator("copper", device="cpu", threads=1)


def pressure(lattice: float, calculator: NBodyCalculator) -> float:
    return -float(calculator.get_stress(COPPER.atoms(lattice))[:3].mean())


def frozen(lattice: float, axis: int, calculator: NBodyCalculator) -> float:
    """Frequency of planes that move against their neighbours, THz, from one force."""
    planes = Atoms("Cu2", [[0, 0, 0], [lattice / 2, 0, lattice / 2]], cell=[lattice / 2**0.5] * 2 + [lattice], pbc=True)
    planes.positions[1, :2] = lattice / 2**0.5 / 2
    planes.positions[1, axis] += 0.01
    constant = -calculator.get_forces(planes)[1, axis] / 0.005  # both planes move by half of it about their centre
    return float(np.sqrt(constant / planes.get_masses()[1]) * units.s / 1e12 / (2 * np.pi))


def test_the_lattice_constant_is_without_pressure_and_the_modulus_is_its_slope(calculator: NBodyCalculator) -> None:
    lattice, modulus = equilibrium(COPPER, calculator)
    assert abs(pressure(lattice, calculator)) < 2e-4
    smaller, larger = lattice * (1 - 1e-3), lattice * (1 + 1e-3)
    slope = (pressure(smaller, calculator) - pressure(larger, calculator)) / (3 * np.log(larger / smaller))
    assert modulus == pytest.approx(slope / units.GPa, rel=0.02)


def test_frequencies_at_the_zone_boundary_are_those_of_frozen_planes(calculator: NBodyCalculator) -> None:
    transverse, longitudinal = frequencies(COPPER, 3.63, calculator)
    assert transverse == pytest.approx(frozen(3.63, 0, calculator), rel=0.01)
    assert longitudinal == pytest.approx(frozen(3.63, 2, calculator), rel=0.01)
    assert 1.2 * transverse < longitudinal


def test_means_are_of_ratios_and_name_the_extremes() -> None:
    pairs = (("Al, fcc", 9.0), ("W, bcc", 11.0), ("Fe, bcc", 7.0))
    kinds = ("lattice constant, Å", "bulk modulus, GPa", "phonon X TA, THz")
    found = [Trial(structure=s, quantity=k, model=m, reference=10.0) for s, m in pairs for k in kinds]
    for trial in in_brief(found):
        assert (trial.model, trial.remark) == (0.9, "0.70 (Fe) to 1.10 (W)")
    lines = table({"one": found, "other": found}).splitlines()
    assert "| Fe, bcc | bulk modulus, GPa | 7 (-30 %) | 7 (-30 %) | 10 |" in lines
    assert "| **3 cubic solids** | phonon / experiment, mean of 3 | 0.9 | 0.9 | 1 |" in lines


def test_modes_lie_at_points_that_the_supercell_holds() -> None:
    assert acoustic(1.0, 2.0) == (("TA", "X", 0, 1.0), ("LA", "X", 2, 2.0))
    for solid in SOLIDS:
        atoms = solid.atoms(solid.lattice)
        assert all(place < 3 * len(atoms) and point in POINTS for _, point, place, _ in solid.modes)
