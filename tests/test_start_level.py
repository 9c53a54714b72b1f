"""A start of several levels of theory is taken at the one that is nearest to the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from command_line import run_command
from test_levels_of_theory import labelled, trained  # noqa: F401 - a fixture

from ase_nbody import NBodyCalculator
from ase_nbody.data import read_dataset
from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.start_level import scores_of_levels
from ase_nbody.model_file import read_information
from ase_nbody.models_directory import find_model

AT_ONCE = ("--method", "start", "--steps", "1", "--accept-worse")


@pytest.fixture(params=["good", "cheap"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A level, and labels of it that do not name it."""
    return request.param, labelled(tmp_path / "labels.xyz", request.param, 24, 5, program=False)


@pytest.fixture
def adapted(
    trained: Path,  # noqa: F811
    data: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[Path, str]]:
    """The model that `nbody adapt` makes of the labels, with further options, and what it prints, on one line."""

    def adapt(*options: str) -> tuple[Path, str]:
        output = tmp_path / "mine.safetensors"
        command = ("adapt", trained, "--data", data[1], "--output", output, *AT_ONCE, *options)
        status, out, err = run_command(monkeypatch, capsys, *command)
        assert status == 0, err
        return output, " ".join((out + err).split())

    return adapt


def forces(model: object, level: str | None = None) -> np.ndarray:
    atoms = Atoms("H2O", positions=[(0.8, 0.0, 0.6), (-0.8, 0.1, 0.6), (0, 0, 0)])
    return NBodyCalculator(model, outside="ignore", level=level).get_forces(atoms)  # type: ignore[arg-type]


def without(data: Dataset, name: str) -> Dataset:
    return replace(data, labels=tuple(replace(label, **{name: None}) for label in data.labels))


@pytest.mark.parametrize("missing", [None, "energy", "forces"])
def test_the_nearest_level_has_the_lowest_score(trained: Path, data: tuple[str, Path], missing: str | None) -> None:  # noqa: F811
    level, path = data
    dataset = read_dataset(path)
    scores = scores_of_levels(trained, dataset if missing is None else without(dataset, missing), AdaptationSettings())
    assert set(scores) == {"good", "cheap"} and next(iter(scores)) == level
    assert scores[level] == min(scores.values()) < 0.8 * max(scores.values())


def test_the_command_says_the_level_and_begins_there(
    trained: Path,  # noqa: F811
    data: tuple[str, Path],
    adapted: Callable[..., tuple[Path, str]],
) -> None:
    output, told = adapted()
    assert f"the start is taken at its level {data[0]}, the nearest to these labels" in told
    assert read_information(output).training["start"]["level_of_theory"] == data[0]
    np.testing.assert_allclose(forces(output), forces(trained, data[0]), atol=1e-5)


def test_a_level_that_is_named_is_taken(
    trained: Path,  # noqa: F811
    data: tuple[str, Path],
    adapted: Callable[..., tuple[Path, str]],
) -> None:
    other = {"good": "cheap", "cheap": "good"}[data[0]]
    output, told = adapted("--start-level", other)
    assert "nearest" not in told
    np.testing.assert_allclose(forces(output), forces(trained, other), atol=1e-5)


def test_a_calculator_that_names_no_level_is_adapted_from_the_nearest(trained: Path, data: tuple[str, Path]) -> None:  # noqa: F811
    level, path = data
    frames = read(path, ":")
    for chosen in (None, "good", "cheap"):
        calculator = NBodyCalculator(trained, level=chosen, outside="ignore")
        adapted = calculator.adapt(frames, method="start", steps=1, accept_worse=True)
        np.testing.assert_allclose(forces(adapted.potential), forces(trained, chosen or level), atol=1e-5)


def test_of_many_structures_some_are_looked_at_from_all_of_the_file(trained: Path, tmp_path: Path) -> None:  # noqa: F811
    first = labelled(tmp_path / "first.xyz", "good", 30, 6, program=False)
    rest = labelled(tmp_path / "rest.xyz", "cheap", 90, 7, program=False)
    (tmp_path / "both.xyz").write_text(first.read_text() + rest.read_text())
    scores = scores_of_levels(trained, read_dataset(tmp_path / "both.xyz"), AdaptationSettings())
    assert next(iter(scores)) == "cheap"  # as three of four structures are


def test_a_start_of_one_level_has_none_to_choose() -> None:
    water = Dataset((Atoms("H"),), (Labels(energy=-13.0),), "labels.xyz", "0" * 64, "energies")
    assert scores_of_levels(find_model("organic"), water, AdaptationSettings()) == {}
