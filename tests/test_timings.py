"""Timings of a calculator: what is counted when, and to whom it belongs."""

from __future__ import annotations

import copy
import pickle
from time import perf_counter

import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from toy_network import toy_potential

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.timings import Timings

PARTS = ["neighbours", "evaluation", "results"]


@pytest.fixture
def calculator():
    return NBodyCalculator(toy_potential(), device="cpu")


def test_parts_add_up_and_are_forgotten(monkeypatch):
    moments = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr("ase_nbody.timings.perf_counter", moments.__next__)
    timings = Timings()
    with timings.measure("a"):
        pass
    with timings.measure("b"), pytest.raises(ZeroDivisionError):
        with timings.measure("a"):
            1 / 0  # noqa: B018
    assert timings.seconds == {"a": 1.0 + 4.0, "b": 12.0}
    assert timings.calls == {"a": 2, "b": 1}
    timings.clear()
    assert timings.seconds == timings.calls == {}


def test_each_step_of_dynamics_counts_once(calculator):
    assert calculator.timings.seconds == {}
    atoms = molecule("CH3OH")
    atoms.calc = calculator
    started = perf_counter()
    VelocityVerlet(atoms, 0.1 * units.fs).run(4)
    elapsed = perf_counter() - started
    atoms.get_potential_energy()
    assert calculator.timings.calls | dict.fromkeys(PARTS, 5) == calculator.timings.calls
    assert min(calculator.timings.seconds.values()) > 0
    assert sum(calculator.timings.seconds[part] for part in PARTS) < elapsed


def test_a_batch_counts_once(calculator):
    calculator.calculate_many([molecule("H2O"), molecule("CH4"), molecule("CO2")])
    assert calculator.timings.calls | dict.fromkeys(PARTS, 1) == calculator.timings.calls


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies_begin_with_none(calculator, copied):
    atoms = molecule("H2O")
    calculator.calculate(atoms)
    other = copied(calculator)
    assert other.timings.calls == {}
    other.calculate(atoms)
    assert calculator.timings.calls["evaluation"] == other.timings.calls["evaluation"] == 1
