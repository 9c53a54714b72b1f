"""Optimizers that stay near a start: a decay towards it, and low-rank updates of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer


class TowardsStart(Optimizer):
    """Decoupled decay towards the values that the parameters have when this is made.

    It is the penalty L2-SP of Li et al. 2018 (arXiv:1802.01483), decoupled from the gradient as AdamW's decay is.

    Args:
        parameters: that are decayed.
        learning_rate: of each step.
        decay: fraction of the distance that a step takes away, per learning rate.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, decay: float) -> None:
        super().__init__(parameters, {"lr": learning_rate, "decay": decay})
        self._starts = [[p.detach().clone() for p in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter towards its start."""
        assert closure is None
        for group, starts in zip(self.param_groups, self._starts, strict=True):
            torch._foreach_lerp_(group["params"], starts, min(group["lr"] * group["decay"], 1.0))


class LowRank(Optimizer):
    """Matrices W = W0 + A B of which A (rows, rank) and B (rank, columns) are stepped by AdamW (Hu et al. 2021).

    See arXiv:2106.09685. The matrices mix channels of one irrep each, so that the updates are equivariant as those are
    (ELoRA, Wang et al. 2025). Gradients by A and B follow from the gradient G by W: G B^T and A^T G.

    Args:
        matrices: parameters (rows, columns).
        rank: of the updates; at most what each matrix has.
        learning_rate: of A and B.
        decay: of A and B, per step and learning rate: updates stay small.
        generator: source of the initial A, normal with variance 1 / rank; B begins with zeros.
    """

    def __init__(
        self, matrices: Iterable[Tensor], rank: int, learning_rate: float, decay: float, *, generator: torch.Generator
    ) -> None:
        super().__init__(matrices, {"lr": learning_rate})
        self._matrices: list[Tensor] = self.param_groups[0]["params"]
        self._starts = [m.detach().clone() for m in self._matrices]
        self._factors = [_factors(m, rank, generator) for m in self._matrices]
        factors = [factor for pair in self._factors for factor in pair]
        self._inner = torch.optim.AdamW(factors, lr=learning_rate, weight_decay=decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every matrix that has a gradient."""
        assert closure is None
        self._inner.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for matrix, (a, b) in zip(self._matrices, self._factors, strict=True):
            if matrix.grad is not None:
                a.grad, b.grad = matrix.grad @ b.T, a.T @ matrix.grad
        self._inner.step()
        for matrix, start, (a, b) in zip(self._matrices, self._starts, self._factors, strict=True):
            torch.addmm(start, a, b, out=matrix)


def _factors(matrix: Tensor, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    rows, columns = matrix.shape
    rank = min(rank, rows, columns)
    a = torch.randn(rows, rank, generator=generator, dtype=matrix.dtype) / rank**0.5
    return a, torch.zeros(rank, columns, dtype=matrix.dtype)


def of_rank(matrices: Sequence[Tensor], starts: Sequence[Tensor], rank: int) -> list[Tensor]:
    """Matrices whose differences from the starts are cut to a rank: the nearest of that rank (Eckart and Young 1936).

    The weights that are kept are averaged over steps, and an average of updates of a rank has a higher one.
    """
    cut = []
    for matrix, start in zip(matrices, starts, strict=True):
        u, s, v = torch.linalg.svd(matrix - start, full_matrices=False)
        cut.append(start + (u[:, :rank] * s[:rank]) @ v[:rank])
    return cut
