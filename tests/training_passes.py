"""Predictions of training passes and their gradients by parameters, compared with autograd's."""

from __future__ import annotations

import torch
from ase import Atoms
from nbody_networks import SKIN
from torch import Tensor

from ase_nbody.architectures.base import Gradients
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import Prediction

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}  # of the largest number; measured 2e-14 and 5e-6


def graph_of(several: list[Atoms], found: Potential) -> Graph:
    cutoff = found.cutoff + SKIN
    return batch_graphs([neighbour_graph(atoms, cutoff, dtype=found.dtype, device="cpu") for atoms in several])


def loss(prediction: Prediction, parts: str = "energy forces stress") -> Tensor:
    """Squares and linear terms of what is named, with weights that differ between structures, atoms and components."""
    generator = torch.Generator().manual_seed(1)
    total = 0.0 * prediction.energy.sum()  # differentiable also where nothing is labelled
    for name in parts.split():
        values = getattr(prediction, name).double()
        linear, square = (torch.randn(values.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        total = total + torch.where(values.isnan(), 0.0, linear * values + square * values**2).sum()
    return total


def gradients(found: Potential, value: Tensor) -> dict[str, Tensor | None]:
    names, parameters = zip(*found.network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(value, parameters, allow_unused=True), strict=True))


def assert_close(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    largest = float(b.nan_to_num().abs().max()) if b.numel() else 0.0
    torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[a.dtype] * max(largest, 1e-3), equal_nan=True)


def assert_same(found: Potential, graph: Graph, parts: str = "energy forces stress") -> None:
    """The training passes give what autograd gives, also of parameters that nothing depends on."""
    assert isinstance(found.network.trainable_gradients(graph), Gradients)
    fast, slow = trainable_prediction(found, graph), predict(found, graph, differentiable=True)
    for name in ("energy", "forces", "stress"):
        a, b = getattr(fast, name).detach(), getattr(slow, name).detach()
        largest = max(1.0, float(b.nan_to_num().abs().max()))
        torch.testing.assert_close(a, b, rtol=0, atol=10 * TOLERANCE[found.dtype] * largest, equal_nan=True)
    by_steps, by_autograd = gradients(found, loss(fast, parts)), gradients(found, loss(slow, parts))
    for name, gradient in by_steps.items():
        expected = by_autograd[name]
        assert (gradient is None) == (expected is None), name
        if gradient is not None and expected is not None:
            assert_close(gradient, expected)
