"""Settings of a MACE network, and the shapes of states that they give."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from ase_nbody.algebra import Irrep, ProductTable, natural_irreps, product_table
from ase_nbody.algebra.polynomials import PolynomialTable
from ase_nbody.architectures.base import NetworkSettings
from ase_nbody.steps import StateIrreps, state_irreps
from ase_nbody.steps.state_irreps import parse_state_irreps

SCALAR = Irrep(0, 1)

InteractionName = Literal["plain", "residual", "density", "density_residual", "nonlinear"]


class MaceSettings(NetworkSettings):
    """Settings of a MACE network."""

    average_neighbours: float = Field(
        default=12.0, gt=0, description="sums over neighbours are divided by it, where not by their density"
    )
    states: str = Field(
        default="64x0e", description="irreps of the states between layers, of equal channels, 0e first: 128x0e+128x1o"
    )
    edge_states: tuple[str, ...] = Field(
        default=(), description="irreps of neighbours' states in the messages of each layer; (): those of the states"
    )
    layers: int = Field(default=2, ge=1, description="layers of messages")
    max_degree: int = Field(default=3, ge=0, le=3, description="highest degree of the harmonics")
    correlation: int = Field(default=3, ge=1, le=3, description="most factors of the symmetric contraction")
    first_interaction: InteractionName = Field(default="residual", description="interaction of the first layer")
    interaction: InteractionName = Field(
        default="residual",
        description="of the others: plain (messages of each element mixed), residual (the state is added), with "
        "density (messages over the density of neighbours), or nonlinear (residual, with gates)",
    )
    contraction_by_element: bool = Field(
        default=True, description="symmetric contractions have weights of each element; else one set for all"
    )
    bessel_functions: int = Field(default=8, ge=1, description="radial basis functions")
    radial_widths: tuple[int, ...] = Field(default=(64, 64, 64), description="widths of the radial networks")
    envelope_power: int = Field(default=5, ge=3, description="power of the polynomial envelope")
    envelope_of_weights: bool = Field(
        default=False, description="the envelope multiplies radial weights; else the radial basis"
    )
    distance_transform: Literal["none", "agnesi"] = Field(
        default="none", description="distances as the radial basis sees them: themselves, or Agnesi's function of them"
    )
    readout_width: int = Field(default=16, ge=1, description="width of the last readout")
    readout_depth: Literal[1, 2] = Field(
        default=1, description="hidden layers of the last readout; with 2 it has constants too"
    )
    readout_of_all_layers: bool = Field(default=True, description="all layers have a readout; else the last only")
    repulsion: bool = Field(
        default=False, description="nuclear repulsion between atoms closer than the sum of their covalent radii"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.edge_states and len(self.edge_states) != self.layers:
            raise ValueError(f"edge_states must be one for each of {self.layers} layers, not {self.edge_states}")
        natural = natural_irreps(self.max_degree)
        for text in (self.states, *self.edge_states):
            blocks = parse_state_irreps(text)
            irreps = tuple(block.irrep for block in blocks)
            if irreps != natural[: len(irreps)] or len({block.columns for block in blocks}) > 1:
                raise ValueError(
                    "states must be 0e, 1o, 2e, ... up to max_degree with equal channels, as '128x0e+128x1o', not "
                    f"{text!r}"
                )
        for name in (self.first_interaction, self.interaction):
            if name == "nonlinear" and not self.envelope_of_weights:
                raise ValueError(
                    "radial networks of nonlinear interactions have constants, so the envelope must multiply their "
                    "weights: set envelope_of_weights"
                )
        return self

    @property
    def by_pair(self) -> bool:
        """Whether radial functions depend on both elements of an edge, and not on the sender's only."""
        return self.distance_transform != "none" or "nonlinear" in (self.first_interaction, self.interaction)

    def interaction_of(self, number: int) -> InteractionName:
        """The interaction of a layer."""
        return self.interaction if number else self.first_interaction


class LayerShapes(NamedTuple):
    """Shapes of the states of one layer, and the tables that lead from one to the next.

    Attributes:
        before: states below.
        senders: of neighbours in messages.
        messages: sums over neighbours, all paths.
        features: factors of the symmetric contraction.
        gates: of nonlinear interactions; none in others.
        after: states that the layer makes.
        product: of neighbours' states and harmonics.
        polynomials: symmetric contraction.
    """

    before: StateIrreps
    senders: StateIrreps
    messages: StateIrreps
    features: StateIrreps
    gates: StateIrreps
    after: StateIrreps
    product: ProductTable
    polynomials: PolynomialTable

    @property
    def edge_channels(self) -> int:
        """Channels of messages."""
        return self.senders[0].columns


def layer_shapes(settings: MaceSettings, number: int) -> LayerShapes:
    """Shapes of a layer; the first one's states below, and the last one's above, are invariant."""
    states = parse_state_irreps(settings.states)
    channels, natural = states[0].columns, natural_irreps(settings.max_degree)
    before = states if number else states[:1]
    after = states if number < settings.layers - 1 else states[:1]
    senders = parse_state_irreps(settings.edge_states[number]) if settings.edge_states else before
    product = product_table(tuple(block.irrep for block in senders), natural, natural)
    is_gated = settings.interaction_of(number) == "nonlinear" and len(natural) > 1
    return LayerShapes(
        before=before,
        senders=senders,
        messages=state_irreps(product.output_irreps, senders[0].columns, product.output_multiplicities),
        features=state_irreps(natural, channels),
        gates=state_irreps((SCALAR,), channels, (len(natural) - 1,)) if is_gated else (),
        after=after,
        product=product,
        polynomials=PolynomialTable(natural, tuple(block.irrep for block in after), settings.correlation),
    )
