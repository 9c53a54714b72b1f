"""The examples run with the shipped models and find their own results right."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from ase.io import read

from ase_nbody.cli import app

EXAMPLES = Path(__file__).parent.parent / "examples" / "md"
FEW_SHOT = EXAMPLES.parent / "few_shot"
FEW_STEPS = {
    "langevin": 40,
    "neb_ethanol": 4,
    "neb_malonaldehyde": 4,
    "npt_silicon": 10,
    "nve": 40,
    "relax_crystal": 4,
    "relax_molecule": 4,
    "restart": 10,
    "vibrations": 200,
}


def example(name, folder=EXAMPLES):
    specification = importlib.util.spec_from_file_location(f"example_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_short():
    files = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert files.keys() == FEW_STEPS.keys()
    assert all(len(path.read_text().splitlines()) < 80 for path in files.values())


@pytest.mark.parametrize("name", sorted(FEW_STEPS))
def test_example_with_few_steps(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example(name).main(FEW_STEPS[name])
    assert capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FEW_STEPS))
def test_example_with_all_steps(name, capsys):
    module = example(name)
    assert list(inspect.signature(module.main).parameters) == ["steps"]
    source = (EXAMPLES / f"{name}.py").read_text()
    default = int(source.split('"--steps", type=int, default=')[1].split(",")[0])
    module.main(default)
    assert capsys.readouterr().out


@pytest.mark.slow
def test_the_example_of_labelling(capsys):
    pytest.importorskip("tblite")
    example("sample_and_label", EXAMPLES.parent / "labelling").main(40)
    assert "40 labels by GFN2-xTB" in capsys.readouterr().out


def few_shot_frames():
    return {name: read(FEW_SHOT / f"{name}.xyz", ":") for name in ("fifty", "picked", "test", "torsion")}


def test_structures_of_the_example_of_few_are_small_labelled_and_apart():
    frames = few_shot_frames()
    assert {name: len(several) for name, several in frames.items()} == {
        "fifty": 50,
        "picked": 20,
        "test": 15,
        "torsion": 7,
    }
    assert sum((FEW_SHOT / f"{name}.xyz").stat().st_size for name in frames) < 200_000
    for frame in (frame for several in frames.values() for frame in several):
        assert frame.get_chemical_formula() == "C3H6N2"
        assert frame.info["level_of_theory"] == "PBE/def2-svp"
        assert np.isfinite(frame.get_potential_energy())
        assert np.linalg.norm(frame.get_forces().sum(axis=0)) < 0.05  # eV/Å, the limit of nbody label
    for frame in frames["torsion"]:
        assert np.cos(np.radians(frame.get_dihedral(0, 1, 2, 3) - frame.info["torsion"])) > 1 - 1e-4
    distances = [frame.get_all_distances() for frame in (*frames["fifty"], *frames["picked"])]
    for frame in frames["test"]:
        assert min(np.abs(frame.get_all_distances() - other).max() for other in distances) > 0.02  # Å


def test_the_molecule_of_the_example_of_few_is_in_no_list():
    chem = pytest.importorskip("rdkit.Chem")
    smiles = chem.MolToSmiles(chem.MolFromSmiles(few_shot_frames()["fifty"][0].info["name"]))
    for path in (EXAMPLES.parent.parent / "data" / "organic").glob("*.csv"):
        assert not re.search(rf"(^|[,.]){re.escape(smiles)}([,.]|$)", path.read_text(), flags=re.MULTILINE), path


def test_the_readme_of_the_example_of_few_is_short_and_its_commands_are_there():
    text = (FEW_SHOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    commands = typer.main.get_command(app).commands
    lines = [shlex.split(line, comments=True) for line in re.findall(r"^nbody .*$", text, flags=re.MULTILINE)]
    assert {words[1] for words in lines} == {"sample", "label", "adapt"}
    for words in lines:
        assert commands[words[1]].make_context(words[1], words[2:]).params
    for target in re.findall(r"\]\(([^)\s#]+)\)", text):
        assert (FEW_SHOT / target).exists(), target
    assert (FEW_SHOT / "few_shot.png").stat().st_size < 150_000


def test_the_scan_of_the_example_of_few_is_not_overwritten(tmp_path):
    output = tmp_path / "torsion.xyz"
    output.write_text("mine")
    with pytest.raises(FileExistsError, match="is not overwritten"):
        example("torsion", FEW_SHOT).main(FEW_SHOT / "fifty.xyz", output)
    assert output.read_text() == "mine"


def test_errors_and_dynamics_of_the_example_of_few(capsys):
    module, frames = example("few_shot", FEW_SHOT), few_shot_frames()
    start = module.started()
    errors = module.Errors.of(start, frames["test"], frames["torsion"])
    assert errors.profile[0] == 0.0 and errors.profile.shape == (7,)
    forces = [found["forces"] for found in start.calculate_many(frames["test"])]
    expected = [np.abs(found - f.get_forces()).mean() for found, f in zip(forces, frames["test"], strict=True)]
    assert errors.forces == pytest.approx(1000 * np.mean(expected), rel=1e-4)
    found = np.array([found["energy"] for found in start.calculate_many(frames["torsion"])])
    error = found - [f.get_potential_energy() for f in frames["torsion"]]
    assert errors.torsion == pytest.approx(1000 * np.abs(error - error[0]).max(), abs=1e-3)  # meV
    module.dynamics(start, frames["fifty"][0], 0.02)
    assert "0 of 41 steps outside the envelope" in capsys.readouterr().out


@pytest.mark.slow
def test_the_example_of_few_with_a_tiny_budget(capsys, tmp_path):
    module = example("few_shot", FEW_SHOT)
    module.NUMBERS, module.SCRATCH_MINUTES = (10,), 0.02
    module.main(20, 0.2, tmp_path / "curve.png")
    assert "adapted: 10 structures" in capsys.readouterr().out
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_scan_of_the_example_of_few(tmp_path):
    example("torsion", FEW_SHOT).main(FEW_SHOT / "fifty.xyz", tmp_path / "torsion.xyz")
    for made, shipped in zip(read(tmp_path / "torsion.xyz", ":"), few_shot_frames()["torsion"], strict=True):
        assert np.abs(made.get_all_distances() - shipped.get_all_distances()).max() < 0.02  # Å
