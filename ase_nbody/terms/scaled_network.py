"""A network times the energy scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.architectures.base import Gradients, Network
from ase_nbody.graph import Graph
from ase_nbody.terms.base import EnergyTerm
from ase_nbody.timings import Timings


@dataclass(frozen=True)
class ScaledNetwork(EnergyTerm):
    """The energies of a network in eV.

    Attributes:
        network: atomic energies, zero for an atom alone.
        scale: eV per unit of the network.
        parameters: used in place of the network's own, by name; None: its own.
        hands_out: `gradients` have features.
    """

    network: Network
    scale: float
    parameters: Mapping[str, Tensor] | None = None
    hands_out: bool = False

    @property
    @override
    def cutoff(self) -> float:
        return self.network.settings.cutoff

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        energies: Tensor
        if self.parameters is None:
            energies = self.network(graph)
        else:
            energies = torch.func.functional_call(self.network, dict(self.parameters), (graph,))
        return energies.double() * self.scale

    @override
    def gradients(self, graph: Graph, timings: Timings) -> Gradients | None:
        if self.parameters is not None:
            return self._with_readouts(self.parameters, graph, timings)
        return self._in_ev(self.network.gradients(graph, timings, features=self.hands_out))

    @override
    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        return None if self.parameters is not None else self._in_ev(self.network.trainable_gradients(graph))

    @override
    def with_parameters(self, parameters: Mapping[str, Tensor]) -> ScaledNetwork:
        return replace(self, parameters=parameters)

    @override
    def with_features(self) -> ScaledNetwork:
        return replace(self, hands_out=True)

    def _with_readouts(self, parameters: Mapping[str, Tensor], graph: Graph, timings: Timings) -> Gradients | None:
        """Energies and gradients where the parameters are the linear readouts, all of them and nothing else."""
        if not parameters or parameters.keys() != self.network.named_readouts().keys():
            return None
        return self._in_ev(self.network.gradients_with_readouts(graph, parameters, timings))

    def _in_ev(self, gradients: Gradients | None) -> Gradients | None:
        if gradients is None:
            return None
        return Gradients(
            energies=gradients.energies.double() * self.scale,
            positions=gradients.positions * self.scale,
            strain=gradients.strain * self.scale,
            vectors=None if gradients.vectors is None else gradients.vectors * self.scale,
            features=gradients.features,
        )
