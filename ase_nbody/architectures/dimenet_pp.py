"""DimeNet++: messages that see angles (Gasteiger et al. 2020, arXiv:2003.03123 and arXiv:2011.14115)."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from ase_nbody.architectures.base import Architecture, Network, NetworkSettings, types_of_numbers
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.math.radial import polynomial_envelope
from ase_nbody.math.spherical_bessel import legendre_polynomials, spherical_bessel_basis
from ase_nbody.nn.active_edges import ActiveEdges, active_edges, triplets
from ase_nbody.nn.directional import (
    DirectionalEdges,
    DirectionalInteraction,
    DirectionalReadout,
    DirectionalShape,
    MessageEmbedding,
)


class DimeNetPPSettings(NetworkSettings):
    """Settings of a DimeNet++."""

    features: int = Field(default=128, ge=1, description="numbers in the message of a directed edge")
    blocks: int = Field(default=4, ge=1, description="interaction blocks")
    triplet_width: int = Field(default=64, ge=1, description="numbers in a message while it is weighted by angles")
    basis_width: int = Field(default=8, ge=1, description="numbers a basis goes through before it weights messages")
    output_width: int = Field(default=256, ge=1, description="numbers in the readout of an atom")
    radial_functions: int = Field(default=6, ge=1, description="Bessel functions of the distance, of each degree")
    angular_functions: int = Field(default=7, ge=1, description="degrees of the functions of the angle")
    layers_before: int = Field(default=1, ge=0, description="residual layers before a block's input is added")
    layers_after: int = Field(default=2, ge=0, description="residual layers after it")
    output_layers: int = Field(default=3, ge=0, description="layers of the readout that follows each block")
    envelope_power: int = Field(default=6, ge=3, description="power of the polynomial cutoff envelope")


class DimeNetPP(Network):
    """Embedded pairs, interaction blocks on directed edges, and a readout before the first and after each.

    Angles enter by their cosine only, so that derivatives of any order exist where three atoms are on a line.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    type_of_number: Tensor

    def __init__(self, settings: DimeNetPPSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: DimeNetPPSettings = settings
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        shape = DirectionalShape(**{name: getattr(settings, name) for name in DirectionalShape.__dataclass_fields__})
        frequencies = torch.arange(1, settings.radial_functions + 1, dtype=torch.float32)
        self.frequencies = nn.Parameter(frequencies)  # times pi
        self.embedding = MessageEmbedding(len(settings.elements), shape, generator)
        self.interactions = nn.ModuleList(DirectionalInteraction(shape, generator) for _ in range(settings.blocks))
        self.readouts = nn.ModuleList(DirectionalReadout(shape, generator) for _ in range(settings.blocks + 1))

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        active = active_edges(graph, self.settings.cutoff)
        edges = self._functions(active)
        messages = self.embedding(self.type_of_number[graph.atomic_numbers], edges)
        first, *others = self.readouts
        energies: Tensor = first(messages, edges)
        for block, readout in zip(self.interactions, others, strict=True):
            messages = block(messages, edges)
            energies = energies + readout(messages, edges)
        return torch.where(active.has_neighbours, energies, 0.0)  # exactly, not to rounding

    def _functions(self, active: ActiveEdges) -> DirectionalEdges:
        """Bases of arXiv:2003.03123, eqs. 6 and 7; as in the authors' program, both are divided by r / cutoff."""
        chosen = self.settings
        fractions = active.distances / chosen.cutoff  # (E,)
        envelope = polynomial_envelope(active.distances, chosen.cutoff, chosen.envelope_power) / fractions
        radial = torch.sin(fractions.unsqueeze(1) * (self.frequencies * math.pi)) * envelope.unsqueeze(1)
        of_distance = spherical_bessel_basis(fractions, chosen.angular_functions, chosen.radial_functions)
        of_distance = of_distance * envelope[:, None, None]
        angles = triplets(active)
        of_angle = _zonal_harmonics(active.directions, angles, chosen.angular_functions)  # (T, A)
        angular = (of_distance[angles.senders] * of_angle.unsqueeze(2)).flatten(1)
        return DirectionalEdges(active.pairs, angles, radial, angular)


def _zonal_harmonics(directions: Tensor, angles: EdgeList, n_degrees: int) -> Tensor:
    """Y_l0 of the angle between k -> j and j -> i, zero where the three are on a line in this order, (T, n_degrees)."""
    cosines = (directions[angles.senders] * directions[angles.receivers]).sum(dim=1)
    norms = [((2 * degree + 1) / (4 * math.pi)) ** 0.5 for degree in range(n_degrees)]
    return legendre_polynomials(cosines, n_degrees) * cosines.new_tensor(norms)


ARCHITECTURE = Architecture(
    name="dimenet_pp",
    source="Gasteiger et al. 2020, Fast and uncertainty-aware directional message passing, arXiv:2011.14115",
    settings=DimeNetPPSettings,
    network=DimeNetPP,
    presets={
        "small": {"features": 64, "blocks": 3, "triplet_width": 32, "output_width": 128},
        "medium": {},  # the authors', for QM9
        "large": {"features": 256, "output_width": 512},
    },
)
