"""Dense layers whose initial weights come from a generator that is passed, unlike torch.nn.Linear's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Initializer = Callable[[Tensor, torch.Generator], None]


def xavier(weight: Tensor, generator: torch.Generator) -> None:
    """Uniform with variance 2 / (rows + columns) (Glorot and Bengio 2010), in place."""
    nn.init.xavier_uniform_(weight, generator=generator)


def glorot_orthogonal(weight: Tensor, generator: torch.Generator) -> None:
    """A random orthogonal matrix scaled to variance 2 / (rows + columns), in place, as in the program of DimeNet."""
    nn.init.orthogonal_(weight, generator=generator)
    if weight.numel() > 1:
        weight.mul_((2.0 / (sum(weight.shape) * weight.var())) ** 0.5)


class Dense(nn.Module):
    """y = x W^T + b, with W (columns, rows) and b as torch.nn.Linear stores them; b begins with zeros.

    Args:
        rows: numbers in.
        columns: numbers out.
        generator: source of the initial weights.
        initializer: what writes them.
        bias: whether there is b.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        generator: torch.Generator,
        initializer: Initializer = xavier,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        weight = torch.empty(columns, rows, dtype=torch.float32)
        initializer(weight, generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(columns, dtype=torch.float32)) if bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """From (N, rows) to (N, columns)."""
        return functional.linear(inputs, self.weight, self.bias)
