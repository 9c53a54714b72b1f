"""The benchmark's dynamics of adapted models: what it counts, and that it ends where a molecule breaks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.optimize import BFGS

from ase_nbody import NBodyCalculator

FILE = Path(__file__).parent.parent / "benchmarks" / "few_shot" / "dynamics.py"


@pytest.fixture(scope="module")
def dynamics() -> ModuleType:
    specification = importlib.util.spec_from_file_location("few_shot_dynamics", FILE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, specification.name, module)  # dataclasses look there
        specification.loader.exec_module(module)
    return module


def test_a_short_run_stays_whole_and_counts_every_step(dynamics: ModuleType) -> None:
    calc = NBodyCalculator("organic-start", dtype="float32", outside="ignore")
    found = dynamics.run(calc, molecule("CH3OH"), 300.0, 0.01)
    assert found.steps == 21 and found.survived and found.outside == 0
    assert set(found.closest) == {"C-H", "C-O", "H-H", "H-O"}
    assert 0.85 < found.closest["H-O"] < 1.05 < found.closest["C-H"] < 1.2 < found.closest["C-O"] < 1.5
    assert 1.0 <= found.longest_bond < 1.2
    row = found.to_json_dict()
    assert row["share_outside"] == 0.0 and 50 < row["temperature"] < 600


def test_a_broken_molecule_ends_the_run(dynamics: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics, "BROKEN", 1.001)
    calc = NBodyCalculator("organic-start", dtype="float32", outside="ignore")
    found = dynamics.run(calc, molecule("CH3OH"), 300.0, 0.01)
    assert found.steps < 21 and not found.survived and not found.to_json_dict()["survived"]


def test_the_temperature_of_harmonic_structures_is_the_one_they_were_drawn_at(dynamics: ModuleType) -> None:
    calc, kelvin = NBodyCalculator("organic-start", outside="ignore"), 50.0
    water = molecule("H2O", calculator=calc)
    BFGS(water, logfile=None).run(fmax=1e-4, steps=300)
    stiffness, modes = np.linalg.eigh(calc.get_hessian(water).reshape(9, 9))
    widths = np.sqrt(units.kB * kelvin / stiffness[6:])  # of the three vibrations, without masses
    drawn = np.random.default_rng(0).normal(size=(1000, 3)) * widths
    structures = [Atoms(water.numbers, water.positions + (modes[:, 6:] @ x).reshape(3, 3)) for x in drawn]
    assert dynamics.harmonic_temperature(calc, structures) == pytest.approx(kelvin, rel=0.05)
