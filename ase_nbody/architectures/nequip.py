"""NequIP: equivariant message passing with gated nonlinearities (Batzner et al. 2022, arXiv:2101.03164).

Equations and normalisations are those of the package `nequip` 0.19, so that its weights can be taken over
(`nbody import nequip`). As there, the first layer adds nothing of the atom's own element to the messages, and nothing
has a bias: an atom without neighbours has zero states after it, and therefore energy zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.base import Architecture, Gradients, Work, types_of_numbers
from ase_nbody.architectures.evaluation import CompiledEvaluation
from ase_nbody.architectures.nequip_settings import NequipParts, NequipSettings, interaction_shapes
from ase_nbody.architectures.nequip_steps import describe, has_steps, weights_of_steps
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.graph import Graph
from ase_nbody.math import bessel_basis, polynomial_envelope, spherical_harmonics
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.nn.element_mixing import element_groups
from ase_nbody.nn.nequip_layers import NequipAtoms, NequipEdges, NequipInteraction
from ase_nbody.nn.perceptron import Perceptron
from ase_nbody.steps import Description, StepWeights
from ase_nbody.timings import Timings


class NequipNetwork(SteppedNetwork):
    """Element embeddings, interaction layers, and a readout of the last layer's scalars.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    neighbour_scales: Tensor
    energy_scales: Tensor

    def __init__(self, settings: NequipSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: NequipSettings = settings
        self._evaluation = CompiledEvaluation()
        elements = len(settings.elements)
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        self.register_buffer(
            "neighbour_scales", torch.full((elements,), settings.average_neighbours**-0.5, dtype=torch.float32)
        )
        self.register_buffer("energy_scales", torch.ones(elements, dtype=torch.float32))
        shapes = interaction_shapes(settings)
        self.embedding = nn.Parameter(
            torch.randn(elements, shapes[0].embedding_channels, generator=generator, dtype=torch.float32)
        )
        self.layers = nn.ModuleList(NequipInteraction(shape, generator) for shape in shapes)
        hidden = (settings.readout_width or settings.channels,) * settings.readout_depth
        self.readout = Perceptron((settings.channels, *hidden, 1), settings.readout_activation, generator)

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        types = self.type_of_number[graph.atomic_numbers]  # (N,)
        atoms = NequipAtoms(
            embedding=self.embedding,
            groups=element_groups(types, len(self.settings.elements)),
            scales=self.neighbour_scales[types],
        )
        edges = self._edges(graph)
        one_hot = functional.one_hot(types, len(self.settings.elements)).to(self.embedding.dtype)
        states = (one_hot @ self.embedding).unsqueeze(1)  # (N, 1, C0)
        for layer in self.layers:
            states = layer(states, edges, atoms)
        energies: Tensor = self.readout(states[:, 0])[:, 0]
        return energies * self.energy_scales[types]

    def description(self) -> Description | None:
        """Its steps; None for readouts with gelu between their layers, which are evaluated by autograd."""
        return describe(self.settings, self._parts()) if has_steps(self.settings) else None

    def step_weights(self, elements: Iterable[int] | None = None) -> StepWeights:
        """Weights of these steps."""
        return weights_of_steps(self.settings, self._parts())

    def _parts(self) -> NequipParts:
        layers = [cast("NequipInteraction", layer) for layer in self.layers]
        return NequipParts(self.embedding, layers, self.readout, self.neighbour_scales, self.energy_scales)

    def gradients(self, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients | None:
        """Energies and gradients by compiled phases on the CPU."""
        return self._evaluation(self, graph, timings, features=features) if self._is_compiled() else None

    def gradients_with_readouts(
        self, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients | None:
        """The same phases with other readouts."""
        if not (self._is_compiled()):
            return None
        return self._evaluation.with_readouts(self, graph, readouts, timings)

    def linear_readouts(self) -> list[nn.Parameter]:
        """The readout, where it has no hidden layers."""
        return list(self.readout.weights) if self.settings.readout_depth == 0 else []

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What each phase multiplies and touches."""
        return self._evaluation.work(self, graph) if self._is_compiled() else None

    def _is_compiled(self) -> bool:
        return self.embedding.device.type == "cpu" and has_steps(self.settings)

    def _edges(self, graph: Graph) -> NequipEdges:
        settings = self.settings
        active = active_edges(graph, settings.cutoff)
        basis = (
            bessel_basis(active.distances, settings.cutoff, settings.bessel_functions) * (2 / settings.cutoff) ** 0.5
        )
        envelope = polynomial_envelope(active.distances, settings.cutoff, settings.envelope_power)
        return NequipEdges(
            pairs=active.pairs,
            harmonics=spherical_harmonics(active.directions, settings.max_degree),
            basis=basis * envelope.unsqueeze(1),
        )


ARCHITECTURE = Architecture(
    name="nequip",
    source="Batzner et al. 2022, E(3)-equivariant graph neural networks, arXiv:2101.03164",
    settings=NequipSettings,
    network=NequipNetwork,
    presets={
        "small": {"layers": 3, "max_degree": 1},
        "medium": {"layers": 4, "max_degree": 2},
        "large": {"layers": 5, "max_degree": 3, "channels": 64},
    },
)
