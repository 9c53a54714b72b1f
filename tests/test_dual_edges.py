"""Harmonics and radial weights with tangents are those of the functions they stand for."""

import pytest
import torch
from torch import Tensor

from ase_nbody.kernels.dual import TANGENTS, VALUES
from ase_nbody.math import spherical_harmonics
from ase_nbody.nn.dual_edges import DualDirections, DualRadial, RadialBasis, radial_basis
from ase_nbody.nn.radial import EdgeFunctions, LearnedRadial, edge_functions

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
    assert_close(found.move(moved), t_lengths)
    assert_close(found.harmonics.parts[TANGENTS][0], t_harmonics)
    _, expected = torch.autograd.functional.vjp(functions, vectors, (by_harmonics, by_distance))
    assert_close(found.pull(by_harmonics, by_distance), expected)


def network(dtype: torch.dtype, width: int, bias: float) -> LearnedRadial:
    """Of three types, two paths and four channels; the biases of the first layer reach up to `bias`."""
    found = LearnedRadial(3, 2, 4, 5, width, CUTOFF, torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        found.first_bias.copy_(torch.linspace(-bias, bias, 3 * width).view(3, width))
        found.second_bias.copy_(torch.linspace(-1.0, 1.0, width))
    return found


def basis_of(distances: Tensor, types: Tensor, power: int) -> RadialBasis:
    return radial_basis(distances, types, 3, cutoff=CUTOFF, envelope_power=power, n_bessel=5, scale=SCALE)


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
    moved, weights, changes = normal(9, dtype=dtype), *(normal(9, 8, seed=s, dtype=dtype) for s in (1, 2))

    with torch.no_grad():
        found = DualRadial(radial, basis_of(distances, types, power))
        made = found.weights[1].clone()
        found.weights[2] = weights
        pulls = found.pull()
        found.move(moved)
        found.weights[1] = changes
        by_parameters: dict[int, Tensor] = {}
        found.gradients(by_parameters)

    r = distances.clone().requires_grad_()
    expected = radial(functions_of(r, types, power)).flatten(1) * SCALE
    (slope,) = torch.autograd.grad((expected * weights).sum(), r, create_graph=True)
    assert_close(made, expected)
    assert_close(pulls, slope)
    scalar = (expected * changes).sum() + (slope * moved).sum()
    for parameter, gradient in zip(radial.parameters(), torch.autograd.grad(scalar, radial.parameters()), strict=True):
        assert_close(by_parameters[id(parameter)], gradient)
