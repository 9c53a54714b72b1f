"""`nbody adapt`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch
from adaptation import ELEMENTS, frames_of, start_potential, teacher_of
from command_line import run_command

from ase_nbody import NBodyCalculator
from ase_nbody.model_file import Envelope, load_model, model_information, save_model
from ase_nbody.model_information import file_hash

QUICK = ("--method", "readout", "--steps", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start that knows nitrogen too, ten structures of another level, and some of its own."""
    path = tmp_path_factory.mktemp("adapt")
    start = start_potential((*ELEMENTS, "N"))
    envelope = Envelope(closest_distances={"C-H": 0.5, "N-N": 1.0}, force_max=99.0, energy_per_atom_range=(-9.0, 9.0))
    header = model_information(
        start, name="first", reference_energies_source="given", method="other", licence="CC0", envelope=envelope
    )
    save_model(path / "start.safetensors", start, header)
    ase.io.write(path / "ten.xyz", frames_of(teacher_of(start), 10))
    ase.io.write(path / "test.xyz", frames_of(teacher_of(start), 4, seed=70))
    ase.io.write(path / "own.xyz", frames_of(start, 3, "H2O"))
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `nbody adapt` in the folder."""
    monkeypatch.chdir(folder)
    return lambda *words: run_command(monkeypatch, capsys, "adapt", *words)


def test_a_model_is_adapted_and_its_card_says_how(run: Any, folder: Path) -> None:
    words = ("start.safetensors", "--data", "ten.xyz", "--test", "test.xyz", "--remember", "own.xyz", "--level", "PBE")
    status, out, error = run(*words, *QUICK, "--output", "mine.safetensors")
    assert status == 0, error
    for told in ("readouts, closed form *", "6 held-out structures (3 folds in turn)", "chosen: readouts, closed form"):
        assert told in out
    for told in (
        "errors on test test.xyz (4 structures)",
        "errors on remembered own.xyz, the start (3",
        "errors on remembered own.xyz (3",
        "no longer covered: N-N",
    ):
        assert told in out
    assert "do not determine the reference energies of H, C, O, N" in error
    potential, information = load_model(folder / "mine.safetensors")
    assert information.method == "PBE" and information.licence == "CC0" and information.name == "mine"
    assert information.training["start"]["name"] == "first"
    assert information.training["start"]["sha256"] == file_hash(folder / "start.safetensors")
    assert information.training["n_structures"] == 10
    assert [row["method"] for row in information.training["adaptation"]["tried"]] == ["start", "readout", "scratch"]
    forces = {name: report["forces_mae_mev_per_angstrom"] for name, report in information.errors.items()}
    remembered = {"remembered own.xyz, the start", "remembered own.xyz"}
    assert set(forces) == {"held out, the start", "held out", "test test.xyz", *remembered}
    held, start = (information.training["adaptation"]["tried"][n]["forces_mae_mev_per_angstrom"] for n in (1, 0))
    assert forces["held out"] == held < 0.7 * start == 0.7 * forces["held out, the start"]
    assert forces["remembered own.xyz, the start"] < 0.01 < forces["remembered own.xyz"]
    low, high = information.envelope.energy_per_atom_range or (0.0, 0.0)
    assert f"beyond the reference energies, {low:.4f} to {high:.4f} eV" in out
    assert f"covered: forces up to {information.envelope.force_max:.3g} eV/Å" in out
    assert potential.repulsion is not None and potential.repulsion.onsets["C-H"] < 0.6
    assert NBodyCalculator(folder / "mine.safetensors").information == information


def test_the_envelope_is_that_of_the_new_structures(folder: Path) -> None:
    envelope = load_model(folder / "mine.safetensors")[1].envelope
    frames = ase.io.read(folder / "ten.xyz", ":")
    assert "N-N" not in envelope.closest_distances and envelope.closest_distances["C-H"] > 0.8
    largest = max(float(torch.from_numpy(atoms.get_forces()).norm(dim=1).max()) for atoms in frames)
    assert envelope.force_max == pytest.approx(largest)


def test_an_output_that_is_there_stays(run: Any, folder: Path) -> None:
    before = (folder / "mine.safetensors").read_bytes()
    status, _, error = run("start.safetensors", "--data", "ten.xyz", *QUICK, "--output", "mine.safetensors")
    assert status == 1 and "--force" in error
    assert (folder / "mine.safetensors").read_bytes() == before


def test_a_model_that_would_be_worse_is_not_written(run: Any, folder: Path) -> None:
    start, information = load_model(folder / "start.safetensors")
    for readout in start.network.linear_readouts():
        readout.data *= 100.0
    save_model(folder / "bad.safetensors", start, information)
    words = ("bad.safetensors", "--data", "ten.xyz", "--method", "start", "--steps", 2, "--output", "bad2.safetensors")
    status, _, error = run(*words)
    assert status == 1 and "would be worse than from random weights" in error and "--accept-worse" in error
    assert not list(folder.glob("*bad2*"))
    assert run(*words, "--accept-worse")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere.safetensors", "--data", "ten.xyz"), "nowhere.safetensors"),
        (("start.safetensors", "--data", "nowhere.xyz"), "nowhere.xyz: there is no such file"),
        (("start.safetensors", "--data", "ten.xyz", "--method", "magic"), "method: Input should be 'choose', 'start'"),
        (("start.safetensors", "--data", "ten.xyz", "--hold-out", "0.9"), "hold_out: Input should be less than"),
        (
            ("start.safetensors", "--data", "ten.xyz", "--folds", "9"),
            "Error: 9 folds of 0.2 of the structures",
        ),
    ],
)
def test_wrong_input_is_named(run: Any, words: tuple[str, ...], told: str) -> None:
    status, _, error = run(*words, "--output", "none.safetensors")
    assert status == 1 and told in error and "Traceback" not in error


def test_the_output_must_be_a_model_file(run: Any) -> None:
    assert "must end in .safetensors" in run("start.safetensors", "--data", "ten.xyz", "--output", "mine.xyz")[2]


def test_an_element_that_the_start_does_not_know_is_named(run: Any, folder: Path) -> None:
    save_model(
        folder / "few.safetensors",
        start_potential(),
        model_information(start_potential(), name="few", reference_energies_source="given"),
    )
    ase.io.write(folder / "nitrogen.xyz", frames_of(start_potential((*ELEMENTS, "N")), 3, "NH3"))
    status, _, error = run("few.safetensors", "--data", "nitrogen.xyz", *QUICK, "--output", "none.safetensors")
    assert status == 1 and "nitrogen.xyz has N, which the start does not know (H, C, O)" in error


@pytest.mark.parametrize("option", ["--test", "--remember"])
def test_what_cannot_be_evaluated_at_the_end_is_refused_at_the_beginning(run: Any, folder: Path, option: str) -> None:
    ase.io.write(folder / "fluorine.xyz", frames_of(start_potential((*ELEMENTS, "F")), 2, "HF"))
    words = ("start.safetensors", "--data", "ten.xyz", option, "fluorine.xyz")
    status, out, error = run(*words, *QUICK, "--output", "none.safetensors")
    assert status == 1 and "fluorine.xyz has F, which the model does not know (H, C, O, N)" in error
    assert "held-out" not in out


def test_a_test_that_is_learnt_is_told(run: Any) -> None:
    words = ("start.safetensors", "--data", "ten.xyz", "--test", "ten.xyz", *QUICK, "--output", "learnt.safetensors")
    status, _, error = run(*words)
    assert status == 0 and "ten.xyz: 10 of 10 structures are copies of some in ten.xyz, which is learnt" in error


def test_labels_of_several_levels_of_theory_are_refused_unless_they_are_said_to_be_one(run: Any, folder: Path) -> None:
    frames = ase.io.read(folder / "ten.xyz", ":")
    for number, atoms in enumerate(frames):
        atoms.info["level_of_theory"] = ("PBE", "B3LYP")[number % 2]
    ase.io.write(folder / "two.xyz", frames)
    words = ("start.safetensors", "--data", "two.xyz", *QUICK, "--output", "two.safetensors")
    status, _, error = run(*words)
    assert status == 1 and "two.xyz has labels of several levels of theory, PBE, B3LYP" in error
    status, _, error = run(*words, "--level", "DFT")
    assert status == 0 and "different levels of theory" in error
    assert load_model(folder / "two.safetensors")[1].method == "DFT"


def test_a_folder_that_takes_no_files_is_named_before_time_is_spent(
    run: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    words = ("start.safetensors", "--data", "ten.xyz", *QUICK, "--output", "locked/mine.safetensors")
    status, out, error = run(*words)
    assert status == 1 and "locked takes no new files; give another --output" in error and "held-out" not in out
