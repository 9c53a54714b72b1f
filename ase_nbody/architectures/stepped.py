"""Networks that are described by steps, with the weights of these steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ase_nbody.architectures.base import Gradients, Network
from ase_nbody.graph import Graph
from ase_nbody.steps.description import Description
from ase_nbody.steps.features import readout_features
from ase_nbody.steps.memory import SpareArenas
from ase_nbody.steps.radial import RadialNetwork
from ase_nbody.steps.training import TrainedSteps, trainable_energies
from ase_nbody.steps.weights import Hidden, Radial, StepWeights


class SteppedNetwork(Network):
    """A network whose compiled evaluation and training passes are derived from a list of steps.

    Attributes:
        type_of_number: place of each atomic number among the elements.
    """

    type_of_number: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._memory = SpareArenas()

    @abstractmethod
    def description(self) -> Description | None:
        """Its steps; None where its settings ask for something that steps cannot do."""

    @abstractmethod
    def step_weights(self) -> StepWeights:
        """What its parameters are for these steps, made of them by differentiable operations."""

    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        """Energies and gradients by passes with tangents through the steps, on the CPU; None where they cannot be."""
        steps = self._trained_steps()
        return None if steps is None else Gradients(*trainable_energies(steps, graph))

    def readout_features(self, graph: Graph, moves: Iterable[Tensor]) -> Iterator[Tensor]:
        """Derivatives by the linear readouts and their changes, on the CPU."""
        with torch.enable_grad():
            steps = self._trained_steps()
        readouts = self.linear_readouts()
        if steps is None or not readouts:
            return super().readout_features(graph, moves)
        return readout_features(steps, readouts, graph, moves)

    def _trained_steps(self) -> TrainedSteps | None:
        """What training passes need; None on a GPU, and where there are no steps, or some without tangents."""
        description = self.description() if self.type_of_number.device.type == "cpu" else None
        if description is None or not description.has_tangents:
            return None
        return TrainedSteps(description, self.step_weights(), self.type_of_number, self.settings.cutoff, self._memory)


def radial(hidden: Hidden, network: RadialNetwork, *, same_hidden: bool) -> Radial:
    """Radial weights of one last matrix for all kinds of edges.

    Args:
        hidden: see `Radial`.
        network: the same layers for training, and the last matrix.
        same_hidden: see `Radial`.
    """
    return Radial(hidden, network.last, same_hidden=same_hidden, network=network)
