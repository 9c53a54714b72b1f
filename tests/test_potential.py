"""predict with other parameters than the network's own, closest distances, and the gains of activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from nbody_networks import rattled
from scipy.integrate import quad
from toy_network import toy_potential

from ase_nbody.graph import Graph, batch_graphs, closest_distances
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN, E3NN_TANH_GAIN
from ase_nbody.nn.radial import SILU_GAIN
from ase_nbody.potential import predict


def periodic() -> Graph:
    atoms = rattled(molecule("CH3OH"))
    atoms.cell, atoms.pbc = [5, 6, 7], True
    return neighbour_graph(atoms, 4.0)


def test_other_parameters_give_what_a_network_with_them_gives():
    one, other, graph = toy_potential(seed=0), toy_potential(seed=1), periodic()
    before = predict(one, graph)
    given = predict(one, graph, dict(other.network.named_parameters()))
    expected = predict(other, graph)
    assert (given.energy - before.energy).abs() > 0.01
    for name in ("energy", "energies", "forces", "stress"):
        torch.testing.assert_close(getattr(given, name), getattr(expected, name), rtol=0, atol=1e-12)
        assert not getattr(given, name).requires_grad
        torch.testing.assert_close(getattr(predict(one, graph), name), getattr(before, name), rtol=0, atol=0)


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_predictions_can_be_differentiated_by_other_parameters(label):
    """Against central differences: one step of adaptation is such a gradient."""
    potential, graph = toy_potential(seed=0), periodic()
    weights = {name: p.detach().clone() for name, p in toy_potential(seed=1).network.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        prediction = predict(potential, graph, parameters, differentiable=True)
        return (getattr(prediction, label) ** 2).sum()

    (name,) = weights
    (gradient,) = torch.autograd.grad(loss({name: weights[name].requires_grad_()}), weights[name])
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        ends = [float(loss({name: weights[name] + sign * 1e-5 * direction})) for sign in (1, -1)]
    assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
    assert all(p.grad is None for p in potential.network.parameters())


def pair(symbols: str, distance: float) -> Graph:
    return neighbour_graph(Atoms(symbols, [[0, 0, 0], [distance, 0, 0]]), 4.0)


@pytest.mark.parametrize("distances", [(0.9, 1.2, 1.5), (1.5, 0.9, 1.2), (1.2, 1.5, 0.9)])
def test_the_closest_distance_of_all_structures_counts_wherever_it_stands(distances):
    found: dict[str, float] = {}
    for distance in distances:
        found = closest_distances(pair("CH", distance), found)
    assert found == {"C-H": pytest.approx(0.9)}
    together = closest_distances(batch_graphs([pair("HC", d) for d in distances] + [pair("HH", 0.7)]), {"O-O": 2.0})
    assert together == {"C-H": pytest.approx(0.9), "H-H": pytest.approx(0.7), "O-O": 2.0}


def root_mean_square(function) -> float:
    density = quad(lambda z: function(z) ** 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), -30, 30)[0]
    return float(np.sqrt(density))


def test_gains_keep_the_variance_of_activations():
    silu = root_mean_square(lambda z: z / (1 + np.exp(-z)))
    assert 1 / silu == pytest.approx(1.6765324703, abs=1e-9)
    assert SILU_GAIN * silu == pytest.approx(1, abs=2e-4)
    assert E3NN_SILU_GAIN * silu == pytest.approx(1, abs=2e-3)  # the spread of 10^6 random numbers
    assert E3NN_TANH_GAIN * root_mean_square(np.tanh) == pytest.approx(1, abs=2e-3)


def test_gains_of_taken_over_weights_are_those_of_e3nn():
    from e3nn.math import normalize2mom

    assert normalize2mom(torch.nn.functional.silu).cst == pytest.approx(E3NN_SILU_GAIN, abs=1e-12)
    assert normalize2mom(torch.tanh).cst == pytest.approx(E3NN_TANH_GAIN, abs=1e-12)
