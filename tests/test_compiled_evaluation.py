"""The compiled evaluation gives the numbers of autograd."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from nbody_networks import ALL, SKIN, potential, rattled, structures
from torch import Tensor

from ase_nbody.architectures import architectures, compiled
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.model_file import load_model
from ase_nbody.models_directory import find_model, list_models
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.timings import Timings

TOLERANCE = {torch.float64: 2e-11, torch.float32: 2e-4}  # of the largest force where that is above 1 eV/angstrom


@pytest.fixture(autouse=True)
def fine_tables(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Tables so fine that float64 shows errors of the code alone."""
    if "shipped" not in request.node.name:
        monkeypatch.setitem(compiled.TABLES, torch.float64, (7, 1e-12))


def graph_of(atoms: Atoms, found: Potential) -> Graph:
    return neighbour_graph(atoms, found.cutoff + SKIN, dtype=found.dtype)


def assert_same(found: Potential, graph: Graph) -> None:
    fast, slow = predict(found, graph), predict(found, graph, differentiable=True)
    assert found.network.gradients(graph, Timings()) is not None
    for name in ("energy", "energies", "forces", "stress"):
        a, b = getattr(fast, name), getattr(slow, name)
        assert a.shape == b.shape and a.dtype == b.dtype
        largest = max(1.0, float(slow.forces.detach().abs().max()))
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=TOLERANCE[found.dtype] * largest, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("architecture", "settings"), ALL, ids=str)
def test_compiled_evaluation_is_that_of_autograd(
    architecture: str, settings: dict[str, object], dtype: torch.dtype
) -> None:
    found = potential(dtype, architecture=architecture, **settings)
    graphs = [graph_of(atoms, found) for atoms in structures()]
    for graph in graphs:
        assert_same(found, graph)
    assert_same(found, batch_graphs(graphs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("architecture", "preset"), [*(("nbody", p) for p in ("small", "medium", "large")), ("nequip", "medium")]
)
def test_presets_at_their_full_size(architecture: str, preset: str, dtype: torch.dtype) -> None:
    channels = architectures()[architecture].presets[preset].get("channels", 32)
    found = potential(dtype, preset, architecture, channels=channels, cutoff=5.0)
    for atoms in (rattled(molecule("CH3OH")), rattled(bulk("C", "diamond", a=3.6))):
        assert_same(found, graph_of(atoms, found))


SHIPPED = {
    "organic": molecule("CH3CH2OH"),
    "silicon": bulk("Si", cubic=True),
    "copper": bulk("Cu", cubic=True) * (2, 2, 2),
    "molybdenum": bulk("Mo", cubic=True) * (2, 2, 2),
    "water": molecule("H2O"),
    "3bpa": molecule("C5H5N"),
    "organic-start": molecule("CH3CONH2"),
    "universal": molecule("CH3CH2OH"),
    "universal-l3i5": molecule("CH3CH2OH"),
}


@pytest.mark.parametrize("name", [entry.name for entry in list_models()])
def test_float32_forces_of_shipped_models_are_those_of_float64(name: str) -> None:
    atoms = rattled(SHIPPED[name])
    exact = None
    for dtype in (torch.float64, torch.float32):
        found, _ = load_model(find_model(name), device="cpu", dtype=dtype)
        graph = graph_of(atoms, found)
        if exact is None:
            exact = predict(found, graph, differentiable=True).forces.detach()
            assert float(exact.abs().max()) > 1.0
        assert float((predict(found, graph).forces - exact).abs().max()) < (1e-3 if dtype == torch.float32 else 1e-9)


def test_edges_beyond_the_cutoff_do_nothing() -> None:
    found = potential(torch.float64)
    atoms = structures()[1]
    close, far = (neighbour_graph(atoms, found.cutoff + skin, dtype=torch.float64) for skin in (0.0, SKIN))
    assert far.edges.n_edges > close.edges.n_edges
    for name in ("energies", "forces", "stress"):
        a, b = getattr(predict(found, close), name), getattr(predict(found, far), name)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_results_do_not_depend_on_threads_or_on_what_was_evaluated_before(dtype: torch.dtype) -> None:
    found = potential(dtype)
    small, large = graph_of(structures()[0], found), graph_of(structures()[1] * (3, 3, 3), found)
    before = torch.get_num_threads()
    try:
        predictions = []
        for threads, graph in ((1, large), (1, small), (3, large), (3, small)):
            torch.set_num_threads(threads)
            predictions.append(predict(found, graph))
    finally:
        torch.set_num_threads(before)
    for one, other in ((0, 2), (1, 3)):
        assert torch.equal(predictions[one].forces, predictions[other].forces)
        assert torch.equal(predictions[one].energies, predictions[other].energies)


def test_a_network_made_in_inference_mode_is_served() -> None:
    with torch.inference_mode():
        found = potential(torch.float64)
        graph = graph_of(structures()[0], found)
        inside = predict(found, graph).forces.clone()
    torch.testing.assert_close(predict(found, graph).forces, inside)


def test_python_threads_share_a_network() -> None:
    found = potential(torch.float64)
    graphs = [graph_of(rattled(structures()[1], seed), found) for seed in range(6)]
    alone = [predict(found, graph).forces for graph in graphs]
    with ThreadPoolExecutor(4) as pool:
        for expected, got in zip(alone * 5, pool.map(lambda g: predict(found, g).forces, graphs * 5), strict=True):
            assert torch.equal(expected, got)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_energy_is_continuous_and_forces_are_its_slope_from_interval_to_interval(dtype: torch.dtype) -> None:
    found = potential(dtype)
    graph = graph_of(Atoms("HC", [[0] * 3, [1.0, 0, 0]]), found)
    distances = torch.linspace(0.8, found.cutoff + 0.1, 2000, dtype=torch.float64)
    energies, forces = [], []
    for distance in distances:
        positions = torch.tensor([[0.0] * 3, [float(distance), 0, 0]], dtype=dtype)
        prediction = predict(found, replace(graph, positions=positions))
        energies.append(float(prediction.energy))
        forces.append(float(prediction.forces[1, 0]))
    step = float(distances[1] - distances[0])
    differences = np.diff(energies) / step
    means = -0.5 * (np.array(forces[1:]) + forces[:-1])
    scale = np.abs(means).max()
    assert scale > 0.1
    assert np.abs(differences - means).max() < (5e-5 if dtype == torch.float64 else 1e-3) * scale
    assert energies[-1] == energies[-2] == -3.0


@pytest.mark.parametrize("architecture", ["nbody", "nequip"])
def test_an_element_that_appears_later_is_served(architecture: str) -> None:
    found = potential(torch.float64, architecture=architecture)
    for symbols in ("H2", "CO", "OCH"):
        atoms = Atoms(symbols, [[0, 0, 1.2 * n] for n in range(len(Atoms(symbols)))])
        assert_same(found, graph_of(atoms, found))


def test_new_weights_and_another_dtype_are_followed() -> None:
    found = potential(torch.float64)
    graph = graph_of(structures()[0], found)
    before = predict(found, graph).energy
    with torch.no_grad():
        for parameter in found.network.parameters():
            parameter.mul_(1.1)
    assert_same(found, graph)
    assert float((predict(found, graph).energy - before).abs()) > 1e-3
    found.network.embedding = torch.nn.Parameter(found.network.embedding.detach() * 0.9)
    assert_same(found, graph)
    found.network.to(torch.float32)
    assert_same(found, graph.to("cpu", torch.float32))
    for network in (copy.deepcopy(found.network), pickle.loads(pickle.dumps(found.network))):
        assert_same(replace(found, network=network.to(torch.float64)), graph)


def test_changed_buffers_are_followed() -> None:
    found = potential(torch.float64, architecture="nequip")
    graph = graph_of(structures()[0], found)
    before = predict(found, graph).energy
    found.network.energy_scales.mul_(1.3)
    assert_same(found, graph)
    assert float((predict(found, graph).energy - before).abs()) > 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"radial": "strict"},
        {"pairs": True},
        {"architecture": "nequip", "readout_activation": "gelu", "readout_depth": 1},
    ],
    ids=str,
)
def test_other_networks_go_by_autograd(settings: dict[str, object]) -> None:
    found = potential(torch.float64, **settings)
    graph = graph_of(structures()[0], found)
    assert found.network.gradients(graph, Timings()) is None
    forces: Tensor = predict(found, graph).forces
    assert bool(forces.isfinite().all()) and float(forces.abs().max()) > 1e-3
