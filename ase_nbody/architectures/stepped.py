"""Networks that are described by steps, with the weights of these steps."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.steps.description import Description
from ase_nbody.steps.weights import Hidden, Radial, StepWeights


class SteppedNetwork(Network):
    """A network whose compiled evaluation is derived from a list of steps.

    Attributes:
        type_of_number: place of each atomic number among the elements.
    """

    type_of_number: Tensor

    @abstractmethod
    def description(self) -> Description | None:
        """Its steps; None where its settings ask for something that steps cannot do."""

    @abstractmethod
    def step_weights(self) -> StepWeights:
        """What its parameters are for these steps."""


def radial(hidden: Hidden, last: Tensor, factors: Tensor | None = None, *, same_hidden: bool) -> Radial:
    """Radial weights of one last matrix for all kinds of edges.

    Args:
        hidden: see `Radial`.
        last: (H, paths C).
        factors: by which the weights of each kind are multiplied, (kinds,); 1 if not given.
        same_hidden: see `Radial`.
    """

    def matrices(kinds: list[int]) -> Tensor:
        if factors is None:
            return last.expand(len(kinds), *last.shape)
        return factors[kinds][:, None, None] * last

    return Radial(hidden, matrices, same_hidden)
