"""The end of a training: whatever cannot be written or evaluated, the weights are not lost."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from pair_training import PAIR, QUIET, StopAfter, argon_frames, pair_settings
from rich.console import Console

from ase_nbody.model_file import load_model, read_information, save_model
from ase_nbody.training import finish, loop
from ase_nbody.training.checkpoint import checkpoint_path, checkpoint_step
from ase_nbody.training.history import history_path, learning_curve_path
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.stopping import TrainingStoppedError

FULL = OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
        monkeypatch.setattr(f"{module}.architectures", lambda: {"pair": PAIR})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 12 labelled frames and an isolated atom."""
    path = tmp_path_factory.mktemp("data") / "argon.xyz"
    atom = Atoms("Ar")
    atom.calc = SinglePointCalculator(atom, energy=0.0)
    ase.io.write(path, [*argon_frames(12), atom])
    return path


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> TrainingSettings:
    return pair_settings(data, tmp_path / "m.safetensors", epochs=3)


def failing(*_: Any, **__: Any) -> None:
    raise FULL


def with_small_files(*arguments: Any, **keywords: Any) -> Path:
    """save_model where the system allows no file of more than 1000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        return save_model(*arguments, **keywords)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def truncated(path: Path, *arguments: Any, **keywords: Any) -> None:
    save_model(path, *arguments, **keywords)
    path.write_bytes(path.read_bytes()[:-20])


def with_a_wrong_number(path: Path, *arguments: Any, **keywords: Any) -> None:
    save_model(path, *arguments, **keywords)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def no_steps(*_: Any, **__: Any) -> float:
    raise AssertionError("a step was taken")


def left(settings: TrainingSettings) -> set[str]:
    return set(os.listdir(settings.output.parent))


@pytest.mark.parametrize("save", [failing, with_small_files, truncated, with_a_wrong_number])
def test_a_model_that_cannot_be_written_is_finished_later_without_training(
    settings: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[..., Any]
) -> None:
    whole = train(settings.model_copy(update={"output": tmp_path / "whole.safetensors"}), console=QUIET)
    monkeypatch.setattr(finish, "save_model", save)
    with pytest.raises(OSError, match=r"m.safetensors' could not.*m.checkpoint.safetensors.*ulimit -f") as refused:
        train(settings, console=QUIET)
    assert "the same command finishes from it without training again" in str(refused.value)
    assert {n for n in left(settings) if not n.startswith("whole")} == {"m.checkpoint.safetensors", "m.history.csv"}
    monkeypatch.setattr(finish, "save_model", save_model)
    monkeypatch.setattr(loop, "take_step", no_steps)
    train(settings, console=QUIET)
    first, second = (load_model(path)[0].network.state_dict() for path in (whole, settings.output))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not checkpoint_path(settings.output).exists()


def test_the_model_that_force_would_replace_stays_and_the_way_out_is_named(
    settings: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.output.write_text("an older model")
    monkeypatch.setattr(finish, "save_model", failing)
    with pytest.raises(OSError, match=r"move the old '.*' away; the same command without --force finishes"):
        train(settings.model_copy(update={"force": True}), console=QUIET)
    assert settings.output.read_text() == "an older model"
    monkeypatch.setattr(finish, "save_model", save_model)
    settings.output.rename(tmp_path / "old.safetensors")
    monkeypatch.setattr(loop, "take_step", no_steps)
    assert read_information(train(settings, console=QUIET)).training["epochs"] == 3


def test_a_lost_checkpoint_at_the_end_is_told_by_its_step(
    settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", lambda p, s, o: save(p, s, o) if s.counters.step < 5 else failing())
    monkeypatch.setattr(finish, "save_model", failing)
    with pytest.raises(OSError, match=r"the same command goes on from its step 4 of 9"):
        train(settings.model_copy(update={"checkpoint_seconds": 0.0}), console=QUIET)
    assert checkpoint_step(checkpoint_path(settings.output)) == 4


def test_a_training_without_room_for_a_checkpoint_ends_after_its_first_step(
    settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ase_nbody.training.checkpoint.save_file", failing)
    with pytest.raises(OSError, match=r"m.checkpoint.safetensors' cannot be written .*No space left.*another --output"):
        train(settings, console=QUIET)
    assert left(settings) <= {"m.history.csv"}


def test_a_file_size_limit_is_named_by_the_first_checkpoint(settings: TrainingSettings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot be written \(.*ulimit -f"):
            train(settings, console=QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(settings) <= {"m.history.csv"}


def test_training_goes_on_where_a_later_checkpoint_cannot_be_written(
    settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, log = loop.save_checkpoint, io.StringIO()
    monkeypatch.setattr(loop, "save_checkpoint", lambda p, s, o: save(p, s, o) if s.counters.step < 4 else failing())
    train(
        settings.model_copy(update={"checkpoint_seconds": 0.0}), console=Console(file=log, soft_wrap=True, width=1000)
    )
    warnings = [line for line in log.getvalue().splitlines() if line.startswith("warning: the checkpoint")]
    assert len(warnings) == 1 and "No space left" in warnings[0]
    assert read_information(settings.output).training["steps"] == 9
    assert not checkpoint_path(settings.output).exists()


def test_a_stop_whose_checkpoint_cannot_be_written_names_the_last_one(
    settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = loop.save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", lambda p, s, o: save(p, s, o) if s.counters.step < 4 else failing())
    with pytest.raises(TrainingStoppedError, match=r"stopped after 6 steps.*resumes from '.*', which is of step 3"):
        train(settings.model_copy(update={"checkpoint_seconds": 0.0}), console=QUIET, stop=StopAfter(6))
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(settings.model_copy(update={"checkpoint_seconds": 0.0}), console=QUIET)
    assert read_information(settings.output).training["steps"] == 9


def test_history_and_learning_curve_may_fail(settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(loop, "write_history", failing)
    monkeypatch.setattr(finish, "write_history", failing)
    monkeypatch.setattr(finish, "write_learning_curve", lambda *_: 1 / 0)
    train(settings, console=Console(file=log, soft_wrap=True, width=1000))
    assert log.getvalue().count("warning: the history") == 2  # while training, and at the end
    assert "warning: the learning curve" in log.getvalue() and "ZeroDivisionError" in log.getvalue()
    assert load_model(settings.output)[1].training["steps"] == 9
    assert left(settings) == {"m.safetensors"}


def test_a_history_that_failed_while_training_is_written_at_the_end(
    settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "write_history", failing)
    train(settings, console=QUIET)
    assert len(history_path(settings.output).read_text().splitlines()) == 10  # a validation each step
    assert learning_curve_path(settings.output).exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a kernel failed")])
def test_a_test_that_cannot_be_evaluated_leaves_the_model(
    settings: TrainingSettings, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    evaluate = finish.evaluate
    test = tmp_path / "large.xyz"
    test.write_bytes(data.read_bytes())

    def partly(potential: Any, dataset: Any) -> Any:
        if dataset.source == str(test):
            raise error
        return evaluate(potential, dataset)

    monkeypatch.setattr(finish, "evaluate", partly)
    words = str(error) or "MemoryError"
    with pytest.raises(ValueError, match=rf"is written, but errors are missing in it: test large.xyz: {words}"):
        train(settings.model_copy(update={"test": (test, data)}), console=QUIET)
    information = load_model(settings.output)[1]
    assert information.errors.keys() == {"valid", "test argon.xyz"}
    assert not checkpoint_path(settings.output).exists()


def test_tests_of_the_same_name_are_told_apart(settings: TrainingSettings, data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / data.name
    other.parent.mkdir()
    ase.io.write(other, argon_frames(3, seed=5))
    train(settings.model_copy(update={"test": (data, other)}), console=QUIET)
    errors = read_information(settings.output).errors
    assert {name: report["n_structures"] for name, report in errors.items() if name != "valid"} == {
        "test argon.xyz": 12,
        "test argon.xyz (2)": 3,
    }


def test_a_checkpoint_stays_where_force_meets_a_wrong_setting(settings: TrainingSettings) -> None:
    with pytest.raises(TrainingStoppedError):
        train(settings, console=QUIET, stop=StopAfter(3))
    with pytest.raises(ValueError, match="chanels"):
        train(settings.model_copy(update={"force": True, "model": {"chanels": 3}}), console=QUIET)
    assert checkpoint_step(checkpoint_path(settings.output)) == 3
    train(settings.model_copy(update={"force": True, "seed": 1}), console=QUIET)  # afresh: it is not resumed
    assert read_information(settings.output).training["settings"]["seed"] == 1


def test_names_that_are_no_text(data: Path, tmp_path: Path) -> None:
    name = Path(os.fsdecode(bytes(tmp_path) + b"/a\xff [b]@1.xyz"))
    name.write_bytes(data.read_bytes())
    log = io.StringIO()
    output = tmp_path / "m [é]'@0.safetensors"
    settings = pair_settings(name, output, epochs=1, test=name)
    train(settings, command=f"nbody train --data '{name}'", console=Console(file=log, soft_wrap=True, width=1000))
    information = load_model(output)[1]
    assert information.name == "m [é]'@0"
    assert {file.name for file in information.data} == {"a\\xff [b]@1.xyz"}
    assert information.errors.keys() == {"valid", "test a\\xff [b]@1.xyz"}
    assert "a\\xff [b]@1.xyz: 13 structures" in log.getvalue()
    with pytest.raises(ValueError, match=r"is no UTF-8 text"):
        train(settings.model_copy(update={"output": Path(os.fsdecode(b"m\xfe.safetensors"))}), console=QUIET)
