"""Training passes of N-body networks give the predictions and the parameter gradients of autograd."""

import copy
from collections.abc import Iterator
from dataclasses import fields, replace

import pytest
import torch
from nbody_networks import NETWORKS, potential, structures
from training_passes import assert_close, assert_same, gradients, graph_of, loss

from ase_nbody.compiler import cpu
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph, batch_graphs, split_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.steps import training


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_gradients_by_parameters_are_those_of_autograd(settings: dict[str, object]) -> None:
    found = potential(torch.float64, **settings)
    assert_same(found, graph_of(structures(), found))


@pytest.mark.parametrize("preset", ["small", "medium", "large"])
def test_presets_in_float32(preset: str) -> None:
    found = potential(torch.float32, preset, channels=16)
    assert_same(found, graph_of(structures(), found))


@pytest.mark.parametrize("parts", ["energy", "forces", "stress", "energy forces"])
@pytest.mark.parametrize("chosen", range(5))
def test_each_label_of_each_structure(parts: str, chosen: int) -> None:
    found = potential(torch.float64)
    assert_same(found, graph_of([structures()[chosen]], found), parts)


def test_kernels_shared_by_threads_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = potential(torch.float32)
    graph = graph_of(structures()[1:2], found)  # one structure, which is not split
    alone = gradients(found, loss(trainable_prediction(found, graph)))
    monkeypatch.setattr(cpu, "SMALLEST_SHARE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = gradients(found, loss(trainable_prediction(found, graph)))
    for name, gradient in alone.items():
        if gradient is not None:
            assert torch.equal(gradient, shared[name]), name


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Batches are shared by three threads; the list gets the number of parts of each."""
    seen: list[int] = []

    def counted(graph: Graph, n_parts: int) -> list[Graph]:
        parts = split_graph(graph, n_parts)
        seen.append(len(parts))
        return parts

    monkeypatch.setattr(training, "SMALLEST_SHARE", 1)
    monkeypatch.setattr(training, "split_graph", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield seen
    torch.set_num_threads(before)


def test_batches_shared_by_threads_give_the_same(three_threads: list[int]) -> None:
    found = potential(torch.float64)
    graph = graph_of([*structures()[3:], *structures() * 2], found)
    assert_same(found, graph)
    assert three_threads == [3, 3]
    first, second = (gradients(found, loss(trainable_prediction(found, graph))) for _ in range(2))
    for name, gradient in first.items():
        assert gradient is None or torch.equal(gradient, second[name]), name


def test_a_second_reverse_pass_gives_the_same() -> None:
    found = potential(torch.float64)
    value = loss(trainable_prediction(found, graph_of(structures(), found)))
    names, parameters = zip(*found.network.named_parameters(), strict=True)
    first, second = (torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True) for _ in range(2))
    for name, a, b in zip(names, first, second, strict=True):
        assert a is b is None or torch.equal(a, b), name


def test_gradients_are_there_for_the_same_parameters_only() -> None:
    found = potential(torch.float64)
    loss(trainable_prediction(found, graph_of(structures(), found))).backward()
    without = {name for name, parameter in found.network.named_parameters() if parameter.grad is None}
    assert without and all(".own" in name for name in without)  # of the last level, whose states nobody reads


def test_new_weights_another_dtype_and_copies_are_followed() -> None:
    found = potential(torch.float64)
    graph = graph_of(structures()[:2], found)
    before = trainable_prediction(found, graph).energy
    with torch.no_grad():
        for parameter in found.network.parameters():
            parameter.mul_(1.1)
    assert_same(found, graph)
    assert float((trainable_prediction(found, graph).energy - before).detach().abs().max()) > 1e-3
    copied = Potential(copy.deepcopy(found.network), found.reference_energies, found.energy_scale)
    found.network.to(torch.float32)
    assert_same(found, graph.to("cpu", torch.float32))
    assert_same(copied, graph)


def test_without_gradients_nothing_is_kept() -> None:
    found = potential(torch.float64)
    with torch.no_grad():
        assert not trainable_prediction(found, graph_of(structures(), found)).forces.requires_grad


def test_second_derivatives_by_parameters_are_refused() -> None:
    found = potential(torch.float64)
    value = loss(trainable_prediction(found, graph_of(structures()[:1], found)))
    (gradient,) = torch.autograd.grad(value, [found.network.get_parameter("embedding")], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("settings", [{"radial": "strict"}, {"pairs": True}, {"scheme": "fragments"}], ids=str)
def test_other_networks_go_by_autograd(settings: dict[str, object]) -> None:
    found = potential(torch.float64, **settings)
    graph = graph_of([structures()[0]], found)
    assert found.network.trainable_gradients(graph) is None
    by_predict = gradients(found, loss(predict(found, graph, differentiable=True), "energy forces"))
    for name, gradient in gradients(found, loss(trainable_prediction(found, graph), "energy forces")).items():
        if gradient is not None:
            expected = by_predict[name]
            assert expected is not None
            assert_close(gradient, expected)
    with torch.no_grad():
        assert not trainable_prediction(found, graph).forces.requires_grad


def test_molecules_beside_crystals_have_finite_gradients() -> None:
    found = potential(torch.float64, radial="strict")
    prediction = predict(found, graph_of(structures()[:2], found), differentiable=True)
    for gradient in gradients(found, prediction.stress.nansum()).values():
        assert gradient is None or bool(gradient.isfinite().all())


@pytest.mark.parametrize("n_parts", [1, 2, 3, 50])
def test_parts_of_a_batch_make_the_batch(n_parts: int) -> None:
    found = potential(torch.float64)
    graph = graph_of([*structures(), *structures()], found)
    groups = torch.where(graph.atomic_numbers == 8, -1, graph.structure)
    graph = replace(graph, groups=groups, contacts=torch.arange(1, graph.edges.n_edges, 3))
    parts = split_graph(graph, n_parts)
    assert 1 <= len(parts) <= n_parts and (len(parts) > 1 or n_parts == 1)
    joined = batch_graphs(parts)
    for field in fields(Graph):
        if field.name not in ("edges", "groups", "vectors"):
            assert torch.equal(getattr(joined, field.name), getattr(graph, field.name)), field.name
    for field in fields(EdgeList):
        assert torch.equal(getattr(joined.edges, field.name), getattr(graph.edges, field.name)), field.name
    for part in parts:
        assert part.groups is not None and int(part.groups[part.groups >= 0].min()) == 0
