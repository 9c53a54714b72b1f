"""SchNet: continuous-filter convolutions over distances (Schütt et al. 2017, arXiv:1706.08566).

As in SchNetPack and torch_geometric, the last layer that makes filters is linear; in the authors' first program a
nonlinearity follows it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.algebra import Irrep, product_table
from ase_nbody.architectures.base import Architecture, Network, NetworkSettings, types_of_numbers
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.kernels import contract
from ase_nbody.math.radial import cosine_envelope, gaussian_basis, polynomial_envelope
from ase_nbody.nn.active_edges import ActiveEdges, active_edges
from ase_nbody.nn.dense import Dense

_SCALARS = (Irrep(0, 1),)


class SchNetSettings(NetworkSettings):
    """Settings of a SchNet."""

    features: int = Field(default=128, ge=2, description="numbers that describe an atom")
    filters: int = Field(default=128, ge=1, description="channels of the continuous filters")
    interactions: int = Field(default=6, ge=1, description="interaction blocks")
    gaussians: int = Field(
        default=50, ge=2, description="Gaussians of the distance, from 0 to the cutoff, as wide as they are apart"
    )
    envelope: Literal["polynomial", "cosine"] = Field(
        default="polynomial",
        description="what takes filters to zero at the cutoff: DimeNet's polynomial, or the cosine of other SchNets, "
        "through which forces are continuous and their slope is not",
    )
    envelope_power: int = Field(default=6, ge=3, description="power of the polynomial cutoff envelope")


def shifted_softplus(inputs: Tensor) -> Tensor:
    """ln(exp(x) / 2 + 1 / 2), SchNet's nonlinearity."""
    return functional.softplus(inputs) - math.log(2.0)


class SchNetInteraction(nn.Module):
    """One interaction block: what an atom's features change by.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    def __init__(self, settings: SchNetSettings, generator: torch.Generator) -> None:
        super().__init__()
        features, filters = settings.features, settings.filters
        self.average_neighbours = settings.average_neighbours
        self.table = product_table(_SCALARS, _SCALARS, _SCALARS)
        # 1. the filters
        self.filter1 = Dense(settings.gaussians, filters, generator)
        self.filter2 = Dense(filters, filters, generator)
        # 2. convolution
        self.into_filters = Dense(features, filters, generator, bias=False)
        # 3. atom-wise layers
        self.atom1 = Dense(filters, features, generator)
        self.atom2 = Dense(features, features, generator)

    def forward(self, features: Tensor, gaussians: Tensor, envelope: Tensor, pairs: EdgeList) -> Tensor:
        """Change of the features.

        Args:
            features: (N, F).
            gaussians: of the distances, (E, G).
            envelope: of the distances, (E,).
            pairs: who is whose neighbour.

        Returns:
            (N, F).
        """
        filters = self.filter2(shifted_softplus(self.filter1(gaussians)))  # 1, (E, filters)
        states = self.into_filters(features).unsqueeze(1)
        summed = contract(states, envelope.unsqueeze(1), filters.unsqueeze(1), pairs, self.table)  # 2
        return self.after_sum(summed.squeeze(1) * self.average_neighbours**-0.5)

    def after_sum(self, summed: Tensor) -> Tensor:
        """The layers that act on an atom after the sum over its neighbours, (N, filters) to (N, F)."""
        return self.atom2(shifted_softplus(self.atom1(summed)))  # type: ignore[no-any-return]  # 3

    def without_neighbours(self) -> Tensor:
        """The change for an atom alone, (1, F)."""
        return self.after_sum(self.atom1.weight.new_zeros(1, self.atom1.weight.shape[1]))


class SchNet(Network):
    """Embedded elements, interaction blocks, and a readout of each atom.

    The readout of an atom alone, which depends on its element only, is subtracted: SchNet has it in the energy.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    type_of_number: Tensor

    def __init__(self, settings: SchNetSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: SchNetSettings = settings
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        features = settings.features
        self.embedding = nn.Parameter(
            torch.randn(len(settings.elements), features, generator=generator, dtype=torch.float32)
        )
        self.interactions = nn.ModuleList(SchNetInteraction(settings, generator) for _ in range(settings.interactions))
        self.readout1 = Dense(features, features // 2, generator)
        self.readout2 = Dense(features // 2, 1, generator)

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        edges = active_edges(graph, self.settings.cutoff)
        types = self.type_of_number[graph.atomic_numbers]  # (N,)
        gaussians = gaussian_basis(edges.distances, self.settings.cutoff, self.settings.gaussians)
        envelope = self._envelope(edges)
        features = self.embedding[types]  # (N, F)
        alone: Tensor = self.embedding  # (elements, F)
        for block in self.interactions:
            assert isinstance(block, SchNetInteraction)
            features = features + block(features, gaussians, envelope, edges.pairs)
            alone = alone + block.without_neighbours()
        energies = self._readout(features) - self._readout(alone)[types]
        return torch.where(edges.has_neighbours, energies, 0.0)  # exactly, not to rounding

    def _envelope(self, edges: ActiveEdges) -> Tensor:
        if self.settings.envelope == "cosine":
            return cosine_envelope(edges.distances, self.settings.cutoff)
        return polynomial_envelope(edges.distances, self.settings.cutoff, self.settings.envelope_power)

    def _readout(self, features: Tensor) -> Tensor:
        return self.readout2(shifted_softplus(self.readout1(features))).squeeze(1)  # type: ignore[no-any-return]


ARCHITECTURE = Architecture(
    name="schnet",
    source="Schütt et al. 2017, SchNet: a continuous-filter convolutional neural network, arXiv:1706.08566",
    settings=SchNetSettings,
    network=SchNet,
    presets={
        "small": {"features": 64, "filters": 64, "interactions": 3},
        "medium": {},  # the sizes of torch_geometric
        "large": {"features": 256, "filters": 256},
    },
)
