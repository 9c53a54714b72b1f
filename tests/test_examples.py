"""The examples run with the shipped models and find their own results right."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples" / "md"
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
