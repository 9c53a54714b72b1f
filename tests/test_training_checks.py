"""Settings, files and outputs of a training that are refused before any data are read."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from pair_training import QUIET, argon_frames
from rich.console import Console
from typer.testing import CliRunner

from ase_nbody.cli import app
from ase_nbody.cli.runs.training import run_training
from ase_nbody.data import Dataset, isolated_energies, merge, read_dataset
from ase_nbody.training.display import Display
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings, training_settings
from ase_nbody.training.training_data import read_training_data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no data that may be read."""

    def read(path: Path, **_: Any) -> None:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("ase_nbody.training.training_data.read_dataset", read)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": {"chanels": 4}}, "chanels: Extra inputs.*it has .*channels"),
        ({"model": {"cutoff": -2.0}}, "cutoff: .*greater than 0"),
        ({"model": {"cutoff": float("inf")}}, "cutoff: .*finite"),
        ({"model": {"channels": "many"}}, "channels: .*integer"),
        ({"model": {"elements": ["Xx"]}}, "elements: .*'Xx'"),
        ({"architecture": "gap"}, "no architecture 'gap'; known are .*nbody"),
        ({"architecture": "nequip", "model": {"body_order": 3}}, "body_order: Extra inputs"),
        ({"preset": "huge"}, "preset: .*'small', 'medium' or 'large'"),
        ({"device": "typewriter"}, "device: .*'auto', 'cpu' or 'cuda'"),
        ({"device": "cuda"}, "'cuda' is not there"),
        ({"dtype": "float16"}, "dtype: .*'float32' or 'float64'"),
        ({"minutes": -1.0}, "minutes: .*greater than 0"),
        ({"minutes": float("inf")}, "minutes: .*finite"),
        ({"learning_rate": float("nan")}, "learning_rate: .*"),
        ({"energy_weight": float("inf")}, "energy_weight: .*finite"),
        ({"epochs": 0}, "epochs: .*greater than or equal to 1"),
        ({"seed": 2**70}, "seed: .*less than"),
        ({"batch_size": 0}, "batch_size"),
        ({"start": "inorganic"}, "no shipped model is called 'inorganic'"),
        ({"start": "there.xyz"}, "not a safetensors file"),
        ({"output": "absent/m.safetensors"}, "no folder 'absent' for the output"),
        ({"output": "a_folder.safetensors"}, "'a_folder.safetensors' is a folder"),
        ({"output": "m.safetensors"}, "is there already"),
        ({"output": "n.safetensors"}, "'n.checkpoint.safetensors' is a folder"),
        ({"output": "x" * 240 + ".safetensors"}, "nothing can be written beside the output.*shorter name"),
        ({"test": ["there.xyz", "absent.xyz"]}, "absent.xyz: there is no such file"),
        ({"data": ["there.xyz", "no.xyz"], "valid": "nor.xyz"}, "no.xyz: there is no such file; nor.xyz: there is"),
        ({"valid": "a_folder.safetensors"}, "a_folder.safetensors is not a file"),
        ({"isolated_energy_key": "e"}, "isolated_energy_key .* isolated_atoms"),
        ({"isolated_atoms": "absent.xyz"}, "absent.xyz: there is no such file"),
    ],
)
def test_what_is_wrong_is_refused_before_data_are_read(folder: Path, given: dict[str, Any], words: str) -> None:
    for name in ("there.xyz", "m.safetensors"):
        (folder / name).write_text("here")
    for name in ("a_folder.safetensors", "n.checkpoint.safetensors"):
        (folder / name).mkdir()
    before = sorted(folder.iterdir())
    with pytest.raises((ValueError, OSError), match=words):
        train(training_settings({"data": "there.xyz", "output": "new.safetensors", **given}), console=QUIET)
    assert sorted(folder.iterdir()) == before


def test_settings_go_before_files_that_are_not_there(folder: Path) -> None:
    with pytest.raises(ValueError, match="chanels"):
        run_training({"data": [Path("absent.xyz")], "output": Path("m.safetensors"), "set_": ["chanels=4"], "force": 0})
    with pytest.raises(ValueError, match="cutoff"):
        run_training({"data": [Path("absent.xyz")], "output": Path("m.safetensors"), "cutoff": -2.0, "force": False})


def test_command_refuses_words_that_are_no_choice(folder: Path) -> None:
    arguments = ["train", "--data", "absent.xyz", "--output", "m.safetensors"]
    for wrong in (["--device", "typewriter"], ["--dtype", "float16"], ["--set", "channels"], ["--preset", "huge"]):
        result = CliRunner().invoke(app, [*arguments, *wrong])
        assert result.exit_code != 0
        assert "was read" not in f"{result.output} {result.exception}"


# --- what is said of the data ---------------------------------------------------------------------------------------


def test_what_the_data_leave_open_is_said_and_kept(tmp_path: Path) -> None:
    frames = [molecule(name) for name in ("CH3CH2OH", "CH3OCH3", "CH3CH2OH")]
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=-float(frame.numbers.sum()))
    ase.io.write(tmp_path / "isomers.xyz", frames)
    settings = training_settings({"data": tmp_path / "isomers.xyz", "output": tmp_path / "m.safetensors"})
    log = io.StringIO()
    found = read_training_data(settings, Display(Console(file=log, soft_wrap=True, width=1000)))
    warnings = [line for line in log.getvalue().splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "do not determine the reference energies of H, C, O" in warnings[0] and "--isolated-atoms" in warnings[0]
    assert "H, C, O: not determined by the compositions of the data" in found.references_source
    for symbol in ("H", "C"):
        frames.append(Atoms(symbol))
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=-1.0)
    ase.io.write(tmp_path / "isomers.xyz", frames)
    log = io.StringIO()
    read_training_data(settings, Display(Console(file=log)))
    assert "warning" not in log.getvalue()


def test_notes_of_every_file_are_printed_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(path: Path, **keys: Any) -> Dataset:
        return replace(read_dataset(path, **keys), notes=(f"odd units in {Path(path).name}",))

    monkeypatch.setattr("ase_nbody.training.training_data.read_dataset", noted)
    test = data.with_name("test.xyz")
    test.write_bytes(data.read_bytes())
    settings = settings_of(data, data, isolated_atoms=None, test=(test, test))
    log = io.StringIO()
    found = read_training_data(settings, Display(Console(file=log, width=1000)))
    warnings = [line for line in log.getvalue().splitlines() if line.startswith("warning:")]
    assert warnings[:2] == ["warning: odd units in argon.xyz", "warning: odd units in test.xyz"]
    assert len(warnings) == 3 and "test.xyz: " in warnings[2] and "are copies of some in" in warnings[2]
    assert found.train.notes == found.valid.notes == ("odd units in argon.xyz",)
    assert merge([found.train, found.tests[0]]).notes == (
        "argon.xyz: odd units in argon.xyz",
        "test.xyz: odd units in test.xyz",
    )


# --- keys of isolated atoms -----------------------------------------------------------------------------------------


def atom(symbol: str, **energies: float) -> Atoms:
    atoms = Atoms(symbol)
    if "calculator" in energies:
        atoms.calc = SinglePointCalculator(atoms, energy=energies.pop("calculator"))
    atoms.info.update(energies)
    return atoms


@pytest.fixture
def data(tmp_path: Path) -> Path:
    frames = argon_frames(6)
    for frame in frames:
        frame.info["my_energy"] = frame.get_potential_energy()
    ase.io.write(tmp_path / "argon.xyz", frames)
    return tmp_path / "argon.xyz"


def settings_of(data: Path, isolated: Path, **keys: Any) -> TrainingSettings:
    values = {"data": data, "output": data.with_name("m.safetensors"), "isolated_atoms": isolated}
    return training_settings({**values, "forces_key": "forces", **keys})


def test_isolated_atoms_have_the_key_of_the_data(tmp_path: Path, data: Path) -> None:
    isolated = tmp_path / "atoms.xyz"
    ase.io.write(isolated, [atom("Ar", calculator=-7.0, my_energy=-0.3, other=-0.5)])
    assert isolated_energies(isolated) == {"Ar": -7.0}
    assert isolated_energies(isolated, energy_key="my_energy") == {"Ar": -0.3}
    for keys, energy in (
        ({"energy_key": "my_energy"}, -0.3),
        ({"energy_key": "my_energy", "isolated_energy_key": "other"}, -0.5),
        ({"isolated_energy_key": "other"}, -0.5),
    ):
        assert read_training_data(settings_of(data, isolated, **keys), Display(QUIET)).references == {"Ar": energy}


def test_isolated_atoms_without_the_key_name_what_was_found(tmp_path: Path, data: Path) -> None:
    isolated = tmp_path / "atoms.xyz"
    ase.io.write(isolated, [atom("Ar", other=-0.5)])
    with pytest.raises(ValueError, match=r"atoms.xyz: .*'my_energy'.*keys found: info: other.*--isolated-energy-key"):
        read_training_data(settings_of(data, isolated, energy_key="my_energy"), Display(QUIET))


def test_an_isolated_atom_without_energy_is_named_and_not_fitted(tmp_path: Path) -> None:
    isolated = tmp_path / "atoms.xyz"
    ase.io.write(isolated, [atom("Ar", my_energy=-0.3), atom("Ne", other=-0.5)])
    with pytest.raises(ValueError, match=r"isolated Ne without an energy \(energy from my_energy.*1 of 2"):
        isolated_energies(isolated, energy_key="my_energy")


def test_a_test_and_a_validation_that_are_learnt_are_told(tmp_path: Path) -> None:
    frames = argon_frames(12)
    ase.io.write(tmp_path / "train.xyz", frames[:8])
    ase.io.write(tmp_path / "other.xyz", frames[7:])
    ase.io.write(tmp_path / "new.xyz", frames[8:])
    files = {name: tmp_path / f"{name}.xyz" for name in ("train", "other", "new")}
    common = {"data": files["train"], "output": tmp_path / "m.safetensors"}
    for others in ({"valid": files["other"], "test": [files["new"]]}, {"test": [files["new"], files["other"]]}):
        told = io.StringIO()
        read_training_data(training_settings({**common, **others}), Display(Console(file=told, width=1000)))
        words = [line for line in told.getvalue().splitlines() if "are copies of some in" in line]
        assert len(words) == 1 and "other.xyz: 1 of 5 structures are copies" in words[0]
