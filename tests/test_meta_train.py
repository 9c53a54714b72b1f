"""Meta-training: gradients through and without the inner loop, episodes, resuming, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from command_line import run_command
from test_levels_of_theory import labelled, network, spring
from test_training_steps import QUIET

from ase_nbody.data import read_dataset
from ase_nbody.meta.episodes import Episodes, systems
from ase_nbody.meta.groups import parameter_groups
from ase_nbody.meta.inner_rates import inner_rates
from ase_nbody.meta.meta_settings import InnerSettings, MetaTrainingSettings
from ase_nbody.meta.meta_train import meta_train
from ase_nbody.model_file import read_information
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import ENERGY, FORCES
from ase_nbody.stopping import StopRequest
from ase_nbody.training.loss import common_scale, loss
from ase_nbody.training.stopping import TrainingStoppedError

WEIGHTS = common_scale({ENERGY: 1.0, FORCES: 1.0}, 1.0)
REFERENCES = {"H": -13.0, "O": -430.0}
FORCES = "forces_mae_eVangstrom"
SYSTEMS = ("H2O", "H2O2", "OH", "H2", "O2", "O3")


def several(path: Path, n: int = 4, names: tuple[str, ...] = SYSTEMS) -> Path:
    frames = []
    for name in names:
        for seed in range(n):
            atoms = molecule(name)
            atoms.rattle(0.1, seed=seed)
            energy, forces = spring(atoms, "good")
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            frames.append(atoms)
    write(path, frames, format="extxyz")
    return path


def potential() -> Potential:
    return Potential(network(), REFERENCES, 1.0)


def episodes(path: Path, **inner: object) -> Episodes:
    every = systems(read_dataset(several(path)), 5.0, torch.float64)
    settings = InnerSettings(support=2, query=2, **inner)
    names = parameter_groups(network())[settings.adapted]
    rates = inner_rates(network(), names, settings.rate, by_group=settings.learned_rates)
    return Episodes(every, every, WEIGHTS, settings, names, rates)


def gradients(objective: Episodes, own: Potential, chosen: list[int]) -> tuple[float, dict[str, torch.Tensor]]:
    own.network.zero_grad(set_to_none=True)
    value = objective.gradient(own, torch.tensor(chosen), epoch=3)
    return value, {n: p.grad for n, p in own.network.named_parameters() if p.grad is not None}


def gradient_of(own: Potential, name: str) -> torch.Tensor:
    parameter = own.network.get_parameter(name)
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["readout", "radial", "all"])
def test_second_order_gradients_are_those_of_finite_differences(tmp_path, group):
    objective = episodes(tmp_path / "d.xyz", method="maml", adapted=group, steps=2, rate=0.05)
    own = potential()
    value, found = gradients(objective, own, [0, 1])
    generator = torch.Generator().manual_seed(1)
    direction = {n: torch.randn(g.shape, generator=generator, dtype=g.dtype) for n, g in found.items()}
    moved, step = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for name, change in direction.items():
                own.network.get_parameter(name).add_(change, alpha=sign * step)
        moved.append(gradients(objective, own, [0, 1])[0])
        with torch.no_grad():
            for name, change in direction.items():
                own.network.get_parameter(name).sub_(change, alpha=sign * step)
    expected = (moved[0] - moved[1]) / (2 * step)
    along = sum((found[n] * direction[n]).sum().item() for n in found)
    assert along == pytest.approx(expected, rel=1e-5)
    assert value == pytest.approx(0.5 * (moved[0] + moved[1]), rel=1e-5)


def test_second_order_gradients_are_those_of_torch_func(tmp_path):
    objective = episodes(tmp_path / "d.xyz", method="maml", steps=1, rate=0.05, adapted="readout", clip=1e6)
    own = potential()
    _, found = gradients(objective, own, [1])
    support, query = objective._episode(objective.learnt, 1, 3)

    def of(values: dict[str, torch.Tensor], sample) -> torch.Tensor:
        prediction = predict(own, sample.graph, values, differentiable=True)
        return loss(prediction, sample.targets, sample.graph, WEIGHTS)

    start = {name: own.network.get_parameter(name) for name in objective.names}
    inner = torch.autograd.grad(of(start, support), list(start.values()), create_graph=True)
    after = {name: v - 0.05 * g for (name, v), g in zip(start.items(), inner, strict=True)}
    expected = torch.autograd.grad(of(after, query), list(start.values()))
    for name, gradient in zip(start, expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-14)


def test_first_order_gradients_are_taken_where_the_inner_loop_ends(tmp_path):
    objective = episodes(tmp_path / "d.xyz", method="fomaml", steps=2, rate=0.05)
    own = potential()
    _, found = gradients(objective, own, [0])
    support, query = objective._episode(objective.learnt, 0, 3)
    moved, before = potential(), dict(potential().network.named_parameters())
    with objective._adapted(own, support) as changes, torch.no_grad():
        for name, change in changes.items():
            moved.network.get_parameter(name).add_(change)
    assert all(torch.equal(before[name], value) for name, value in own.network.named_parameters())
    prediction = predict(moved, query.graph, differentiable=True)
    loss(prediction, query.targets, query.graph, WEIGHTS).backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, gradient_of(moved, name), rtol=1e-9, atol=1e-13)
    second = gradients(episodes(tmp_path / "d.xyz", method="maml", steps=2, rate=0.05), own, [0])[1]
    assert any(not torch.allclose(found[n], second[n], rtol=1e-3) for n in found)


def test_reptile_goes_along_the_path_of_the_inner_loop(tmp_path):
    objective = episodes(tmp_path / "d.xyz", method="reptile", steps=1, rate=0.05, clip=1e6)
    own = potential()
    _, found = gradients(objective, own, [0])
    support, _ = objective._episode(objective.learnt, 0, 3)
    own.network.zero_grad(set_to_none=True)
    prediction = predict(own, support.graph, differentiable=True)
    loss(prediction, support.targets, support.graph, WEIGHTS).backward()
    for name, gradient in found.items():  # after one step it is the gradient itself
        torch.testing.assert_close(gradient, gradient_of(own, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("method", "steps"), [("maml", 2), ("fomaml", 1)])  # one step's gradient knows no rate
def test_gradients_by_learnt_rates_are_those_of_finite_differences(tmp_path, method, steps):
    objective = episodes(tmp_path / "d.xyz", method=method, steps=steps, rate=0.05, learned_rates=True)
    own = potential()
    learnt = objective.own_parameters()
    assert set(learnt) == {f"log_rate_{group}" for group in ("mixing", "radial", "readout", "rest")}
    gradients(objective, own, [0, 1])
    found = {name: parameter.grad.item() for name, parameter in learnt.items()}
    for name, parameter in learnt.items():
        moved = []
        for change in (1e-4, -1e-4):
            with torch.no_grad():
                parameter.add_(change)
            moved.append(gradients(objective, own, [0, 1])[0])
            with torch.no_grad():
                parameter.sub_(change)
        assert found[name] == pytest.approx((moved[0] - moved[1]) / 2e-4, rel=1e-4), name


def test_learnt_rates_change_and_are_kept_with_the_model(tmp_path):
    settings = MetaTrainingSettings(
        data=several(tmp_path / "d.xyz"),
        inner=InnerSettings(adapted="radial", steps=1, rate=0.02, support=2, query=2, learned_rates=True),
        model={"channels": 2},
        epochs=3,
        learning_rate=0.01,
        repulsion=False,
        output=tmp_path / "m.safetensors",
    )
    meta_train(settings, console=QUIET)
    kept = read_information(tmp_path / "m.safetensors").training["lessons"]
    assert set(kept) == {"log_rate_radial"} and kept["log_rate_radial"] != pytest.approx(np.log(0.02), abs=1e-3)
    with pytest.raises(ValueError, match="reptile has no gradient by the rates"):
        InnerSettings(method="reptile", learned_rates=True)


def test_the_direction_of_reptile_does_not_grow_with_the_steps_of_its_path(tmp_path):
    objective = episodes(tmp_path / "d.xyz", method="reptile", steps=3, rate=0.05)
    own = potential()
    _, found = gradients(objective, own, [0])
    support, _ = objective._episode(objective.learnt, 0, 3)
    with objective._adapted(own, support) as changes:
        for name, change in changes.items():
            torch.testing.assert_close(found[name] * (3 * 0.05), -change, rtol=1e-9, atol=1e-14)


def test_parameters_that_the_inner_loop_leaves_are_learnt_too(tmp_path):
    own = potential()
    _, found = gradients(episodes(tmp_path / "d.xyz", method="fomaml", adapted="readout"), own, [0])
    assert found.keys() == dict(own.network.named_parameters()).keys()


# --- episodes -------------------------------------------------------------------------------------------------------


def test_support_and_query_are_different_structures_of_one_system(tmp_path):
    objective = episodes(tmp_path / "d.xyz")
    seen = set()
    for epoch in range(4):
        for system in range(len(objective.learnt.members)):
            support, query = objective._episode(objective.learnt, system, epoch)
            assert support.graph.n_structures == query.graph.n_structures == 2
            rows = [tuple(s.targets.labels[ENERGY].tolist()) for s in (support, query)]
            assert not set(rows[0]) & set(rows[1])
            again = objective._episode(objective.learnt, system, epoch)
            assert torch.equal(again[0].graph.positions, support.graph.positions)
            seen.add((system, frozenset(rows[0])))
    assert len(seen) > len(objective.learnt.members)  # other structures in other passes


def test_the_loop_lowers_errors_after_an_adaptation(tmp_path):
    data = several(tmp_path / "d.xyz", n=6)
    settings = MetaTrainingSettings(
        data=data,
        inner=InnerSettings(method="fomaml", adapted="all", steps=1, rate=0.02, support=3, query=3),
        model={"channels": 4},
        epochs=40,
        learning_rate=0.01,
        repulsion=False,
        output=tmp_path / "m.safetensors",
    )
    meta_train(settings, console=QUIET)
    rows = np.genfromtxt(tmp_path / "m.history.csv", delimiter=",", names=True)
    assert rows[FORCES].min() < 0.7 * rows[FORCES][0], rows[FORCES]
    assert read_information(tmp_path / "m.safetensors").training["settings"]["inner"]["method"] == "fomaml"


@pytest.mark.parametrize(("method", "learned"), [("maml", False), ("maml", True), ("fomaml", True), ("reptile", False)])
def test_a_stopped_meta_training_goes_on_with_the_same_numbers(tmp_path, method, learned):
    data = several(tmp_path / "d.xyz")

    def settings(name: str) -> MetaTrainingSettings:
        return MetaTrainingSettings(
            data=data,
            inner=InnerSettings(method=method, adapted="radial", steps=1, support=2, query=2, learned_rates=learned),
            model={"channels": 2},
            epochs=2,
            dtype="float64",
            repulsion=False,
            output=tmp_path / f"{name}.safetensors",
        )

    meta_train(settings("whole"), console=QUIET)
    request = StopRequest()
    request.signal = 15
    with pytest.raises(TrainingStoppedError):
        meta_train(settings("parts"), console=QUIET, stop=request)
    meta_train(settings("parts"), console=QUIET)
    from safetensors.torch import load_file

    whole, parts = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_levels_of_theory_are_systems_of_their_own(tmp_path):
    files = {level: labelled(tmp_path / f"{level}.xyz", level, 12, 1) for level in ("good", "cheap")}
    settings = MetaTrainingSettings(
        levels={level: [path] for level, path in files.items()},
        model={"channels": 2},
        epochs=1,
        repulsion=False,
        output=tmp_path / "m.safetensors",
    )
    meta_train(settings, console=QUIET)
    assert [level.name for level in read_information(tmp_path / "m.safetensors").levels] == ["good", "cheap"]
    dataset = read_dataset(files["good"])
    labels = [replace(label, level=n % 2) for n, label in enumerate(dataset.labels)]
    found = systems(replace(dataset, labels=tuple(labels)), 5.0, torch.float64)
    assert len(found.members) == 4  # two compositions at two levels


def test_isomers_are_systems_of_their_own_where_they_have_names(tmp_path):
    several(tmp_path / "d.xyz", names=("H2O2", "H2O2"))
    assert len(systems(read_dataset(tmp_path / "d.xyz"), 5.0, torch.float64).members) == 1
    frames = read(tmp_path / "d.xyz", ":")
    for number, atoms in enumerate(frames):
        atoms.info["name"] = "cis" if number < 4 else "trans"
    write(tmp_path / "named.xyz", frames, format="extxyz")
    members = systems(read_dataset(tmp_path / "named.xyz"), 5.0, torch.float64).members
    assert [m.tolist() for m in members] == [[0, 1, 2, 3], [4, 5, 6, 7]]


# --- what is refused ------------------------------------------------------------------------------------------------


def test_too_few_systems_are_refused(tmp_path):
    settings = {"epochs": 1, "output": tmp_path / "m.safetensors", "repulsion": False}
    with pytest.raises(ValueError, match="one system only"):
        meta_train(MetaTrainingSettings(data=several(tmp_path / "a.xyz", names=("H2O",)), **settings), console=QUIET)
    with pytest.raises(ValueError, match="no two structures of one composition"):
        meta_train(MetaTrainingSettings(data=several(tmp_path / "b.xyz", n=1), **settings), console=QUIET)


def test_a_group_that_the_network_does_not_have_is_refused(tmp_path):
    settings = MetaTrainingSettings(
        data=several(tmp_path / "d.xyz"),
        architecture="schnet",
        inner=InnerSettings(adapted="readout"),
        epochs=1,
        output=tmp_path / "m.safetensors",
    )
    with pytest.raises(ValueError, match=r"SchNet has no group of parameters 'readout'; it has .*all"):
        meta_train(settings, console=QUIET)


def test_the_command_trains_and_refuses_by_name(tmp_path, monkeypatch, capsys):
    several(tmp_path / "d.xyz")
    config = tmp_path / "s.yaml"
    config.write_text(
        f"data: {tmp_path / 'd.xyz'}\nepochs: 1\nmodel: {{channels: 2}}\nrepulsion: false\n"
        f"inner: {{method: reptile, steps: 1, support: 2, query: 2}}\noutput: {tmp_path / 'm.safetensors'}\n"
    )
    status, _, _ = run_command(monkeypatch, capsys, "meta-train", config)
    assert status == 0
    assert (tmp_path / "m.safetensors").exists() and (tmp_path / "m.history.csv").exists()
    config.write_text(config.read_text().replace("reptile", "anil"))
    status, _, said = run_command(monkeypatch, capsys, "meta-train", config, "--force")
    assert status == 1
    assert "inner.method" in said and "'anil'" in said
