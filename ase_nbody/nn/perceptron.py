"""A multilayer perceptron without biases, on invariant numbers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["silu", "mish", "gelu"]
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "mish": functional.mish,
    "gelu": functional.gelu,
}


class Perceptron(nn.Module):
    """Matrices with a nonlinearity between them. All of its activations vanish at zero, so zero stays zero.

    Args:
        widths: of input, hidden layers and output.
        activation: between the matrices.
        generator: source of the initial weights, uniform with variance 1 / rows, and 2 / rows after a nonlinearity.
    """

    def __init__(self, widths: Sequence[int], activation: Activation, generator: torch.Generator) -> None:
        super().__init__()
        self.activation = activation
        self.weights = nn.ParameterList()
        for number, (rows, columns) in enumerate(pairwise(widths)):
            bound = (3 * (1 if number == 0 else 2) / rows) ** 0.5
            self.weights.append(
                nn.Parameter(bound * (2 * torch.rand(rows, columns, generator=generator, dtype=torch.float32) - 1))
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """From (N, widths[0]) to (N, widths[-1])."""
        first, *others = self.weights
        outputs: Tensor = inputs @ first
        for weight in others:
            outputs = _FUNCTIONS[self.activation](outputs) @ weight
        return outputs
