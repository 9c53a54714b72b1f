"""The numbers of a training's steps and validations, each by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from pair_training import PAIR, QUIET, PairNetwork, PairSettings, argon_frames, pair_settings

from ase_nbody.data import MeanErrors, PackedSamples, batch_samples, read_dataset, samples, statistics
from ase_nbody.model_file import load_model, read_information
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM, FORCES, STRESS
from ase_nbody.training import loop
from ase_nbody.training.budget import EpochBudget
from ase_nbody.training.display import Display
from ase_nbody.training.files import TrainingFiles
from ase_nbody.training.history_row import HistoryRow, history_row
from ase_nbody.training.loop import Task, update, validate, validation_due
from ase_nbody.training.loss import VIRIAL_PER_ATOM, common_scale
from ase_nbody.training.objective import LabelledStructures, epoch_order
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.state import TrainingState, initial_state, network_optimizers
from ase_nbody.training.validation import score, validation_errors


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ase_nbody.architectures", "ase_nbody.training.prepare"):
        monkeypatch.setattr(f"{module}.architectures", lambda: {"pair": PAIR})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "argon.xyz"
    ase.io.write(path, argon_frames(7))
    return path


def network() -> PairNetwork:
    settings = PairSettings(elements=("Ar",), cutoff=6.0)
    return PairNetwork(settings, generator=torch.Generator().manual_seed(0)).double()


def task_and_state(data: Path, **more: Any) -> tuple[Task, TrainingState]:
    """A task whose validation structures are its training structures."""
    settings: TrainingSettings = pair_settings(data, data.with_name("m.safetensors"), **more)
    own = network()
    prepared = samples(read_dataset(data), 6.0)
    task = Task(
        potential=Potential(own, {"Ar": 0.1}, 0.5),
        objective=LabelledStructures(
            PackedSamples(prepared),
            [batch_samples(prepared[:3]), batch_samples(prepared[3:])],
            common_scale({ENERGY: 10.0, FORCES: 1.0, STRESS: 0.1}, 0.5),
        ),
        budget=EpochBudget(6, 2),
        settings=settings,
        files=TrainingFiles(settings, {}, data.with_name("m.checkpoint.safetensors"), data.with_name("m.history.csv")),
    )
    return task, initial_state(own, settings, {})


@pytest.mark.parametrize(("step", "weight"), [(1, 9 / 11), (90, 9 / 100), (10_000, 0.01)])
def test_averaged_weights_follow_fast_at_first(data: Path, step: int, weight: float) -> None:
    _, state = task_and_state(data)
    before = {name: tensor.clone() for name, tensor in state.averaged.items()}
    with torch.no_grad():
        for parameter in state.network.parameters():
            parameter += 1.0
    state.counters.step = step
    state.average(0.99)
    for name, tensor in before.items():
        torch.testing.assert_close(state.averaged[name], tensor + weight)


def test_a_step_has_the_rate_of_its_schedule_and_a_clipped_gradient(data: Path) -> None:
    task, state = task_and_state(data, gradient_clip=0.25)
    for parameter in state.network.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    update(task, state, 0.0625, 1.0)
    assert {group["lr"] for optimizer in state.optimizers for group in optimizer.param_groups} == {0.0625}
    norm = torch.cat([p.grad.flatten() for p in state.network.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.25, rel=1e-5)


def test_weight_decay_is_of_all_parameters() -> None:
    optimizers = network_optimizers(network(), "muon", learning_rate=0.01, weight_decay=0.125)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert len(groups) == 2 and all(group["weight_decay"] == 0.125 for group in groups)
    assert sum(len(group["params"]) for group in groups) == 2


def test_seeds_and_passes_do_not_share_an_order() -> None:
    assert not torch.equal(epoch_order(50, 0, 1), epoch_order(50, 1, 0))


def test_validation_errors_by_hand(data: Path) -> None:
    task, state = task_and_state(data)
    objective = task.objective
    assert isinstance(objective, LabelledStructures)
    found = validation_errors(task.potential, objective.validation, state.averaged)
    energy, forces, virial = [], [], []
    for sample in (objective.samples.batch(torch.tensor([n])) for n in range(len(objective.samples))):
        prediction, n = predict(task.potential, sample.graph), sample.graph.n_atoms
        volume = torch.linalg.det(sample.graph.cell).abs().item()
        energy.append((prediction.energy - sample.targets.labels[ENERGY]).numpy() / n)
        forces.append((prediction.forces - sample.targets.labels[FORCES]).numpy().ravel())
        virial.append((prediction.stress - sample.targets.labels[STRESS]).numpy().ravel() * volume / n)
    assert found[ENERGY].mae == pytest.approx(np.abs(energy).mean())
    assert found[FORCES].mae == pytest.approx(np.abs(forces).mean())
    assert found[FORCES].rmse == pytest.approx(np.sqrt(np.square(forces).mean()))
    assert found[STRESS].mae == pytest.approx(np.abs(virial).mean())
    rate, epoch = 0.125, 2
    state.counters.step, state.counters.epoch, state.counters.batch = 9, epoch, 1
    state.counters.loss_sum, state.counters.loss_count = 6.0, 3
    validate(task, state, 4, rate, 0.5, Display(QUIET))
    row = state.history[-1]
    assert (row.training_loss, row.epoch, row.step, row.learning_rate, row.progress) == (2.0, 2.25, 9, rate, 0.5)
    assert row.score == pytest.approx(score(found, task.objective.weights))
    assert (state.counters.loss_sum, state.counters.loss_count) == (0.0, 0)
    assert task.files is not None
    with task.files.history.open() as file:
        line = next(csv.DictReader(file))
    assert float(line["virial_mae (eV/atom)"]) == row.of(VIRIAL_PER_ATOM).mae
    assert list(line) == [
        *("epoch", "step", "seconds (s)", "progress", "learning_rate", "training_loss", "energy_mae (eV/atom)"),
        *("forces_mae (eV/angstrom)", "forces_rmse (eV/angstrom)", "virial_mae (eV/atom)", "score"),
    ]


def test_rows_of_a_history_are_read_from_checkpoints_of_both_kinds() -> None:
    errors = MeanErrors(ENERGY_PER_ATOM, 0.25), MeanErrors(FORCES, 0.5, 0.75), MeanErrors(VIRIAL_PER_ATOM)
    row = HistoryRow(1.0, 2, 3.0, 0.5, 0.1, 1.5, errors, 4.0)
    assert history_row(json.loads(json.dumps(row.to_json_dict()))) == row
    others = {name: value for name, value in vars(row).items() if name != "errors"}
    of_three = {"energy_mae": 0.25, "forces_mae": 0.5, "forces_rmse": 0.75, "virial_mae": None}
    assert history_row({**others, **of_three}) == row


@pytest.mark.parametrize(
    ("batch", "last", "progress", "due"),
    [
        (0, 0.5, 0.511, True),
        (0, 0.5, 0.509, False),
        (1, 0.5, 0.511, False),
        (1, 0.5, 0.601, True),
        (1, 0.99, 1.0, True),
    ],
)
def test_validations_are_neither_too_close_nor_too_far_apart(
    data: Path, batch: int, last: float, progress: float, due: bool
) -> None:
    _, state = task_and_state(data)
    state.history.append(HistoryRow(1.0, 1, 1.0, last, 0.1, 1.0, (), 1.0))
    state.counters.batch = batch
    assert validation_due(state, progress) == due


def test_the_best_weights_are_written_and_named(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, dict[str, torch.Tensor]] = {}
    rows: list[HistoryRow] = []

    def watched(task: Task, state: TrainingState, *rest: Any) -> None:
        validate(task, state, *rest)
        rows.append(state.history[-1])
        kept[state.counters.step] = {name: tensor.clone() for name, tensor in state.averaged.items()}

    scores = iter([5.0, 3.0, 1.0, 4.0, 1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(loop, "score", lambda found, weights: next(scores))
    monkeypatch.setattr(loop, "validate", watched)
    output = train(pair_settings(data, tmp_path / "m.safetensors", epochs=8), console=QUIET)
    best = rows[2]
    assert best.epoch == 3.0
    assert read_information(output).training["best_epoch"] == best.epoch
    written = load_model(output)[0].network.state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in kept[best.step].items())


def test_neighbours_of_the_training_data_are_in_the_settings(data: Path, tmp_path: Path) -> None:
    settings = pair_settings(data, tmp_path / "m.safetensors", epochs=1, n_valid=2, valid=data)
    information = read_information(train(settings, console=QUIET))
    expected = statistics(read_dataset(data), {"Ar": 0.0}, 6.0).average_neighbours
    assert information.settings["average_neighbours"] == pytest.approx(expected) and expected > 12.0
