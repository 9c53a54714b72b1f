"""Training: loss, schedule, checkpoints, the loop and the command, on a toy pair network and Lennard-Jones clusters."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pair_training import PAIR, QUIET, PairNetwork, PairSettings, StopAfter, argon_frames, pair_settings
from rich.console import Console
from torch import Tensor
from typer.testing import CliRunner

from ase_nbody.architectures.nbody import ARCHITECTURE as NBODY
from ase_nbody.cli import app
from ase_nbody.cli.runs.training import architecture_settings
from ase_nbody.data import Dataset, MeanErrors, Sample, evaluate, read_dataset, samples, without_isolated_atoms
from ase_nbody.graph import Graph
from ase_nbody.model_file import file_hash, load_model, model_information, read_information, save_model
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS, Prediction, Targets
from ase_nbody.training.checkpoint import checkpoint_path
from ase_nbody.training.display import Display
from ase_nbody.training.history import history_path
from ase_nbody.training.loss import common_scale, loss
from ase_nbody.training.objective import epoch_order
from ase_nbody.training.prepare import training_origin
from ase_nbody.training.run import train
from ase_nbody.training.schedule import learning_rate_factor
from ase_nbody.training.settings import TrainingSettings, training_settings
from ase_nbody.training.stopping import TrainingStoppedError
from ase_nbody.training.training_data import read_training_data
from ase_nbody.training.validation import ValidationErrors, exchanged, score


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
        monkeypatch.setattr(f"{module}.architectures", lambda: {"pair": PAIR})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 23 labelled frames and an isolated atom."""
    path = tmp_path_factory.mktemp("data") / "argon.xyz"
    atom = Atoms("Ar")
    atom.calc = SinglePointCalculator(atom, energy=0.0, forces=np.zeros((1, 3)))
    ase.io.write(path, [*argon_frames(23), atom])
    return path


def timeless_history(path: Path) -> list[list[str]]:
    with path.open() as file:
        return [[v for k, v in row.items() if "seconds" not in k] for row in csv.DictReader(file)]


def weights_of(path: Path) -> dict[str, Tensor]:
    potential, _ = load_model(path)
    return dict(potential.network.state_dict())


# --- schedule -------------------------------------------------------------------------------------------------------


def test_schedule_rises_to_one_and_decays_to_its_end() -> None:
    assert learning_rate_factor(0.0, 0.1, 0.01) == pytest.approx(0.01)
    assert learning_rate_factor(0.05, 0.1, 0.0) == pytest.approx(0.5)
    assert learning_rate_factor(0.1, 0.1, 0.01) == pytest.approx(1.0)
    assert learning_rate_factor(0.55, 0.1, 0.0) == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 0.1, 0.01) == learning_rate_factor(1.5, 0.1, 0.01) == pytest.approx(0.01)
    assert learning_rate_factor(0.0, 0.0, 0.01) == 1.0


def test_schedule_never_jumps() -> None:
    values = [learning_rate_factor(i / 1000, 0.02, 0.001) for i in range(1001)]
    assert max(abs(b - a) for a, b in itertools.pairwise(values)) < 0.06


# --- loss -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair_batch() -> Graph:
    """Two structures: 4 atoms in a cell of known volume and 2 atoms without cell."""
    crystal = bulk("Ar", "fcc", a=5.0, cubic=True)
    dataset = Dataset(
        structures=(crystal, Atoms("Ar2", [[0, 0, 0], [0, 0, 3.5]])),
        labels=read_labels(2),
        source="made",
        sha256="",
        label_source="",
    )
    from ase_nbody.data import batch_samples

    return batch_samples(samples(dataset, 6.0)).graph


def read_labels(n: int) -> tuple[Any, ...]:
    from ase_nbody.data import Labels

    return (Labels(),) * n


@pytest.fixture
def prediction() -> Prediction:
    forces = torch.arange(18, dtype=torch.float64).view(6, 3).requires_grad_()
    stress = torch.stack([torch.eye(3).double() / 100, torch.full((3, 3), torch.nan).double()])
    return Prediction(
        energy=torch.tensor([8.0, -3.0], dtype=torch.float64, requires_grad=True),
        energies=torch.zeros(6, dtype=torch.float64),
        forces=forces,
        stress=stress,
    )


EQUAL_WEIGHTS = common_scale(dict.fromkeys(LABELLED, 1.0), 1.0)


def test_loss_by_hand_with_missing_labels(pair_batch: Graph, prediction: Prediction) -> None:
    forces = prediction.forces.detach().clone()
    forces[:4] -= 2.0
    forces[4:] = torch.nan
    stress = torch.full((2, 3, 3), torch.nan, dtype=torch.float64)
    stress[0] = 0.0
    energies = torch.tensor([7.0, torch.nan], dtype=torch.float64)
    targets = Targets({ENERGY: energies, FORCES: forces, STRESS: stress})
    scale = 0.5
    energy = (1.0 / 4 / scale) ** 2
    force = (2.0 / scale) ** 2
    virial = (125.0 / 4 * 0.01 / scale) ** 2 * 3 / 9
    for weights in ((3.0, 0.0, 0.0), (0.0, 5.0, 0.0), (0.0, 0.0, 7.0), (3.0, 5.0, 7.0)):
        expected = weights[0] * energy + weights[1] * force + weights[2] * virial
        found = loss(prediction, targets, pair_batch, common_scale(dict(zip(LABELLED, weights, strict=True)), scale))
        assert found.item() == pytest.approx(expected, rel=1e-12)


def test_loss_without_labels_is_zero_with_zero_gradient(pair_batch: Graph, prediction: Prediction) -> None:
    nothing = loss(prediction, Targets({}), pair_batch, EQUAL_WEIGHTS)
    nothing.backward()
    assert nothing.item() == 0.0
    assert prediction.energy.grad is not None
    assert not prediction.energy.grad.any()


def test_missing_labels_leave_gradients_finite(pair_batch: Graph, prediction: Prediction) -> None:
    forces = prediction.forces.detach() + 1.0
    forces[0, 0] = torch.nan
    energies = torch.tensor([torch.nan, 0.0], dtype=torch.float64)
    stress = torch.full((2, 3, 3), torch.nan, dtype=torch.float64)
    targets = Targets({ENERGY: energies, FORCES: forces, STRESS: stress})
    loss(prediction, targets, pair_batch, EQUAL_WEIGHTS).backward()
    assert prediction.forces.grad is not None
    assert prediction.forces.grad.isfinite().all()
    assert prediction.forces.grad[0, 0] == 0.0


def test_score_ignores_what_is_not_labelled_but_not_nan() -> None:
    weights = common_scale({ENERGY: 4.0, FORCES: 1.0, STRESS: 1.0}, 2.0)

    def found(energy: float | None, forces: float | None) -> ValidationErrors:
        return {kind: MeanErrors(kind, mae) for kind, mae in zip(LABELLED, (energy, forces, None), strict=True)}

    assert score(found(1.0, 3.0), weights) == pytest.approx(2.0 * 0.5 + 1.5)
    assert np.isnan(score(found(float("nan"), 3.0), weights))
    with pytest.raises(ValueError, match="none of the labels"):
        score(found(None, None), weights)


# --- settings -------------------------------------------------------------------------------------------------------


def test_settings_from_yaml_and_options(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data: a.xyz\nepochs: 3\nmodel: {channels: 4, cutoff: 4.0}\noutput: m.safetensors\n")
    settings = training_settings({"minutes": 2.0, "model": {"cutoff": 6.0}, "seed": None}, config)
    assert settings.data == (Path("a.xyz"),)
    assert (settings.minutes, settings.epochs) == (2.0, None)
    assert dict(settings.model) == {"channels": 4, "cutoff": 6.0}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"minutes": 1.0, "epochs": 2}, "minutes and epochs"),
        ({"learning_rate": -1.0}, "learning_rate: .*greater than 0"),
        ({"chanels": 3}, "chanels: no such setting; known are .*data"),
        ({"output": Path("m.pt")}, "must end in .safetensors"),
        ({"energy_weight": 0, "forces_weight": 0, "stress_weight": 0}, "weights of the loss are zero"),
    ],
)
def test_wrong_settings_are_named(values: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        training_settings({"data": "a.xyz", "output": "m.safetensors", **values})


def test_thirty_minutes_without_budget() -> None:
    assert training_settings({"data": "a.xyz", "output": "m.safetensors"}).minutes == 30.0


def test_wrong_yaml_is_named(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("just words")
    with pytest.raises(ValueError, match="must hold settings"):
        training_settings({}, config)
    with pytest.raises(ValueError, match="cannot read the settings file"):
        training_settings({}, tmp_path / "absent.yaml")


# --- training -------------------------------------------------------------------------------------------------------


def test_epochs_are_shuffled_and_reproducible() -> None:
    first, again, second = epoch_order(20, 3, 0), epoch_order(20, 3, 0), epoch_order(20, 3, 1)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, torch.arange(20))


def test_a_training_that_learnt_nothing_says_so(data: Path, tmp_path: Path) -> None:
    log = io.StringIO()
    settings = pair_settings(data, tmp_path / "m.safetensors", epochs=1, learning_rate=1e-9)
    train(settings, console=Console(file=log, soft_wrap=True))
    assert "nothing useful was learnt" in log.getvalue()


def test_learns_a_small_set(data: Path, tmp_path: Path) -> None:
    log = io.StringIO()
    settings = pair_settings(data, tmp_path / "m.safetensors", epochs=60, stress_weight=1.0)
    output = train(settings, console=Console(file=log, soft_wrap=True))
    assert "warning" not in log.getvalue()
    with (tmp_path / "m.history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["training_loss"]) < 0.01 * float(rows[0]["training_loss"])
    assert (tmp_path / "m.learning-curve.png").stat().st_size > 1000
    potential, information = load_model(output)
    assert information.errors["valid"]["forces_mae_mev_per_angstrom"] < 0.1 * 1000 * information.energy_scale
    sample = samples(read_dataset(data), potential.cutoff)[0]
    assert_labels_are_met(potential, sample, information.energy_scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hand_written_passes_train_as_autograd_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
        monkeypatch.setattr(f"{module}.architectures", lambda: {"nbody": NBODY})
    more = {"architecture": "nbody", "model": {"cutoff": 6.0, "channels": 8}, "dtype": dtype, "epochs": 2}
    more["optimizer"] = "adamw"  # Muon takes the smallest directions of a gradient, rounding too, as large as others
    histories = []
    for name in ("by-hand", "by-autograd"):
        if name == "by-autograd":
            monkeypatch.setattr(NBODY.network, "trainable_gradients", lambda network, graph: None)
        output = train(pair_settings(data, tmp_path / f"{name}.safetensors", stress_weight=1.0, **more), console=QUIET)
        with history_path(output).open() as file:
            histories.append([float(row["training_loss"]) for row in csv.DictReader(file)])
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(*histories, rtol=tolerance)


def test_other_weights_are_taken_for_a_while_only() -> None:
    network = PairNetwork(PairSettings(elements=("Ar",), cutoff=6.0), generator=torch.Generator().manual_seed(0))
    own = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    doubled = {name: 2 * values for name, values in own.items()}
    with pytest.raises(KeyError), exchanged(network, doubled):
        assert all(torch.equal(parameter, doubled[name]) for name, parameter in network.named_parameters())
        raise KeyError
    assert all(torch.equal(parameter, own[name]) for name, parameter in network.named_parameters())


def assert_labels_are_met(potential: Potential, sample: Sample, scale: float) -> None:
    found = predict(potential, sample.graph)
    labels = sample.targets.labels
    assert abs(found.energy - labels[ENERGY]).item() < 0.2 * scale
    assert (found.stress - labels[STRESS]).abs().max() < 0.2 * labels[STRESS].abs().max()


def test_model_file_says_how_it_was_made(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors", test=data, method="Lennard-Jones", licence="MIT")
    monkeypatch.chdir(tmp_path)
    output = train(settings, command=f"nbody train --data {data} --test={data} --output my.model", console=QUIET)
    information = read_information(output)
    assert information.name == "m"
    assert information.elements == ("Ar",)
    assert information.reference_energies == {"Ar": 0.0}
    assert (information.method, information.licence) == ("Lennard-Jones", "MIT")
    assert [(f.name, f.role) for f in information.data] == [("argon.xyz", "train"), ("argon.xyz", "test")]
    assert len(information.data[0].sha256) == 64
    assert information.label_source is not None and "calculator" in information.label_source
    assert information.errors["test argon.xyz"]["n_structures"] == 23
    assert 2.5 < information.envelope.closest_distances["Ar-Ar"] < 3.75
    assert information.envelope.force_max is not None and information.envelope.force_max > 0
    assert information.training["command"] == "nbody train --data argon.xyz --test=argon.xyz --output my.model"
    assert information.training["settings"]["data"] == ["argon.xyz"]
    assert information.training["settings"]["output"] == "m.safetensors"
    assert str(tmp_path.parent) not in json.dumps(information.training)
    assert information.training["epochs"] == 6
    assert information.training["settings"]["batch_size"] == 4
    assert information.settings["cutoff"] == 6.0
    assert not checkpoint_path(output).exists()


@pytest.mark.parametrize("steps", [1, 6, 13])
def test_stopped_and_resumed_ends_as_unbroken(data: Path, tmp_path: Path, steps: int) -> None:
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    train(pair_settings(data, whole), console=QUIET)
    with pytest.raises(TrainingStoppedError, match="resumes from"):
        train(pair_settings(data, broken), console=QUIET, stop=StopAfter(steps))
    assert checkpoint_path(broken).exists() and not broken.exists()
    train(pair_settings(data, broken), console=QUIET)
    first, second = weights_of(whole), weights_of(broken)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert timeless_history(tmp_path / "whole.history.csv") == timeless_history(tmp_path / "broken.history.csv")


def test_signal_stops_after_the_step(data: Path, tmp_path: Path) -> None:
    earlier = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(TrainingStoppedError) as stopped:
        train(pair_settings(data, tmp_path / "m.safetensors", minutes=1.0), console=QUIET)
    timer.join()
    assert stopped.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is earlier
    assert checkpoint_path(tmp_path / "m.safetensors").exists()


def test_minutes_end_in_time(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors", minutes=1.0 / 60)
    started = time.monotonic()
    train(settings, console=QUIET)
    assert time.monotonic() - started < 8.0  # idle: 1.4 s
    assert 1.0 <= read_information(settings.output).training["seconds"] < 3.0  # idle: 1.01 s


class TickingClock:
    """Time that goes on by a second whenever somebody looks."""

    def __init__(self) -> None:
        self.ticks = itertools.count()

    def monotonic(self) -> float:
        return float(next(self.ticks))


def test_minutes_of_the_earlier_run_count(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ase_nbody.training.budget.time", TickingClock())
    settings = pair_settings(data, tmp_path / "m.safetensors", minutes=0.5)
    with pytest.raises(TrainingStoppedError):
        train(settings, console=QUIET, stop=StopAfter(20))
    train(settings, console=QUIET)
    assert read_information(settings.output).training["steps"] == 30


def test_checkpoint_of_another_training_is_refused(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors")
    with pytest.raises(TrainingStoppedError):
        train(settings, console=QUIET, stop=StopAfter(3))
    with pytest.raises(ValueError, match=r"seed was 0, now 1.*--force"):
        train(settings.model_copy(update={"seed": 1}), console=QUIET)
    train(settings.model_copy(update={"seed": 1, "force": True}), console=QUIET)


def test_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors")
    checkpoint_path(settings.output).write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"cannot be read.*--force"):
        train(settings, console=QUIET)


def test_output_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors")
    settings.output.write_text("mine")
    with pytest.raises(FileExistsError, match="--force"):
        train(settings, console=QUIET)
    assert settings.output.read_text() == "mine"
    train(settings.model_copy(update={"force": True}), console=QUIET)
    assert read_information(settings.output).name == "m"


def test_data_without_labels_are_refused(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "bare.xyz", [bulk("Ar", cubic=True)] * 3)
    with pytest.raises(ValueError, match="no energies or forces found"):
        train(pair_settings(tmp_path / "bare.xyz", tmp_path / "m.safetensors"), console=QUIET)


def test_unknown_names_are_listed(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="no architecture 'mace'; known are pair"):
        train(pair_settings(data, output, architecture="mace"), console=QUIET)
    with pytest.raises(ValueError, match=r"chanels.*channels"):
        train(pair_settings(data, output, model={"chanels": 4}), console=QUIET)


def test_test_set_with_new_elements_is_refused_before_training(data: Path, tmp_path: Path) -> None:
    frames = argon_frames(2)
    frames[0].symbols[0] = "Ne"
    ase.io.write(tmp_path / "test.xyz", frames)
    with pytest.raises(ValueError, match="Ne, which the training data lack"):
        train(pair_settings(data, tmp_path / "m.safetensors", test=tmp_path / "test.xyz"), console=QUIET)


def test_diverged_training_says_so_and_keeps_the_checkpoint(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors", learning_rate=1e300, checkpoint_seconds=0.0, epochs=200)
    with pytest.raises(ValueError, match=r"diverged.*[Ll]ower the learning rate"):
        train(settings, console=QUIET)
    assert not settings.output.exists()
    assert checkpoint_path(settings.output).exists()


def test_budget_shorter_than_reading_the_data_still_gives_a_model(data: Path, tmp_path: Path) -> None:
    output = train(pair_settings(data, tmp_path / "m.safetensors", minutes=1e-9), console=QUIET)
    assert read_information(output).training["steps"] == 1


def test_merged_files_and_a_log_without_terminal(data: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.xyz"
    ase.io.write(more, argon_frames(7, seed=1))
    log = io.StringIO()
    settings = pair_settings(data, tmp_path / "m.safetensors", epochs=20)
    train(settings.model_copy(update={"data": (data, more)}), console=Console(file=log, soft_wrap=True, width=200))
    lines = log.getvalue().splitlines()
    assert [line for line in lines if "structures to train on" in line] == [
        "27 structures to train on, 3 for validation, 0 for test"
    ]
    assert len([line for line in lines if line.startswith("epoch") and "meV/Å" in line]) == 20
    assert len(read_information(settings.output).data) == 2


def test_terminal_shows_a_bar(data: Path, tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    train(pair_settings(data, tmp_path / "m.safetensors", epochs=2), console=console)
    assert "loss" in screen.getvalue()
    assert "left" in screen.getvalue()


def test_missing_device_is_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="'cuda' is not there"):
        train(pair_settings(data, tmp_path / "m.safetensors", device="cuda"), console=QUIET)


def test_a_file_given_several_times_is_learnt_more_often(data: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.xyz"
    ase.io.write(more, argon_frames(7, seed=1))
    once_settings = pair_settings([data, more], tmp_path / "m.safetensors", n_valid=5)
    settings = pair_settings([data, more, more, more], tmp_path / "m.safetensors", n_valid=5)
    once, thrice = (read_training_data(s, Display(QUIET)) for s in (once_settings, settings))
    learnt, judged, first = (
        [atoms.positions.tobytes() for atoms in d.structures] for d in (thrice.train, thrice.valid, once.train)
    )
    often = {atoms.positions.tobytes() for atoms in read_dataset(more).structures}
    assert Counter(learnt) == {positions: 3 if positions in often else 1 for positions in first}
    assert len(judged) == 5 and not set(judged) & set(learnt)
    assert [file.name for file in thrice.files] == ["argon.xyz", "more.xyz"]
    assert training_origin(settings, thrice) != training_origin(once_settings, once)


def test_isolated_atoms_of_a_file_are_the_reference_energies(data: Path, tmp_path: Path) -> None:
    atom = Atoms("Ar")
    atom.calc = SinglePointCalculator(atom, energy=-0.3)
    ase.io.write(tmp_path / "atoms.xyz", atom)
    settings = pair_settings(data, tmp_path / "m.safetensors", isolated_atoms=tmp_path / "atoms.xyz")
    read = read_training_data(settings, Display(QUIET))
    assert read.references == {"Ar": -0.3}  # not the 0 of the atom among the data
    assert read.references_source == "reference energies of Ar: isolated atoms in atoms.xyz"


# --- starting from a model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started_from(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two passes whose reference energy and energy scale no fit to the data gives."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
            patch.setattr(f"{module}.architectures", lambda: {"pair": PAIR})
        folder = tmp_path_factory.mktemp("start")
        trained = train(pair_settings(data, folder / "trained.safetensors", epochs=2), console=QUIET)
        potential, _ = load_model(trained)
        changed = Potential(potential.network, {"Ar": 0.03125}, 0.75)
        information = model_information(changed, name="first", reference_energies_source="chosen")
        return save_model(folder / "first.safetensors", changed, information)


def start_settings(start: Path, data: Path, output: Path, **more: Any) -> TrainingSettings:
    values = {"data": data, "output": output, "device": "cpu", "dtype": "float64", "batch_size": 4, "epochs": 6}
    return training_settings({**values, "start": str(start), **more})


def test_start_takes_over_network_energies_and_scale(data: Path, tmp_path: Path, started_from: Path) -> None:
    settings = start_settings(started_from, data, tmp_path / "m.safetensors", test=data, learning_rate=1e-300)
    output = train(settings, console=QUIET)
    first, second = load_model(started_from)[0], load_model(output)[0]
    for name, tensor in first.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], tensor, rtol=1e-14, atol=0)
    expected = evaluate(first, without_isolated_atoms(read_dataset(data)))[0]
    found = read_information(output).errors["test argon.xyz"]
    for quantity in ("energy_mae_mev", "forces_mae_mev_per_angstrom", "stress_mae_mev_per_cubic_angstrom"):
        assert found[quantity] == pytest.approx(expected.to_json_dict()[quantity], rel=1e-9)


def test_training_from_a_start_is_validated_first_and_never_ends_worse(
    data: Path, tmp_path: Path, started_from: Path
) -> None:
    output = train(start_settings(started_from, data, tmp_path / "m.safetensors", learning_rate=1e3), console=QUIET)
    rows = timeless_history(tmp_path / "m.history.csv")
    assert rows[0][:2] == ["0.0", "0"]
    first, last = weights_of(started_from), weights_of(output)
    assert all(torch.equal(first[name], last[name]) for name in first)
    better = train(start_settings(started_from, data, tmp_path / "better.safetensors"), console=QUIET)
    with (tmp_path / "better.history.csv").open() as file:
        scores = [float(row["score"]) for row in csv.DictReader(file)]
    assert min(scores) < 0.9 * scores[0]
    assert any(not torch.equal(first[name], tensor) for name, tensor in weights_of(better).items())


def test_model_file_says_what_it_started_from(data: Path, tmp_path: Path, started_from: Path) -> None:
    settings = start_settings(started_from, data, tmp_path / "m.safetensors", epochs=1)
    information = read_information(train(settings, console=QUIET))
    assert information.training["settings"]["start"] == started_from.name
    assert information.training["start"] == {"name": "first", "sha256": file_hash(started_from), "data": []}
    assert information.reference_energies == {"Ar": 0.03125}
    assert information.reference_energies_source == "chosen, taken over from first"
    assert information.energy_scale == 0.75


@pytest.mark.parametrize("steps", [1, 8])
def test_training_from_a_start_resumes(data: Path, tmp_path: Path, started_from: Path, steps: int) -> None:
    whole, broken = (start_settings(started_from, data, tmp_path / f"{n}.safetensors") for n in ("whole", "broken"))
    train(whole, console=QUIET)
    with pytest.raises(TrainingStoppedError):
        train(broken, console=QUIET, stop=StopAfter(steps))
    train(broken, console=QUIET)
    first, second = weights_of(whole.output), weights_of(broken.output)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert timeless_history(tmp_path / "whole.history.csv") == timeless_history(tmp_path / "broken.history.csv")


def test_checkpoint_from_another_start_is_refused(data: Path, tmp_path: Path, started_from: Path) -> None:
    settings = start_settings(started_from, data, tmp_path / "m.safetensors")
    with pytest.raises(TrainingStoppedError):
        train(settings, console=QUIET, stop=StopAfter(3))
    potential, information = load_model(started_from)
    other = save_model(tmp_path / "other.safetensors", potential, information.model_copy(update={"name": "other"}))
    with pytest.raises(ValueError, match=r"start was .*, now .*--force"):
        train(settings.model_copy(update={"start": str(other)}), console=QUIET)


def test_start_must_know_the_elements(tmp_path: Path, started_from: Path) -> None:
    frames = argon_frames(4)
    frames[0].symbols[0] = "Ne"
    ase.io.write(tmp_path / "neon.xyz", frames)
    with pytest.raises(ValueError, match=r"neon.xyz has Ne, which the start '.*first.safetensors' lacks \(Ar\)"):
        train(start_settings(started_from, tmp_path / "neon.xyz", tmp_path / "m.safetensors"), console=QUIET)


@pytest.mark.parametrize(
    "conflict", [{"architecture": "pair"}, {"preset": "small"}, {"model": {"cutoff": 5.0}}, {"isolated_atoms": "a.xyz"}]
)
def test_start_leaves_nothing_of_the_network_to_choose(data: Path, tmp_path: Path, conflict: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"start 'organic' decides .*leave out {next(iter(conflict))}"):
        training_settings({"data": data, "output": tmp_path / "m.safetensors", "start": "organic", **conflict})


def test_absent_start_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no shipped model is called 'inorganic'"):
        train(start_settings(Path("inorganic"), data, tmp_path / "m.safetensors"), console=QUIET)


def test_command_starts_from_a_model(data: Path, tmp_path: Path, started_from: Path) -> None:
    options = ["--data", str(data), "--start", str(started_from), "--device", "cpu", "--epochs", "1"]
    output = tmp_path / "m.safetensors"
    result = CliRunner().invoke(app, ["train", *options, "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0
    assert read_information(output).training["start"]["name"] == "first"
    refused = CliRunner().invoke(app, ["train", *options, "--cutoff", "5", "--output", str(tmp_path / "n.safetensors")])
    assert refused.exit_code != 0


# --- command --------------------------------------------------------------------------------------------------------


def test_command_takes_a_file_and_options(data: Path, tmp_path: Path) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "m.safetensors"
    config.write_text(f"data: {data}\nepochs: 9\narchitecture: pair\nmodel: {{channels: 4}}\noutput: {output}\n")
    options = ["--epochs", "1", "--cutoff", "6", "--set", "channels=3", "--seed", "5", "--device", "cpu"]
    result = CliRunner().invoke(app, ["train", str(config), *options], catch_exceptions=False)
    assert result.exit_code == 0
    information = read_information(output)
    assert (information.settings["cutoff"], information.settings["channels"]) == (6.0, 3)
    assert information.training["epochs"] == 1
    assert information.training["settings"]["seed"] == 5
    assert information.training["command"].startswith("nbody")


def test_command_stopped_by_a_signal_says_how_to_resume(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> Path:
        raise TrainingStoppedError("stopped; the same command resumes", signal.SIGTERM)

    monkeypatch.setattr("ase_nbody.cli.runs.training.train", stopped)
    arguments = ["train", "--data", str(data), "--output", str(tmp_path / "m.safetensors")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 128 + signal.SIGTERM
    assert "the same command resumes" in result.output


def test_architecture_settings_are_read_as_yaml() -> None:
    assert architecture_settings(["a=1", "b=0.5", "c=[0, 1]", "d=strict", "e=true"]) == {
        "a": 1,
        "b": 0.5,
        "c": [0, 1],
        "d": "strict",
        "e": True,
    }
    with pytest.raises(ValueError, match="NAME=VALUE"):
        architecture_settings(["channels"])


def test_display_prints_brackets_as_they_are() -> None:
    log = io.StringIO()
    Display(Console(file=log)).say("a [line]")
    assert log.getvalue() == "a [line]\n"
