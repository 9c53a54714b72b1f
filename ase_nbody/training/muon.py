"""Muon: steps along orthogonalised momenta, for the matrices that mix channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of Jordan's Newton-Schulz iteration, which takes singular values near one
_ITERATIONS = 5
STEP = 0.2
"""Root mean square of a step's entries as a fraction of the learning rate: about AdamW's, so that one rate serves both
(Liu et al. 2025, arXiv:2502.16982)."""


class Muon(Optimizer):
    """Momentum whose singular values are taken near one before each step (Jordan et al. 2024).

    The description is at https://kellerjordan.github.io/posts/muon/. torch.optim.Muon does the same for one matrix
    after another and in bfloat16, which many CPUs have to emulate; here all matrices of equal width go together and in
    their own dtype.

    Args:
        matrices: parameters (rows, columns).
        learning_rate: in units of AdamW's: entries of a step have the root mean square `STEP` times this.
        momentum: decay per step of the averaged gradient; steps look ahead as Nesterov's.
        weight_decay: decoupled, per step and learning rate.
    """

    def __init__(
        self, matrices: Iterable[Tensor], learning_rate: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(matrices, {"lr": learning_rate, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            by_width: dict[int, list[Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_width[min(matrix.shape)].append(matrix)
            for matrices in by_width.values():
                directions = orthogonalised([self._direction(m, group["momentum"]) for m in matrices])
                for matrix, direction in zip(matrices, directions, strict=True):
                    matrix.mul_(1.0 - group["lr"] * group["weight_decay"])
                    matrix.add_(direction, alpha=-group["lr"] * STEP * max(matrix.shape) ** 0.5)

    def _direction(self, matrix: Tensor, momentum: float) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        state["momentum"].lerp_(matrix.grad, 1.0 - momentum)
        return matrix.grad.lerp(state["momentum"], momentum)


def orthogonalised(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Matrices with the same singular vectors and singular values between 0.7 and 1.2, but for the smallest.

    The iteration X -> p(X X^T) X only multiplies X from the left by polynomials of X X^T, the smaller of the two Gram
    matrices; these polynomials are multiplied up for all matrices at once.

    Args:
        matrices: (rows, columns) each, all with the same smaller side W.
    """
    grams = torch.stack([m.T @ m if m.shape[0] > m.shape[1] else m @ m.T for m in matrices])  # (matrices, W, W)
    squares = grams.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=torch.finfo(grams.dtype).tiny)
    grams = grams / squares[:, None, None]
    linear, cubic, quintic = _COEFFICIENTS
    identity = torch.eye(grams.shape[1], dtype=grams.dtype, device=grams.device) * linear
    factors = torch.baddbmm(grams, grams, grams, beta=cubic, alpha=quintic) + identity
    product = factors
    for _ in range(_ITERATIONS - 1):
        grams = factors @ grams @ factors
        factors = torch.baddbmm(grams, grams, grams, beta=cubic, alpha=quintic) + identity
        product = factors @ product
    product = product * squares.rsqrt()[:, None, None]
    return [m @ p if m.shape[0] > m.shape[1] else p @ m for m, p in zip(matrices, product, strict=True)]
