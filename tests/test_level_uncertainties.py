"""Each level of theory of a model has uncertainties of its own, in training, file, calculator and commands."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write
from command_line import run_command
from rich.console import Console
from safetensors.torch import load_file, save_file
from test_levels_of_theory import labelled, trained  # noqa: F401

from ase_nbody import NBodyCalculator
from ase_nbody.calibration.calibrate import posterior_of_held_out
from ase_nbody.calibration.factors import calibration_factor
from ase_nbody.calibration.judged import deviations
from ase_nbody.data import Dataset, evaluate, read_dataset, split
from ase_nbody.model_file import load_model, load_model_with_levels, read_information, save_model
from ase_nbody.model_information import HEADER_KEY
from ase_nbody.model_knowledge import knowledge_records
from ase_nbody.model_records import UncertaintyRecord
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings

N_VALID = {"good": 1, "cheap": 6}  # a tenth
FLOAT32 = 1e-4  # relative, of factors that follow from a root in float32


def parts(model: Path, level: str) -> tuple[Dataset, Dataset]:
    """What the training learnt at a level, and what it set aside."""
    return split(read_dataset(model.with_name(f"{level}.xyz")), N_VALID[level], 0)


@pytest.fixture
def first_alone(trained, tmp_path) -> Path:  # noqa: F811
    """The same model with uncertainties at its first level only."""
    potential, information = load_model_with_levels(trained)
    first = replace(potential, posteriors=(potential.posterior, None))
    for name in N_VALID:
        (tmp_path / f"{name}.xyz").write_bytes(trained.with_name(f"{name}.xyz").read_bytes())
    return save_model(tmp_path / "first.safetensors", first, information.model_copy(update=knowledge_records(first)))


def test_a_training_calibrates_each_level_with_its_own_labels(trained):  # noqa: F811
    records = read_information(trained).uncertainties_by_level
    assert {name: record.n_held_out for name, record in records.items()} == N_VALID
    assert {name: record.n_learnt for name, record in records.items()} == {"good": 22, "cheap": 54}  # good counts twice
    for level in N_VALID:
        alone, _ = load_model(trained, level=level)
        learnt, valid = parts(trained, level)
        found = deviations(alone, valid, evaluate(alone, valid)[1])
        assert calibration_factor(found.forces, found.forces_errors) == pytest.approx(1.0, rel=FLOAT32)
        assert calibration_factor(found.energy, found.energy_errors) == pytest.approx(1.0, rel=FLOAT32)
        if level == "cheap":
            expected = posterior_of_held_out(replace(alone, posteriors=()), learnt, valid)
            np.testing.assert_allclose(alone.posterior.root, expected.root, rtol=1e-4, atol=1e-6)


def test_the_calculator_has_those_of_its_level(trained):  # noqa: F811
    whole, _ = load_model_with_levels(trained)
    atoms = molecule("H2O2")
    found = {}
    for number, level in enumerate(N_VALID):
        calculator = NBodyCalculator(trained, level=level, outside="ignore")
        assert calculator.potential.posteriors[0].record == whole.posteriors[number].record
        np.testing.assert_array_equal(calculator.potential.posterior.root, whole.posteriors[number].root)
        assert calculator.information.uncertainties_by_level[level] == whole.posteriors[number].record
        found[level] = calculator.get_uncertainty(atoms)
        single = NBodyCalculator(trained, level=level, dtype="float32", outside="ignore").get_uncertainty(atoms)
        np.testing.assert_allclose(single.forces, found[level].forces, rtol=2e-3, atol=1e-4)
    assert not np.allclose(found["good"].forces, found["cheap"].forces, rtol=0.05)
    assert found["good"].energy != pytest.approx(found["cheap"].energy, rel=0.05)


def test_a_level_without_labels_of_forces_has_none_and_the_training_says_why(tmp_path):
    good = labelled(tmp_path / "good.xyz", "good", 12, 1)
    frames = read(labelled(tmp_path / "cheap.xyz", "cheap", 12, 2), ":")
    for atoms in frames:
        del atoms.calc.results["forces"]
    write(tmp_path / "cheap.xyz", frames, format="extxyz")
    shown = StringIO()
    output = train(
        TrainingSettings(
            levels={"cheap": [tmp_path / "cheap.xyz"], "good": [good]},
            model={"channels": 4},
            epochs=1,
            dtype="float64",
            output=tmp_path / "m.safetensors",
        ),
        console=Console(file=shown, width=500),
    )
    assert "no uncertainties at cheap: the held-out structures have no forces" in shown.getvalue()
    information = read_information(output)
    assert [record is None for record in information.uncertainties] == [True, False]
    assert information.surroundings.n_learnt == 22
    with pytest.raises(PropertyNotImplementedError, match="no uncertainties at the level of theory 'cheap'"):
        NBodyCalculator(output).get_uncertainty(molecule("H2O"))
    assert NBodyCalculator(output, level="good", outside="ignore").get_uncertainty(molecule("H2O")).energy > 0


def test_the_command_calibrates_one_level_and_keeps_the_others(first_alone, tmp_path, monkeypatch, capsys):
    with pytest.raises(PropertyNotImplementedError, match=r"level of theory 'cheap'.*nbody calibrate --level 'cheap'"):
        NBodyCalculator(first_alone, level="cheap").get_uncertainty(molecule("H2O"))
    output = tmp_path / "both.safetensors"
    data = first_alone.with_name("cheap.xyz")
    arguments = ("calibrate", first_alone, "--data", data, "--level", "cheap", "--output", output)
    status, out, _ = run_command(monkeypatch, capsys, *arguments)
    assert status == 0 and "54 that say what is left open, 6 held out" in out
    before, after = load_file(first_alone), load_file(output)
    assert after.keys() - before.keys() == {"uncertainty.root.1"}
    assert all(torch.equal(before[name], after[name]) for name in before)
    alone, information = load_model(output, level="cheap")
    assert information.uncertainties_by_level["cheap"].n_held_out == 6
    valid = parts(first_alone, "cheap")[1]
    found = deviations(alone, valid, evaluate(alone, valid)[1])
    assert calibration_factor(found.energy, found.energy_errors) == pytest.approx(1.0, rel=FLOAT32)
    run_command(monkeypatch, capsys, "evaluate", output, "--data", data, "--uncertainty", "--level", "cheap")
    again = tmp_path / "again.safetensors"
    good = first_alone.with_name("good.xyz")
    status, _, _ = run_command(monkeypatch, capsys, "calibrate", output, "--data", good, "--output", again)
    assert status == 0
    first, second = (read_information(path).uncertainties for path in (output, again))
    assert first[1] == second[1] and (second[0].n_learnt, second[0].n_held_out) == (11, 1)


def test_the_command_refuses_labels_and_surroundings_of_another_level(first_alone, tmp_path, monkeypatch, capsys):
    cheap, good = (first_alone.with_name(f"{level}.xyz") for level in ("cheap", "good"))
    arguments = ("calibrate", first_alone, "--output", tmp_path / "b.safetensors", "--data")
    status, _, error = run_command(monkeypatch, capsys, *arguments, cheap)
    assert status == 1 and "states the level of theory 'cheap'; take --level 'cheap'" in error
    status, _, error = run_command(monkeypatch, capsys, *arguments, cheap, "--level", "cheap", "--also", good)
    assert status == 1 and "--also is for surroundings, which are of the level 'good'" in error
    status, _, error = run_command(monkeypatch, capsys, *arguments, cheap, "--level", "best")
    assert status == 1 and "has no level of theory 'best'" in error


def test_a_file_of_format_5_has_them_at_its_first_level(first_alone):
    header = json.loads(read_information(first_alone).model_dump_json())
    [first, _] = header.pop("uncertainties")
    tensors = load_file(first_alone)
    stress_factor = first.pop("stress_factor")  # of format 7
    assert stress_factor == first["forces_factor"]  # no stress is labelled
    own = UncertaintyRecord(**first, stress_factor=stress_factor)
    for record, expected in ((first, (own, None)), (None, ())):
        kept = {name: tensor for name, tensor in tensors.items() if record or name != "uncertainty.root"}
        old = {**header, "format_version": 5, "uncertainty": record}
        save_file(kept, first_alone, metadata={HEADER_KEY: json.dumps(old)})
        assert read_information(first_alone).uncertainties == expected


def test_info_and_card_name_the_levels_that_have_them(trained, first_alone, monkeypatch, capsys):  # noqa: F811
    shown = {path: run_command(monkeypatch, capsys, "info", path)[1] for path in (trained, first_alone)}
    assert "good, cheap; with uncertainties: all" in shown[trained]
    assert "good, cheap; with uncertainties: good" in map(
        str.strip, shown[first_alone].replace("levels", "").splitlines()
    )
    assert "calibrated on 6 structures, cheap" in run_command(monkeypatch, capsys, "info", trained, "--verbose")[1]
    card = run_command(monkeypatch, capsys, "info", trained, "--markdown")[1]
    assert "| uncertainties at good | calibrated on 1 structures that it did not learn |" in card
    assert "| uncertainties at cheap | calibrated on 6 structures that it did not learn |" in card
