"""Sampling and labelling load torch only for calculators that need it: in the command, and in its processes."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from ase.build import molecule
from ase.io import write

import ase_nbody.data
import ase_nbody.labelling

TESTS = Path(__file__).parent
# Prints what is loaded at the end: of the command, and of each process once it has answered a task.
COMMAND = """
import sys
from ase_nbody.cli import main

if __name__ == "__main__":
    try:
        main()
    finally:
        print("torch" if "torch" in sys.modules else "light", file=sys.stderr)
else:
    from ase_nbody.labelling import worker

    answer = worker._answer

    def answer_and_print(connection, function):
        answer(connection, function)
        print("torch" if "torch" in sys.modules else "light", file=sys.stderr, flush=True)

    worker._answer = answer_and_print
"""


def loaded(folder: Path, *arguments: object) -> list[str]:
    """What the command and its processes load: a word for each answer of a process, and one of the command."""
    (folder / "command.py").write_text(COMMAND)
    run = subprocess.run(
        [sys.executable, "command.py", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return [line for line in run.stderr.splitlines() if line in ("light", "torch")]


IMPORTS = """
import sys
import ase_nbody.cli.runs.label_run, ase_nbody.cli.runs.sample_run
import ase_nbody.labelling.labels, ase_nbody.labelling.sampling.sample
from ase_nbody.labelling import reference

print("torch" in sys.modules, file=sys.stderr)
for spec in sys.argv[1:]:
    reference(spec).calculator()
    print("torch" in sys.modules, file=sys.stderr)
"""


def test_modules_and_references_need_no_torch():
    packages = {"ase": "ase:EMT", "tblite": "tblite:GFN2-xTB", "pyscf": "pyscf:PBE/sto-3g"}
    there = [spec for package, spec in packages.items() if find_spec(package) is not None]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, "-c", IMPORTS, *there]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr.split() == ["False"] * (1 + len(there))


def test_processes_that_label_load_neither_torch_nor_scipy():
    code = "import sys, label_teacher, ase_nbody.labelling.tasks; print({'torch', 'scipy'} & sys.modules.keys())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout == "set()\n", run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "calculator", "words"),
    [
        ("ase", "ase:EMT", "light"),
        ("pyscf", "pyscf:PBE/sto-3g", "light"),
        ("tblite", "tblite:GFN2-xTB", "light"),
        ("torch", "model:organic", "torch"),
    ],
)
def test_labels_need_no_torch_but_for_those_of_models(tmp_path, package, calculator, words):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    write(tmp_path / "in.xyz", molecule("H2"))
    options = ("--with", calculator, "--no-consistency", "--processes", 1, "--output", "out.xyz")
    assert loaded(tmp_path, "label", "in.xyz", *options) == [words, words]


@pytest.mark.slow
def test_samples_need_no_torch(tmp_path):
    pytest.importorskip("tblite")
    options = ("--number", 3, "--kinds", "md,rattle", "--processes", 1, "--output", "out.xyz")
    assert loaded(tmp_path, "sample", "H2", *options) == ["light", "light"]


@pytest.mark.parametrize("package", [ase_nbody.data, ase_nbody.labelling])
def test_names_that_are_imported_on_first_use_are_there_and_hide_no_module(package):
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)
    for module in modules:
        importlib.import_module(f"{package.__name__}.{module}")
    assert all(not isinstance(getattr(package, name), type(sys)) for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
