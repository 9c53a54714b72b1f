"""Harmonics and radial weights with tangents are those of the functions they stand for."""

import copy

import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from ase_nbody.graph import edge_vectors
from ase_nbody.kernels.dual import TANGENTS, VALUES
from ase_nbody.math import spherical_harmonics
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.dual_edges import DualDirections
from ase_nbody.nn.radial import EdgeFunctions, LearnedRadial, edge_functions
from ase_nbody.steps.dual_learned import LearnedLayers
from ase_nbody.steps.memory import Arena, SpareArenas
from ase_nbody.steps.radial import (
    RadialEdges,
    RadialNetwork,
    RadialWeights,
    SharedHidden,
    SharedRows,
    shared_rows,
)

CUTOFF = 4.0
SCALE = 0.5
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_close(found: Tensor, expected: Tensor) -> None:
    largest = max(float(expected.detach().abs().max()), 1e-3)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=TOLERANCE[found.dtype] * largest)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_directions(degree: int, dtype: torch.dtype) -> None:
    vectors, moved = normal(7, 3, dtype=dtype), normal(7, 3, seed=1, dtype=dtype)
    by_harmonics, by_distance = normal(7, (degree + 1) ** 2, seed=2, dtype=dtype), normal(7, seed=3, dtype=dtype)

    def functions(r: Tensor) -> tuple[Tensor, Tensor]:
        lengths = r.square().sum(dim=1).sqrt()
        return spherical_harmonics(r / lengths.unsqueeze(1), degree), lengths

    found = DualDirections(vectors, degree)
    (harmonics, lengths), (t_harmonics, t_lengths) = torch.autograd.functional.jvp(functions, vectors, moved)
    assert_close(found.harmonics.parts[VALUES][0], harmonics)
    assert_close(found.distances, lengths)
    assert_close(found.jvp(moved), t_lengths)
    assert_close(found.harmonics.parts[TANGENTS][0], t_harmonics)
    _, expected = torch.autograd.functional.vjp(functions, vectors, (by_harmonics, by_distance))
    assert_close(found.vjp(by_harmonics, by_distance), expected)


def network(dtype: torch.dtype, width: int, bias: float) -> LearnedRadial:
    """Of three types, two paths and four channels; the biases of the first layer reach up to `bias`."""
    found = LearnedRadial(3, 2, 4, 5, width, CUTOFF, torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        found.first_bias.copy_(torch.linspace(-bias, bias, 3 * width).view(3, width))
        found.second_bias.copy_(torch.linspace(-1.0, 1.0, width))
    return found


def functions_of(distances: Tensor, types: Tensor, power: int) -> EdgeFunctions:
    vectors = distances.unsqueeze(1) * torch.tensor([[0.6, 0.8, 0.0]], dtype=distances.dtype)
    hot = torch.nn.functional.one_hot(types, 3).to(distances.dtype)
    return edge_functions(vectors, hot, cutoff=CUTOFF, envelope_power=power, max_degree=1, softening=0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("power", [1, 6])
@pytest.mark.parametrize(("width", "bias"), [(5, 1.0), (16, 3.0), (32, 60.0), (32, 5000.0)])
def test_radial_weights(width: int, bias: float, power: int, dtype: torch.dtype) -> None:
    radial = network(dtype, width, bias)
    distances = torch.linspace(0.7, 4.4, 9, dtype=dtype)  # some beyond the cutoff
    types = torch.tensor([0, 2, 0, 2, 2, 0, 2, 0, 2])  # none of type 1
    moved, weights, t_cotangents = normal(9, dtype=dtype), *(normal(9, 8, seed=s, dtype=dtype) for s in (1, 2))

    own = torch.arange(9)
    with torch.no_grad():
        layers = RadialNetwork(LearnedLayers(radial, power), radial.last, torch.tensor(SCALE))
        hidden = SharedHidden(layers, RadialEdges(distances, types, SharedRows(own, own, own), Arena()))
        found = RadialWeights(radial.last, hidden)
        made = found.rows.values
        found.cotangents.copy_(weights)
        found.vjp()
        hidden.jvp(moved)
        found.jvp()
        by_parameters: dict[int, Tensor] = {}
        found.accumulate_gradients(t_cotangents.clone(), by_parameters)
        hidden.accumulate_gradients(by_parameters)

    r = distances.clone().requires_grad_()
    expected = radial(functions_of(r, types, power)).flatten(1) * SCALE
    (slope,) = torch.autograd.grad((expected * weights).sum(), r, create_graph=True)
    assert_close(made, expected)
    assert_close(hidden.d_distances, slope)

    def weights_at(t: Tensor) -> Tensor:
        return radial(functions_of(t, types, power)).flatten(1) * SCALE

    assert_close(found.rows.tangents, torch.autograd.functional.jvp(weights_at, distances, moved)[1])
    scalar = (expected * t_cotangents).sum() + (slope * moved).sum()
    for parameter, gradient in zip(radial.parameters(), torch.autograd.grad(scalar, radial.parameters()), strict=True):
        assert_close(by_parameters[id(parameter)], gradient)


def test_opposite_edges_share_a_row() -> None:
    """Also where an atom is its own neighbour, and through oblique cells; edges of other kinds stay alone."""
    atoms = bulk("Cu") + Atoms("H", [[0.9, 0.3, 0.2]])
    graph = neighbour_graph(atoms, 5.3, dtype=torch.float64)
    edges, vectors = graph.edges, edge_vectors(graph)
    kinds = 2 * (edges.receivers == 1) + (edges.senders == 1)
    shared = shared_rows(edges, graph.shifts, kinds)
    n_edges, n_rows = edges.n_edges, len(shared.first)
    same = int((edges.senders == edges.receivers).sum())
    assert n_rows == n_edges - same // 2 and 0 < same < n_edges
    assert torch.equal(kinds[shared.first][shared.rows], kinds)
    signed = vectors[shared.first][shared.rows]
    assert bool(((signed == vectors).all(dim=1) | (signed == -vectors).all(dim=1)).all())
    assert sorted(shared.slots.tolist()) == list(range(n_edges))
    d_edges = normal(n_edges, 2)
    expected = torch.zeros(n_rows, 2, dtype=torch.float64).index_add_(0, shared.rows, d_edges)
    in_slots = torch.empty_like(d_edges).index_copy_(0, shared.slots, d_edges)
    assert_close(shared.summed(in_slots), expected)
    all_of_one = shared_rows(edges, graph.shifts, torch.zeros_like(kinds))
    assert len(all_of_one.first) == n_edges // 2


def test_memory_is_kept_until_its_user_is_gone() -> None:
    class User:
        """Of memory."""

    like, spare = torch.zeros((), dtype=torch.float32), SpareArenas()
    first, second = User(), User()
    spare.take(first, like).empty(like, 40)
    del first
    arena = spare.take(second, like)
    a, b = arena.empty(like, 3, 5), arena.empty(like, 7)
    assert a.shape == (3, 5) and b.data_ptr() == a.data_ptr() + 16 * 4  # cut from what the first used
    assert arena.empty(like, 100).shape == (100,)  # more than there is
    assert spare.take(User(), like) is not arena
    wider = spare.take(second, like.double())
    assert wider.empty(like.double(), 2).dtype == torch.float64
    assert not copy.deepcopy(spare)._spare
