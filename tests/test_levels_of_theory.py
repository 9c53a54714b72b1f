"""One network, several levels of theory: what they share, what each has for itself, and how one is chosen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculatorSetupError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from safetensors.torch import load_file
from test_packed_samples import sample
from test_training_steps import QUIET
from typer.testing import CliRunner

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import Network, architectures
from ase_nbody.architectures.theory import add_levels, at_level, choose_level, own_parameters
from ase_nbody.cli import app
from ase_nbody.data.packed_samples import PackedSamples
from ase_nbody.model_file import Trial, change_information, load_model, load_model_with_levels, read_information
from ase_nbody.models_directory import find_model
from ase_nbody.training.objective import epoch_batches
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings, training_settings

REFERENCES = {"cheap": {"H": -10.0, "O": -400.0}, "good": {"H": -13.0, "O": -430.0}}
FACTOR = {"cheap": 1.0, "good": 1.4}


def network(architecture: str = "nbody") -> Network:
    chosen = architectures()[architecture]
    settings = chosen.settings(elements=("H", "O"), **chosen.presets["small"])
    return chosen.network(settings, generator=torch.Generator().manual_seed(0)).double()


def spring(atoms: Atoms, level: str) -> tuple[float, np.ndarray]:
    """Energy and forces of springs between all atoms, stiffer at the good level."""
    vectors = atoms.positions[None] - atoms.positions[:, None]
    distances = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
    stretch = np.where(np.eye(len(atoms)) > 0, 0.0, distances - 1.2)
    energy = 0.5 * FACTOR[level] * (stretch**2).sum() + sum(REFERENCES[level][s] for s in atoms.symbols)
    forces = 2.0 * FACTOR[level] * (stretch / distances)[:, :, None] * vectors
    return energy, forces.sum(axis=1)


def labelled(path: Path, level: str, n: int, seed: int, *, program: bool = True) -> Path:
    frames = []
    for number in range(n):
        atoms = molecule("H2O" if number % 3 else "H2O2")
        atoms.rattle(0.1, seed=1000 * seed + number)
        energy, forces = spring(atoms, level)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info.update({"level_of_theory": level, "program": "springs 1"} if program else {})
        frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("levels")
    good, cheap = labelled(folder / "good.xyz", "good", 12, 1), labelled(folder / "cheap.xyz", "cheap", 60, 2)
    settings = TrainingSettings(
        levels={"good": [good, good], "cheap": [cheap]},
        test=[labelled(folder / "test.xyz", "good", 6, 3), labelled(folder / "test2.xyz", "cheap", 6, 4)],
        model={"channels": 4},
        epochs=30,
        learning_rate=0.01,
        dtype="float64",
        output=folder / "m.safetensors",
        repulsion=False,
    )
    return train(settings, console=QUIET)


# --- parameters of a level ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", ["readout", "embedding", "both"])
def test_a_level_has_its_own_values_and_the_others_keep_theirs(parts):
    own = network()
    names = own_parameters(own, parts)
    before = {name: parameter.detach().clone() for name, parameter in own.named_parameters()}
    add_levels(own, 3, names)
    assert own.theory is not None and own.theory.n_levels == 3
    with torch.no_grad():
        for number in (1, 2):
            for value in own.theory.of_level(number):
                value += number
    with at_level(own, 2):
        for name in before:
            expected = before[name] + 2 if name in names else before[name]
            assert torch.equal(own.get_parameter(name), expected)
    for name, value in before.items():
        assert torch.equal(own.get_parameter(name), value)
    choose_level(own, 1)
    assert own.theory is None
    for name, value in before.items():
        assert torch.equal(own.get_parameter(name), value + 1 if name in names else value)


def test_gradients_go_to_the_level_at_which_they_were_made():
    own = network()
    names = own_parameters(own, "readout")
    add_levels(own, 2, names)
    assert own.theory is not None
    graph = sample(molecule("H2O"), 0).graph
    values = own.theory.of_level(1)
    with torch.no_grad():
        for value in values:
            value *= 2
    own(graph).sum().backward()
    first = [own.get_parameter(name).grad for name in names]
    shared = own.get_parameter("embedding").grad.clone()
    for times in (1, 2):  # and they add up
        with at_level(own, 1):
            own(graph).sum().backward()
        for value, grad, kept in zip(values, first, [own.get_parameter(n).grad for n in names], strict=True):
            torch.testing.assert_close(value.grad, times * grad)  # energies are linear in the readouts
            assert kept is grad
    torch.testing.assert_close(own.get_parameter("embedding").grad, 5 * shared)


def test_what_an_architecture_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"SchNet has no readout that levels .*; take the architecture nbody"):
        own_parameters(network("schnet"), "readout")


# --- batches --------------------------------------------------------------------------------------------------------


def test_batches_are_of_one_level_and_a_pass_has_every_structure_once():
    levels = [0] * 7 + [1] * 23 + [2]
    batches = epoch_batches(levels, 5, seed=3, epoch=1)
    assert len(batches) == 2 + 5 + 1
    assert sorted(torch.cat(batches).tolist()) == list(range(31))
    found = [{levels[n] for n in batch.tolist()} for batch in batches]
    assert all(len(level) == 1 for level in found)
    assert [min(level) for level in found] != sorted(min(level) for level in found)  # levels take turns
    again = epoch_batches(levels, 5, seed=3, epoch=2)
    assert [b.tolist() for b in again] != [b.tolist() for b in batches]


def test_a_batch_of_two_levels_is_refused():
    from dataclasses import replace

    made = [replace(sample(molecule("H2O"), n), level=n) for n in range(2)]
    packed = PackedSamples(made)
    assert packed.batch(torch.tensor([1])).level == 1
    with pytest.raises(ValueError, match="one level of theory"):
        packed.batch(torch.tensor([0, 1]))


# --- training and the model file ------------------------------------------------------------------------------------


def test_each_level_learns_its_own_labels(trained):
    information = read_information(trained)
    assert [level.name for level in information.levels] == ["good", "cheap"]
    assert information.method == "good"
    errors = information.errors
    assert {"valid good", "valid cheap", "test test.xyz good", "test test2.xyz cheap"} == set(errors)
    for name in errors:
        assert errors[name]["forces_mae_mev_per_angstrom"] < 250, name
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=77)
    for level, default in (("good", None), ("cheap", "cheap")):
        calc = NBodyCalculator(trained, level=default, outside="ignore")
        energy, forces = spring(atoms, level)
        assert abs(calc.get_potential_energy(atoms) - energy) < 0.2
        assert np.abs(calc.get_forces(atoms) - forces).mean() < 0.25
        assert calc.information.method == level
        assert calc.potential.reference_energies == calc.information.reference_energies
        assert calc.potential.network.theory is None
    ratio = np.linalg.norm(NBodyCalculator(trained).get_forces(atoms)) / np.linalg.norm(
        NBodyCalculator(trained, level="cheap").get_forces(atoms)
    )
    assert 1.2 < ratio < 1.6  # springs are 1.4 times as stiff


def test_a_level_of_the_file_is_the_level_in_the_network(trained):
    whole, information = load_model_with_levels(trained)
    graph = sample(molecule("H2O"), 0).graph
    for number, level in enumerate(information.levels):
        alone, _ = load_model(trained, level=level.name)
        with at_level(whole.network, number), torch.no_grad():
            expected = whole.network(graph)
        torch.testing.assert_close(alone.network(graph), expected, rtol=0, atol=0)


def test_a_level_that_is_not_there_is_refused(trained):
    with pytest.raises(ValueError, match="has no level of theory 'best'; it has good, cheap"):
        NBodyCalculator(trained, level="best")
    with pytest.raises(ValueError, match="organic has no level of theory 'cheap'; it has PBE"):
        NBodyCalculator("organic", level="cheap")
    with pytest.raises(CalculatorSetupError, match="a Potential has one level of theory"):
        NBodyCalculator(load_model(trained)[0], level="cheap")


def test_a_start_with_levels_is_gone_on_from(trained, tmp_path):
    data = labelled(tmp_path / "good.xyz", "good", 12, 9)
    more = {"epochs": 1, "learning_rate": 1e-7, "dtype": "float64", "repulsion": False, "start": str(trained)}
    both = {"good": [data], "cheap": [labelled(tmp_path / "cheap.xyz", "cheap", 12, 8)]}
    output = train(TrainingSettings(levels=both, output=tmp_path / "b.safetensors", **more), console=QUIET)
    assert [level.name for level in read_information(output).levels] == ["good", "cheap"]
    atoms = molecule("H2O2")
    for level in both:
        found, expected = (
            NBodyCalculator(m, level=level, outside="ignore").get_forces(atoms) for m in (output, trained)
        )
        np.testing.assert_allclose(found, expected, atol=1e-3)
    one = train(
        TrainingSettings(data=data, start_level="cheap", output=tmp_path / "o.safetensors", **more), console=QUIET
    )
    assert read_information(one).levels == ()
    found = NBodyCalculator(one, outside="ignore").get_forces(atoms)
    np.testing.assert_allclose(found, NBodyCalculator(trained, level="cheap").get_forces(atoms), atol=1e-3)
    with pytest.raises(ValueError, match="has the levels of theory good, cheap, and the training cheap, good"):
        turned = dict(reversed(both.items()))
        train(TrainingSettings(levels=turned, output=tmp_path / "t.safetensors", **more), console=QUIET)


def test_a_training_adds_levels_to_those_of_its_start(trained, tmp_path):
    more = {"epochs": 1, "learning_rate": 1e-7, "dtype": "float64", "repulsion": False, "start": str(trained)}
    names = ("good", "cheap", "other", "last")
    several = {
        name: [labelled(tmp_path / f"{name}.xyz", "cheap" if name == "cheap" else "good", 12, 7)] for name in names
    }
    output = train(TrainingSettings(levels=several, output=tmp_path / "a.safetensors", **more), console=QUIET)
    assert [level.name for level in read_information(output).levels] == list(names)
    atoms = molecule("H2O2")
    for level in names:
        found = NBodyCalculator(output, level=level, outside="ignore").get_forces(atoms)
        before = NBodyCalculator(trained, level="cheap" if level == "cheap" else "good", outside="ignore")
        np.testing.assert_allclose(found, before.get_forces(atoms), atol=1e-3)
    assert abs(before.get_forces(atoms) - NBodyCalculator(trained, level="cheap").get_forces(atoms)).max() > 0.1


def test_levels_with_different_elements_are_refused(tmp_path):
    frames = [molecule("CH4"), molecule("CH3OH")]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((len(atoms), 3)))
    write(tmp_path / "other.xyz", frames, format="extxyz")
    levels = {"good": [labelled(tmp_path / "good.xyz", "good", 4, 1)], "other": [tmp_path / "other.xyz"]}
    with pytest.raises(ValueError, match="'good' and 'other' have different elements: only one has C"):
        train(TrainingSettings(levels=levels, output=tmp_path / "m.safetensors", epochs=1), console=QUIET)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give either data"),
        ({"data": "a.xyz", "levels": {"A": "b.xyz"}}, "give either data"),
        ({"levels": {"A": []}}, "every level of theory needs a file"),
        ({"levels": {"A": "a.xyz"}, "method": "PBE"}, "method is for one level of theory"),
        ({"levels": {"A": "a.xyz"}, "own_parts": "all"}, "own_parts"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        training_settings({**given, "output": tmp_path / "m.safetensors"})


def test_the_commands_choose_a_level(trained, tmp_path):
    runner = CliRunner()
    shown = runner.invoke(app, ["info", str(trained)])
    assert "good, cheap" in shown.output
    errors = {}
    for level in ("good", "cheap"):
        output = tmp_path / f"{level}.json"
        command = ["evaluate", str(trained), "--data", str(trained.with_name("test.xyz")), "--json", str(output)]
        assert runner.invoke(app, [*command, "--level", level]).exit_code in (0, 3)  # some are outside the training
        errors[level] = json.loads(output.read_text())["forces_mae_mev_per_angstrom"]
    assert errors["good"] < 0.7 * errors["cheap"]  # labels of the good level
    assert errors["good"] == pytest.approx(
        read_information(trained).errors["test test.xyz good"]["forces_mae_mev_per_angstrom"], rel=1e-6
    )
    card = runner.invoke(app, ["info", str(trained), "--markdown"]).output
    assert "## Levels of theory" in card and "| cheap |" in card


@pytest.mark.parametrize("name", ["organic-start", "organic"])  # of four levels and of one, with uncertainties
def test_other_information_leaves_all_tensors_as_they_are(name, tmp_path):
    path = Path(shutil.copy(find_model(name), tmp_path / "copy.safetensors"))
    before, tensors = read_information(path), load_file(path)
    trial = Trial(structure="water, relaxed", quantity="largest error of a bond, Å", model=0.01, reference=None)
    change_information(path, trials=(trial,))
    assert read_information(path) == before.model_copy(update={"trials": (trial,)})
    found = load_file(path)
    assert found.keys() == tensors.keys() and all(torch.equal(found[key], tensors[key]) for key in tensors)
