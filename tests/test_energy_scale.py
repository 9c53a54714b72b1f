"""The energy scale: from forces in ordinary data, and from energies or virials where forces say nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from pair_training import PAIR, argon_frames, pair_settings
from rich.console import Console

from ase_nbody.data import (
    Dataset,
    ErrorReport,
    Labels,
    MeanErrors,
    Statistics,
    read_dataset,
    reference_energies,
    statistics,
)
from ase_nbody.model_file import read_information
from ase_nbody.predictions import ENERGY_PER_ATOM, FORCES, STRESS, Property
from ase_nbody.training import run
from ase_nbody.training.run import train
from ase_nbody.training.scale import energy_scale, informative_quantity, learnt_nothing


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
        monkeypatch.setattr(f"{module}.architectures", lambda: {"pair": PAIR})


def figures(**given: float | None) -> Statistics:
    values: dict[str, Any] = dict.fromkeys(
        ("force_rms", "force_max", "energy_rms_per_atom", "energy_spread_per_atom", "stress_rms", "virial_rms_per_atom")
    )
    rest = {"average_neighbours": 12.0, "closest_distances": {}, "n_structures": 1, "n_atoms": 1}
    return Statistics(**{**values, **rest, "energy_range_per_atom": None, **given})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"force_rms": 0.8, "energy_rms_per_atom": 0.3, "virial_rms_per_atom": 1.2}, ("forces", 0.8)),
        ({"force_rms": 1.5, "energy_rms_per_atom": 6.8}, ("forces", 1.5)),  # beyond isolated atoms
        ({"force_rms": 0.1, "energy_rms_per_atom": 5.0}, ("forces", 0.1)),
        ({"force_rms": 0.1, "energy_rms_per_atom": 5.1}, ("energies", 5.1)),
        ({"force_rms": 1e-6, "energy_rms_per_atom": 0.02, "virial_rms_per_atom": 0.4}, ("energies", 0.02)),
        ({"force_rms": 1e-6, "energy_rms_per_atom": 0.001, "virial_rms_per_atom": 0.4}, ("virials", 0.4)),
        ({"force_rms": 0.0, "energy_rms_per_atom": 0.0, "virial_rms_per_atom": 0.4}, ("virials", 0.4)),
        ({"force_rms": 0.0, "energy_rms_per_atom": 0.02}, ("energies", 0.02)),
        ({"force_rms": None, "energy_rms_per_atom": 0.02}, ("energies", 0.02)),
        ({"force_rms": 1e-6, "energy_rms_per_atom": 0.0}, ("forces", 1e-6)),
        ({"force_rms": 0.0, "energy_rms_per_atom": 0.0}, None),
        ({}, None),
    ],
)
def test_the_first_quantity_that_is_not_negligible(given: dict[str, Any], expected: tuple[str, float] | None) -> None:
    assert informative_quantity(figures(**given)) == expected
    assert energy_scale(figures(**given)) == (1.0 if expected is None else expected[1])


def test_statistics_of_energies_and_virials_by_hand() -> None:
    cell = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.5]], cell=[4.0, 5.0, -7.0], pbc=True)
    slab = Atoms("Ar", cell=[4.0, 5.0, 10.0], pbc=(True, True, False))
    stress = np.diag([0.01, 0.02, 0.0])
    labels = (Labels(energy=-0.4, stress=stress), Labels(energy=0.6, stress=2 * stress), Labels(forces=np.ones((1, 3))))
    dataset = Dataset((cell, slab, Atoms("Ar")), labels, "memory", "0", "made")
    found = statistics(dataset, {"Ar": 0.1}, cutoff=3.0)
    assert found.energy_rms_per_atom == pytest.approx(np.sqrt((0.3**2 + 0.5**2) / 2))  # -0.3 and 0.5 beyond 0.1
    assert found.energy_spread_per_atom == pytest.approx(0.4)
    assert found.energy_range_per_atom == (pytest.approx(-0.3), pytest.approx(0.5))
    squares = 0.01**2 + 0.02**2
    assert found.stress_rms == pytest.approx(np.sqrt((squares + 4 * squares) / 18))
    assert found.virial_rms_per_atom == pytest.approx(np.sqrt((70**2 * squares + 200**2 * 4 * squares) / 18))


def strained_copper(n: int, noise: float, stress: bool) -> list[Atoms]:
    """Perfect crystals, whose forces are zero by symmetry, with a noise on them, eV/angstrom."""
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        strain = generator.uniform(-0.06, 0.06, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": noise * generator.normal(size=(4, 3))}
        if stress:
            labels["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def trained(folder: Path, frames: list[Atoms], **more: Any) -> tuple[dict[str, Any], float, str]:
    """Errors of the validation structures, energy scale, and what was printed."""
    folder.mkdir()
    ase.io.write(folder / "data.xyz", frames)
    log = io.StringIO()
    settings = pair_settings(folder / "data.xyz", folder / "m.safetensors", n_valid=8, **{"epochs": 60, **more})
    information = read_information(train(settings, console=Console(file=log, soft_wrap=True, width=1000)))
    return information.errors["valid"], information.energy_scale, log.getvalue()


def test_perfect_crystals_are_learnt_from_their_energies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = strained_copper(40, 1e-6, stress=False)
    spread = np.std([atoms.get_potential_energy() / 4 for atoms in frames])
    errors, scale, log = trained(tmp_path / "now", frames)
    assert 0.6 * spread < scale < 1.4 * spread  # of the structures that were not set aside
    assert errors["energy_mae_mev_per_atom"] < 0.6 * 1000 * spread  # 10 of 25 meV/atom
    assert "nothing useful was learnt" not in log
    monkeypatch.setattr(run, "energy_scale", lambda found: found.force_rms)
    errors = trained(tmp_path / "before", frames)[0]
    assert errors["energy_mae_mev_per_atom"] > 0.8 * 1000 * spread  # 27 meV/atom


def test_forces_of_zero_are_no_reason_for_a_warning(tmp_path: Path) -> None:
    frames = strained_copper(32, 0.0, stress=True)
    assert "nothing useful was learnt" not in trained(tmp_path / "now", frames)[2]
    log = trained(tmp_path / "slow", frames, learning_rate=1e-9, epochs=1)[2]
    assert "not below the spread of the energies of the data themselves" in log


def report(rmses: Mapping[Property, float]) -> ErrorReport:
    return ErrorReport(1, 1, 0, tuple(MeanErrors(kind, rmse=rmse) for kind, rmse in rmses.items()))


@pytest.mark.parametrize(
    ("errors", "given", "words"),
    [
        (
            {FORCES: 0.8},
            {"force_rms": 0.8},
            r"RMSE 800 meV/Å\) are not below the forces .*800",
        ),
        ({FORCES: 0.799}, {"force_rms": 0.8}, None),
        ({FORCES: 0.0}, {"force_rms": 0.0}, None),
        (
            {ENERGY_PER_ATOM: 0.021},
            {"energy_rms_per_atom": 3.0, "energy_spread_per_atom": 0.02},
            "21 meV/atom",
        ),
        ({ENERGY_PER_ATOM: 0.019}, {"energy_rms_per_atom": 3.0, "energy_spread_per_atom": 0.02}, None),
        ({ENERGY_PER_ATOM: 1e-6}, {"energy_rms_per_atom": 3.0, "energy_spread_per_atom": 0.0}, None),
        (
            {STRESS: 0.05},
            {"virial_rms_per_atom": 0.5, "stress_rms": 0.05},
            "stress .*50 meV/Å³",
        ),
        ({STRESS: 0.049}, {"virial_rms_per_atom": 0.5, "stress_rms": 0.05}, None),
        ({}, {"force_rms": 0.8}, None),  # no labels of validation structures
        ({}, {}, None),
    ],
)
def test_what_was_learnt_is_judged_by_what_carries_information(
    errors: dict[Property, float], given: dict[str, float], words: str | None
) -> None:
    found = learnt_nothing(report(errors), figures(**given))
    assert (found is None) == (words is None)
    assert words is None or re.search(words, str(found))


def test_ordinary_data_have_the_scale_of_their_forces(tmp_path: Path) -> None:
    frames = argon_frames(10)
    ase.io.write(tmp_path / "argon.xyz", frames)
    dataset = read_dataset(tmp_path / "argon.xyz")
    found = statistics(dataset, reference_energies(dataset, ("Ar",)).energies, 6.0)
    assert energy_scale(found) == pytest.approx(np.sqrt(np.mean([atoms.get_forces() ** 2 for atoms in frames])))
    assert energy_scale(found) == found.force_rms
