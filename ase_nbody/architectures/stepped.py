"""Networks that are described by steps, with the weights of these steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ase_nbody.architectures.base import Gradients, Network
from ase_nbody.graph import Graph
from ase_nbody.steps.description import Description
from ase_nbody.steps.features import atom_features, energy_steps, readout_features
from ase_nbody.steps.memory import SpareArenas
from ase_nbody.steps.radial import RadialNetwork
from ase_nbody.steps.readout import EnergyStep
from ase_nbody.steps.state_irreps import StateIrreps
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
    def step_weights(self, elements: Iterable[int] | None = None) -> StepWeights:
        """What its parameters are for these steps, made of them by differentiable operations.

        Args:
            elements: numbers of those for which the weights are used; None: all. What only others need may be NaN.
        """

    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        """Energies and gradients by passes with tangents through the steps, on the CPU; None where they cannot be."""
        description = self.description() if self.type_of_number.device.type == "cpu" else None
        if description is None or not description.has_tangents:
            return None
        return Gradients(*trainable_energies(self._with_weights(description), graph))

    def read_out_irreps(self) -> list[StateIrreps]:
        """Shapes of the states of the steps that make energies."""
        description = self.description()
        return [] if description is None else [description.irreps_of[step.state] for step in _readouts(description)]

    def read_out_states(self, graph: Graph) -> list[tuple[Tensor, ...]]:
        """The states of these steps."""
        description = self.description()
        if description is None:
            return super().read_out_states(graph)
        with torch.no_grad():
            return [one.state for one in next(atom_features(self._with_weights(description), graph)) if one.state]

    @property
    def n_invariants(self) -> int:
        """Numbers that its energy steps read."""
        description = self.description()
        if description is None:
            return 0
        with torch.no_grad():
            vectors = self.step_weights().vectors
        return sum(vectors[step.weights].shape[1] for step in energy_steps(description))

    def atom_invariants(self, graph: Graph) -> Tensor:
        """The scalars of these steps."""
        description = self.description()
        if description is None:
            return super().atom_invariants(graph)
        with torch.no_grad():
            features = next(atom_features(self._with_weights(description), graph))
            return torch.cat([one.scalars for one in features], dim=1)

    def readout_features(self, graph: Graph, tangents: Sequence[Tensor]) -> Iterator[Tensor]:
        """Derivatives by the linear readouts and their tangents."""
        description, readouts = self.description(), self.linear_readouts()
        if description is None or not readouts:
            return super().readout_features(graph, tangents)
        with torch.enable_grad():
            steps = self._with_weights(description)
        return readout_features(steps, readouts, graph, tangents)

    def _with_weights(self, description: Description) -> TrainedSteps:
        return TrainedSteps(description, self.step_weights(), self.type_of_number, self.settings.cutoff, self._memory)


def _readouts(description: Description) -> list[EnergyStep]:
    return [step for step in energy_steps(description) if step.state]


def radial(hidden: Hidden, network: RadialNetwork, *, same_hidden: bool) -> Radial:
    """Radial weights of one last matrix for all kinds of edges.

    Args:
        hidden: see `Radial`.
        network: the same layers for training, and the last matrix.
        same_hidden: see `Radial`.
    """
    return Radial(hidden, network.last, same_hidden=same_hidden, network=network)
