"""What a NequIP network is made of: settings, sizes of its layers, and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field
from torch import Tensor, nn

from ase_nbody.algebra import Irrep, Irreps, natural_irreps
from ase_nbody.architectures.base import NetworkSettings
from ase_nbody.nn.nequip_layers import SCALARS, InteractionShape, NequipInteraction
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


@dataclass(frozen=True)
class NequipParts:
    """The modules and tensors of a network.

    Attributes:
        embedding: of each element, (T, C0).
        layers: in their order.
        readout: of the scalars of the last layer.
        neighbour_scales: 1 / root of the mean number of neighbours, by the sender's element, (T,).
        energy_scales: by element, (T,).
    """

    embedding: nn.Parameter
    layers: Sequence[NequipInteraction]
    readout: Perceptron
    neighbour_scales: Tensor
    energy_scales: Tensor
