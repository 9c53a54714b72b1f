"""The hand-written forces of N-body networks are those of autograd."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor

from ase_nbody.architectures import architectures
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict

TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}  # of forces up to some eV/angstrom; measured 2e-14, 2e-5
SKIN = 0.7  # angstrom; brings edges beyond the cutoff


def rattled(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, 0.08, atoms.positions.shape)
    return atoms


def structures() -> list[Atoms]:
    crystal = bulk("C", "diamond", a=3.6, cubic=True)
    crystal.set_cell(crystal.cell[:] @ [[1, 0.1, 0], [0, 1, 0.2], [0, 0, -1]], scale_atoms=True)  # left-handed
    crystal.symbols[0] = "O"
    slab = molecule("CH3CH2OH", cell=[6, 6, 0], pbc=[True, True, False])
    return [
        rattled(molecule("CH3CH2OH")),
        rattled(crystal),
        rattled(slab),
        Atoms("O"),
        Atoms("HC", [[0] * 3, [9, 0, 0]]),
    ]


def potential(dtype: torch.dtype, preset: str = "small", **settings: object) -> Potential:
    nbody = architectures()["nbody"]
    chosen = {"elements": ("H", "C", "O"), "cutoff": 3.5, "channels": 8, "average_neighbours": 9.0, **settings}
    network = nbody.network(nbody.settings(**{**nbody.presets[preset], **chosen}), torch.Generator().manual_seed(0))
    return Potential(network.to(dtype), {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=2.0)


def graph_of(atoms: Atoms, found: Potential) -> Graph:
    return neighbour_graph(atoms, found.cutoff + SKIN, dtype=found.dtype)


def assert_same(found: Potential, graph: Graph) -> None:
    fast, slow = predict(found, graph), predict(found, graph, differentiable=True)
    assert found.network.edge_gradients(graph) is not None
    for name in ("energy", "energies", "forces", "stress"):
        a, b = getattr(fast, name), getattr(slow, name)
        assert a.shape == b.shape and a.dtype == b.dtype
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=TOLERANCE[found.dtype], equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"preset": "medium", "channels": 16},
        {"preset": "large", "channels": 6},
        {"levels": 1},
        {"levels": 3, "max_degree_states": 2},
        {"body_order": 2},
        {"body_order": 3, "max_degree_edges": 4},
        {"max_degree_states": 0, "max_degree_products": 3},
        {"radial_width": 5, "bessel_functions": 3, "envelope_power": 4, "channels": 1},
    ],
    ids=str,
)
def test_hand_written_forces_are_those_of_autograd(settings: dict[str, object], dtype: torch.dtype) -> None:
    found = potential(dtype, **settings)
    graphs = [graph_of(atoms, found) for atoms in structures()]
    for graph in graphs:
        assert_same(found, graph)
    assert_same(found, batch_graphs(graphs))


def test_edges_beyond_the_cutoff_are_left_out() -> None:
    found = potential(torch.float64)
    graph = graph_of(structures()[1], found)
    gradients = found.network.edge_gradients(graph)
    assert gradients is not None
    lengths = gradients.vectors.norm(dim=1)
    assert len(lengths) < graph.edges.n_edges and float(lengths.max()) < found.cutoff


def test_new_weights_and_another_dtype_are_followed() -> None:
    found = potential(torch.float64)
    graph = graph_of(structures()[0], found)
    before = predict(found, graph).energy
    with torch.no_grad():
        for parameter in found.network.parameters():
            parameter.mul_(1.1)
    assert_same(found, graph)
    assert float((predict(found, graph).energy - before).abs()) > 1e-3
    found.network.to(torch.float32)
    assert_same(found, graph.to("cpu", torch.float32))
    copied = replace(found, network=copy.deepcopy(found.network).to(torch.float64))
    assert_same(copied, graph)


@pytest.mark.parametrize("settings", [{"radial": "strict"}, {"pairs": True}], ids=str)
def test_other_networks_go_by_autograd(settings: dict[str, object]) -> None:
    found = potential(torch.float64, **settings)
    graph = graph_of(structures()[0], found)
    assert found.network.edge_gradients(graph) is None
    forces: Tensor = predict(found, graph).forces
    assert bool(forces.isfinite().all()) and float(forces.abs().max()) > 1e-3
