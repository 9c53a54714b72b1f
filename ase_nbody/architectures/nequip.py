"""NequIP: equivariant message passing with gated nonlinearities (Batzner et al. 2022, arXiv:2101.03164).

Equations and normalisations are those of the package `nequip` 0.19, so that its weights can be taken over
(`nbody import nequip`). As there, the first layer adds nothing of the atom's own element to the messages, and nothing
has a bias: an atom without neighbours has zero states after it, and therefore energy zero.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.base import Architecture, Network, NetworkSettings, types_of_numbers
from ase_nbody.graph import Graph
from ase_nbody.kernels import Irrep, Irreps, natural_irreps
from ase_nbody.math import bessel_basis, polynomial_envelope, spherical_harmonics
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.nn.element_mixing import element_groups
from ase_nbody.nn.nequip_layers import SCALARS, InteractionShape, NequipAtoms, NequipEdges, NequipInteraction
from ase_nbody.nn.perceptron import Activation, Perceptron


class NequipSettings(NetworkSettings):
    """Settings of a NequIP network."""

    layers: int = Field(default=4, ge=1, description="interaction layers")
    max_degree: int = Field(default=2, ge=0, le=4, description="highest degree of harmonics and states; 0: invariant")
    parity: bool = Field(default=True, description="states of both parities; else only 0e, 1o, 2e, ...")
    channels: int = Field(default=32, ge=1, description="channels of every irrep of a state")
    embedding_channels: int | None = Field(
        default=None, ge=1, description="channels of the elements' embedding; as many as of the states if not given"
    )
    radial_depth: int = Field(default=1, ge=0, description="hidden layers of the radial networks")
    radial_width: int = Field(default=128, ge=1, description="width of these layers")
    bessel_functions: int = Field(default=8, ge=1, description="radial basis functions")
    envelope_power: int = Field(default=6, ge=3, description="power of the polynomial cutoff envelope")
    readout_depth: int = Field(default=0, ge=0, description="hidden layers of the readout; 0: linear")
    readout_width: int | None = Field(
        default=None, ge=1, description="width of these layers; as many as channels if not given"
    )
    readout_activation: Activation = Field(default="silu", description="nonlinearity of the readout")


def state_irreps(settings: NequipSettings) -> list[Irreps]:
    """Irreps of the states before the first layer and after each: those wanted that the products before can make."""
    natural = natural_irreps(settings.max_degree)
    both = tuple(Irrep(degree, parity) for degree in range(settings.max_degree + 1) for parity in (1, -1))
    found = [SCALARS]
    for number in range(settings.layers):
        wanted = SCALARS if number == settings.layers - 1 else both if settings.parity else natural
        made = {product for irrep in found[-1] for edge in natural for product in irrep.products(edge)}
        found.append(tuple(irrep for irrep in wanted if irrep in made))
    return found


def interaction_shapes(settings: NequipSettings) -> list[InteractionShape]:
    """Sizes of all layers."""
    irreps = state_irreps(settings)
    embedding = settings.embedding_channels or settings.channels
    return [
        InteractionShape(
            irreps=irreps[number],
            channels=embedding if number == 0 else settings.channels,
            irreps_out=irreps[number + 1],
            channels_out=settings.channels,
            embedding_channels=embedding,
            max_degree=settings.max_degree,
            radial_widths=(settings.bessel_functions, *(settings.radial_width,) * settings.radial_depth),
            self_connection=number > 0,
        )
        for number in range(settings.layers)
    ]


class NequipNetwork(Network):
    """Element embeddings, interaction layers, and a readout of the last layer's scalars.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    type_of_number: Tensor
    neighbour_scales: Tensor
    energy_scales: Tensor

    def __init__(self, settings: NequipSettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: NequipSettings = settings
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
