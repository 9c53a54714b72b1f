"""Muon: orthogonalised momenta, and trainings with it that are resumed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ase_nbody.training.muon import Muon, orthogonalised

SHAPES = [(64, 64), (192, 64), (64, 8), (8, 64)]


def random(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_vectors_stay_and_values_go_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = random(shape, dtype)
    (made,) = orthogonalised([matrix])
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ made @ right.T
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-3 if dtype == torch.float32 else 1e-9)
    large = values > 0.02 * values.square().sum().sqrt()
    assert inner.diagonal()[large].min() > 0.6
    assert inner.diagonal().max() < 1.25


def test_matrices_together_as_one_by_one_and_whatever_their_scale() -> None:
    matrices = [random((n, 16), torch.float64, n) * 10.0 ** (n - 30) for n in (16, 24, 40)]
    for one, together in zip(matrices, orthogonalised(matrices), strict=True):
        assert torch.allclose(orthogonalised([one / one.norm()])[0], together, atol=1e-8)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_torch_takes_the_same_steps() -> None:
    start, gradients = random((48, 16), torch.float32), [random((48, 16), torch.float32, n) for n in range(1, 4)]
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = (
        Muon([ours], 0.01, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = [(p.detach() - start * 0.999**3) for p in (ours, theirs)]
    assert torch.allclose(*moved, atol=0.03 * moved[1].abs().max().item())


def test_a_gradient_of_zero_or_none_moves_nothing() -> None:
    still, without = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    still.grad = torch.zeros(4, 4)
    Muon([still, without], 0.1).step()
    assert torch.equal(still, torch.ones(4, 4))
    assert torch.equal(without, torch.ones(4, 4))
