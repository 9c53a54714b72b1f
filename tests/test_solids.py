"""Experiments in benchmarks/universal/solids.py, which are from memory, beside ASE's collection of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.collections import dcdft


@pytest.mark.parametrize("symbol", ["Si", "Al", "Cu", "Fe", "W"])
def test_experiments_are_those_of_warm_crystals(symbol, monkeypatch):
    """dcdft corrects them to 0 K and for zero-point motion: room temperature is a little larger and softer."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks" / "universal")
    from solids import SOLIDS

    solid = next(solid for solid in SOLIDS if solid.name == symbol)
    atoms, cold = solid.atoms(solid.lattice), dcdft.data[symbol]
    assert 1.0 < atoms.get_volume() / len(atoms) / cold["exp_volume"] < 1.022
    assert 0.93 < solid.modulus / cold["exp_B"] < 1.0
