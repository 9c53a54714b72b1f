"""The command line: what it writes, prints and refuses. The model is small and untrained."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from command_line import run_command, tiny_model

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.cli import error_message, main
from ase_nbody.cli.inputs import read_structure
from ase_nbody.labelling import SampleSettings
from ase_nbody.model_file import Envelope, file_hash, read_information
from ase_nbody.models_directory import find_model, list_models

PAIRS = ["-".join(sorted(pair)) for pair in combinations_with_replacement(("H", "C", "O", "Si"), 2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(
        tmp_path_factory.mktemp("models"),
        ("H", "C", "O", "Si"),
        errors={"test": {"forces_mae_mev_per_angstrom": 12.5}},
        envelope=Envelope(closest_distances=dict.fromkeys(PAIRS, 0.5), force_max=3.0),
    )


@pytest.fixture
def threads_set(monkeypatch):
    """Numbers of threads that commands set; the tests' own process keeps its number."""
    numbers = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    return numbers


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path, threads_set):
    """Run a command line in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return partial(run_command, monkeypatch, capsys)


def rows(path):
    with open(path, newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_the_command_line_starts_without_heavy_imports():
    heavy = "{'torch', 'e3nn', 'llvmlite', 'ase', 'numpy', 'matplotlib', 'lightning_fabric'}"
    code = f"import sys, ase_nbody.cli; found = {heavy} & sys.modules.keys(); sys.exit(str(found) if found else 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", ["models", "info", "train", "evaluate", "md", "relax", "neb"])
def test_every_command_has_help(nbody, command):
    status, out, _ = nbody(command, "--help")
    assert status == 0
    assert "Usage" in out


def test_errors_are_one_paragraph_without_traceback(nbody, model):
    status, out, err = nbody("md", "nothing.xyz", "--model", model, "--output", "out.traj")
    assert status == 1
    assert out == ""
    assert err.startswith("Error: there is no file 'nothing.xyz'")
    assert err.count("\n") == 1


def test_debug_shows_where(monkeypatch, model):
    monkeypatch.setattr(sys, "argv", ["nbody", "info", "nothing.safetensors", "--debug"])
    with pytest.raises(FileNotFoundError):
        main()


def test_unexpected_errors_are_named():
    assert error_message(KeyError("x")) == "Error: KeyError: 'x' (nbody --debug ... shows where)"
    assert error_message(ValueError("two\n lines")) == "Error: two lines"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperatures": (-5.0,)}, "temperatures.0: Input should be greater than 0, got -5.0"),
        ({"temperatures": ()}, "temperatures: Tuple should have at least 1 item after validation, not 0, got ()"),
        (
            {"number": 0, "other": 1},
            "number: Input should be greater than or equal to 1, got 0; other: Extra inputs are not permitted, got 1",
        ),
    ],
)
def test_each_wrong_setting_is_named_once(settings, words):
    with pytest.raises(ValueError) as refused:
        SampleSettings(**settings)
    assert error_message(refused.value) == f"Error: {words}"


def test_usage_errors_are_not_zero(nbody):
    assert nbody("md", "--nonsense")[0] == 2


def test_models_lists_files_and_says_which_are_no_models(nbody, model):
    (model.parent / "broken.safetensors").write_text("no model")
    status, out, _ = nbody("models", "--directory", model.parent)
    (model.parent / "broken.safetensors").unlink()
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "H,C,O,Si" in lines[str(model)] and "4 Å" in lines[str(model)]
    assert "not usable" in lines[str(model.parent / "broken.safetensors")]


def test_info_shows_the_card(nbody, model, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = nbody("info", model)
    assert status == 0
    for text in ("H, C, O, Si", "4 Å", "energy eV", "H-O 0.50", "3 eV/Å", file_hash(model)[:16], "--verbose"):
        assert text in out
    status, out, _ = nbody("info", model, "--verbose")
    assert status == 0
    for text in ("H, C, O, Si", "4 Å", "energy eV", "H-O 0.500 Å", "3 eV/Å", "12.5", file_hash(model)):
        assert text in out


def test_info_counts_files_where_they_are_many(nbody, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    files = [file for file in read_information(find_model("organic-start")).data if file.role == "train"]
    total = sum(file.n_structures for file in files)
    assert f"{total} structures of {len(files)} files" in nbody("info", "organic-start")[1] and len(files) > 8
    assert "aspirin_train.xyz (" in nbody("info", "organic")[1]


def test_info_and_models_notice_a_flipped_bit(nbody, model):
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    damaged = model.with_name("damaged.safetensors")
    damaged.write_bytes(bytes(content))
    status, _, error = nbody("info", damaged)
    assert status == 1 and "checksum" in error
    status, out, _ = nbody("models", "--directory", model.parent)
    assert any("damaged" in line and "not usable" in line for line in out.splitlines())


@pytest.mark.parametrize("name", [entry.name for entry in list_models()])
def test_info_on_shipped_models_fits_one_screen_and_says_what_they_are_for(nbody, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = nbody("info", name)
    assert status == 0
    assert len(out.splitlines()) <= 24  # lines of a terminal
    assert {"for", "not for"} <= {line.split("  ")[0] for line in out.splitlines()}


def test_nve_conserves_energy_and_starts_at_the_temperature(nbody, model):
    status, out, _ = nbody(
        *("md", "CH3CH2OH", "--model", model, "--ensemble", "nve", "--steps", 55, "--temperature", 200),
        *("--timestep", 0.25, "--output", "run/out.traj"),
    )
    assert status == 0
    log = rows("run/out.csv")
    assert [row["step"] for row in log] == [0, 10, 20, 30, 40, 50, 55]
    assert log[0]["temperature_K"] == pytest.approx(200.0, abs=1e-3)
    kinetic = [row["kinetic_energy_eV"] for row in log]
    assert np.ptp([row["total_energy_eV"] for row in log]) < 0.02 * np.ptp(kinetic)
    frames = read("run/out.traj", ":")
    assert len(frames) == len(log)
    assert frames[-1].get_total_energy() == pytest.approx(log[-1]["total_energy_eV"], abs=1e-7)
    assert np.abs(frames[-1].get_momenta().sum(axis=0)).max() < 1e-9
    assert np.abs(frames[0].get_angular_momentum()).max() < 1e-9
    for text in ("ms/step", "temperature", "energy drift", "run/out.traj", "run/out.csv", "run/out.png"):
        assert text in out


def test_a_seed_decides_the_run(nbody, model):
    command = ("md", "H2O", "--model", model, "--steps", 10, "--seed")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        nbody(*command, seed, "--output", f"{name}.traj")
    a, b, c = (read(f"{name}.traj").positions for name in "abc")
    assert (a == b).all()
    assert (a != c).all()


def test_a_continued_run_is_the_unbroken_one(nbody, model):
    command = ("--model", model, "--ensemble", "nve", "--output")
    nbody("md", "H2O", "--steps", 25, *command, "whole.traj")
    nbody("md", "H2O", "--steps", 13, *command, "first.traj")
    status, *_ = nbody("md", "--restart", "first.traj", "--steps", 12, *command, "second.traj")
    assert status == 0
    whole, second = read("whole.traj"), read("second.traj")
    assert np.abs(whole.positions - second.positions).max() < 1e-10
    assert np.abs(whole.get_momenta() - second.get_momenta()).max() < 1e-10


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["H2O", "--restart", "old.traj"], "and not both"),
        ([], "either a STRUCTURE or --restart"),
        (["--restart", "absent.traj"], "no trajectory absent.traj"),
        (["--restart", "old.traj"], "no momenta"),
        (["--restart", "out.traj"], "being continued"),
        (["SO2"], "S"),
        (["H2O", "--ensemble", "npt"], "periodic in three directions"),
        (["H2O", "--timestep", "-1"], "timestep"),
        (["H2O", "--device", "typewriter"], "device"),
    ],
)
def test_md_refuses(nbody, model, arguments, message):
    write("old.traj", molecule("H2O"))
    status, _, err = nbody("md", *arguments, "--model", model, "--steps", 1, "--output", "out.traj")
    assert status == 1
    assert message in err


def test_nothing_is_overwritten_without_force(nbody, model):
    command = ("md", "H2O", "--model", model, "--steps", 1, "--output", "out.traj")
    assert nbody(*command)[0] == 0
    before = read("out.traj").positions
    status, _, err = nbody(*command, "--seed", 5)
    assert status == 1 and "--force" in err
    assert (read("out.traj").positions == before).all()
    assert nbody(*command, "--seed", 5, "--force")[0] == 0
    assert (read("out.traj").positions != before).any()
    assert "ends in .traj" in nbody("md", "H2O", "--model", model, "--output", "out.xyz")[2]


def test_npt_moves_the_cell_and_logs_it(nbody, model):
    command = ("md", "Si", "--supercell", 1, 1, 2, "--model", model, "--ensemble", "npt", "--pressure", 5)
    status, out, _ = nbody(*command, "--barostat-time", 100, "--steps", 20, "--output", "out.traj")
    assert status == 0
    log = rows("out.csv")
    assert log[-1]["volume_A3"] != log[0]["volume_A3"]
    frame = read("out.traj")
    assert len(frame) == 16
    assert frame.cell.lengths()[2] / frame.cell.lengths()[0] == pytest.approx(2.0)
    assert "volume" in out and "GPa" in out


def test_structures_by_file_and_name(tmp_path):
    frames = [molecule("H2O"), molecule("CH4")]
    path = tmp_path / "two.xyz"
    write(path, frames)
    assert len(read_structure(str(path))) == 5
    assert len(read_structure(f"{path}@0")) == 3
    assert read_structure("Si").pbc.all() and len(read_structure("Si")) == 8
    assert read_structure("CH3CH2OH").get_chemical_formula() == "C2H6O"
    with pytest.raises(ValueError, match="2 structures"):
        read_structure(f"{path}@:")
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(ValueError, match="empty"):
        read_structure(str(tmp_path / "empty.xyz"))
    (tmp_path / "text.xyz").write_text("hello\nworld\n")
    with pytest.raises(ValueError, match="cannot read"):
        read_structure(str(tmp_path / "text.xyz"))


def test_relax_reaches_fmax(nbody, model):
    status, out, _ = nbody("relax", "CH4", "--model", model, "--fmax", 0.02, "--output", "out.traj")
    assert status == 0
    last = read("out.traj")
    assert np.linalg.norm(last.get_forces(), axis=1).max() <= 0.02
    assert last.get_potential_energy() <= read("out.traj@0").get_potential_energy()
    assert f"{last.get_potential_energy():.6f} eV" in out


def test_relax_with_cell_removes_the_stress(nbody, model):
    strained = bulk("Si", cubic=True)
    strained.set_cell(strained.cell * 1.03, scale_atoms=True)
    write("strained.traj", strained)
    command = ("relax", "strained.traj", "--model", model, "--cell", "--output", "out.traj", "--fmax")
    status, *_ = nbody(*command, 2e-5)
    assert status == 0
    first, last = read("out.traj@0"), read("out.traj")
    assert last.get_volume() != pytest.approx(first.get_volume(), rel=1e-4)
    assert np.abs(last.get_stress()).max() < 0.1 * np.abs(first.get_stress()).max()


def test_relax_says_when_it_does_not_converge(nbody, model):
    status, _, err = nbody("relax", "CH4", "--model", model, "--fmax", 1e-9, "--steps", 2, "--output", "out.traj")
    assert status == 1 and "after 2 steps" in err
    status, _, err = nbody("relax", "CH4", "--model", model, "--cell", "--output", "other.traj")
    assert status == 1 and "periodic" in err


def test_neb_joins_the_ends(nbody, model):
    initial = molecule("H2O")
    final = initial.copy()
    final.set_distance(0, 1, 1.3, fix=0)
    write("a.xyz", initial)
    write("b.xyz", final)
    command = ("neb", "a.xyz", "b.xyz", "--model", model, "--images", 5, "--fmax", 0.2, "--output", "out.traj")
    status, out, _ = nbody(*command, "--keep-ends")
    assert status == 0
    path = read("out.traj", ":")
    energies = [image.get_potential_energy() for image in path]
    calculator = NBodyCalculator(model)
    assert energies == pytest.approx([calculator.get_potential_energy(image) for image in path])
    bonds = [image.get_distance(0, 1) for image in path]
    assert bonds[0] == pytest.approx(initial.get_distance(0, 1)) and bonds[-1] == pytest.approx(1.3)
    assert bonds == sorted(bonds)
    assert f"{max(energies) - energies[0]:.4f} eV forward" in out
    assert "out.png" in out


def test_neb_refuses_other_atoms(nbody, model):
    write("a.xyz", molecule("H2O"))
    write("b.xyz", molecule("H2O")[[1, 0, 2]])
    write("c.xyz", molecule("CH4"))
    command = ("--model", model, "--output", "out.traj")
    assert "same order" in nbody("neb", "a.xyz", "b.xyz", *command)[2]
    assert "3 and 5 atoms" in nbody("neb", "a.xyz", "c.xyz", *command)[2]


def test_threads_are_those_asked_for_and_one_for_small_structures(nbody, model, threads_set, monkeypatch):
    for options in ([], ["--threads", "3"]):
        arguments = ["md", "H2O", "--model", model, "--steps", "1", "--output", f"out{len(options)}.traj", *options]
        assert nbody(*arguments)[0] == 0
    assert threads_set == [1, 3]
    monkeypatch.setattr("ase_nbody.cli.inputs.ATOMS_OF_ONE_THREAD", 2)
    assert nbody("md", "H2O", "--model", model, "--steps", "1", "--output", "large.traj")[0] == 0
    assert threads_set == [1, 3]


def test_evaluate_takes_the_threads_asked_for(nbody, model, threads_set):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((3, 3)))
    write("data.xyz", atoms)
    assert nbody("evaluate", model, "--data", "data.xyz", "--threads", "2")[0] == 0
    assert threads_set == [2]


def test_evaluate_writes_the_errors(nbody, model):
    calculator = NBodyCalculator(model)
    frames = []
    for seed in range(3):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy + 0.003, forces=forces + 0.01)
        frames.append(atoms)
    write("data.xyz", frames)
    status, out, _ = nbody("evaluate", model, "--data", "data.xyz", "--json", "out.json", "--plot", "plots")
    assert status == 0
    errors = json.loads(Path("out.json").read_text())
    assert errors["n_structures"] == 3
    assert errors["energy_mae_mev"] == pytest.approx(3.0, abs=1e-3)
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(1.0, abs=1e-3)
    assert errors["forces_rmse_mev_per_angstrom"] == pytest.approx(10.0, abs=1e-3)
    assert "10.0" in out and "plots" in out
    status, _, err = nbody("evaluate", model, "--data", "data.xyz", "--json", "out.json")
    assert status == 1 and "--force" in err
