"""What an N-body network is made of: settings, the gates of its levels, and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.algebra import Irrep, Irreps, natural_irreps
from ase_nbody.architectures.base import NetworkSettings, types_of_numbers
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.graph import Graph
from ase_nbody.nn.gates import LearnedAggregation, ManyBody, PairAggregation, StrictAggregation
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import EdgeFunctions
from ase_nbody.scheme import Level

SCALARS: Irreps = (Irrep(0, 1),)
VECTORS: Irreps = (Irrep(1, -1),)
_FIRST_ENERGIES = 0.03  # small, so that training begins with hardly any function that it has to unlearn
_FRAGMENT_SOFTENING = 1.0  # angstrom: smooths harmonics where a child sits on its parent's centroid


class NBodySettings(NetworkSettings):
    """Settings of an N-body network."""

    scheme: Literal["neighbourhoods", "fragments"] = Field(
        default="neighbourhoods", description="composition scheme: atoms within the cutoff, or atoms, groups, whole"
    )
    levels: int = Field(default=2, ge=1, description="levels of gates (neighbourhoods); fragments always has two")
    channels: int = Field(default=64, ge=1, description="channels of every irrep of a state")
    body_order: Literal[2, 3, 4] = Field(
        default=4, description="2: zeroth-order gates, 3: first-order gates (eq. 11), 4: one more product"
    )
    pairs: bool = Field(
        default=False,
        description="add the gate over pairs of children by their distance (eq. 12) from the second level on; between "
        "the scalar states of atoms its sum vanishes",
    )
    max_degree_edges: int = Field(
        default=3, ge=1, le=4, description="highest degree of the harmonics of relative vectors"
    )
    max_degree_states: int = Field(default=1, ge=0, le=4, description="highest degree of the states between levels")
    max_degree_products: int = Field(
        default=2, ge=0, le=4, description="highest degree of A x A where it is multiplied again"
    )
    radial: Literal["learned", "strict"] = Field(
        default="learned", description="learned radial functions, or the powers r^-s times the envelope"
    )
    powers: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1, description="exponents s of strict gates")
    bessel_functions: int = Field(default=5, ge=1, description="radial basis functions of learned gates")
    radial_width: int = Field(default=32, ge=1, description="width of the hidden layers of learned radial functions")
    envelope_power: int = Field(
        default=1, ge=1, description="power p of the polynomial cutoff envelope; at 1 it is (1 - r / cutoff)^3"
    )
    fragment_cutoff: float = Field(
        default=12.0, gt=0, description="largest distance from a child to its parent's centroid in fragments, angstrom"
    )


@dataclass(frozen=True)
class LevelShape:
    """What distinguishes the gate of one level: irreps in and out, and the numbers of node types."""

    irreps: Irreps
    irreps_out: Irreps
    child_types: int
    parent_types: int
    cutoff: float
    softening: float


class Gate(nn.Module):
    """One level: the aggregation rule Phi of definition 3 and the readout of its invariant fragments.

    Args:
        settings: of the network.
        shape: of this level.
        generator: source of the initial weights.
    """

    def __init__(self, settings: NBodySettings, shape: LevelShape, generator: torch.Generator) -> None:
        super().__init__()
        channels = settings.channels
        self.shape = shape
        self.average_neighbours = settings.average_neighbours
        self.max_degree = settings.max_degree_edges if settings.radial == "learned" else 1
        self.envelope_power = settings.envelope_power
        # 1. zeroth-order sums over the children
        factor_irreps = natural_irreps(settings.max_degree_edges)
        self.aggregation = _aggregation(settings, shape, factor_irreps, generator)
        factor_irreps = self.aggregation.table.output_irreps
        # 2. products of these sums
        self.many_body = ManyBody(
            self.aggregation.table,
            shape.irreps_out,
            channels,
            settings.body_order,
            factor_irreps,
            natural_irreps(settings.max_degree_products),
            generator,
        )
        # 3. pairs of children by their mutual distance
        self.pairs = None
        if settings.pairs and shape.irreps != SCALARS:  # between scalars the sum over pairs vanishes
            self.pairs = PairAggregation(shape.irreps, VECTORS, shape.irreps_out, settings.powers)
            self.mix_pairs = Mixing.of_product(self.pairs.table, channels, shape.irreps_out, channels, generator)
        # 4. the node itself, one level below
        self.own = Mixing(shape.irreps, (1,) * len(shape.irreps), channels, shape.irreps_out, channels, generator)
        self.own_scale = nn.Parameter(torch.ones(shape.parent_types, channels, dtype=torch.float32))
        # 5. readout
        readout = torch.randn(shape.parent_types, channels, generator=generator, dtype=torch.float32) / channels**0.5
        self.readout = nn.Parameter(_FIRST_ENERGIES * readout)

    def forward(
        self, states: Tensor, level: Level, edges: EdgeFunctions, parent_types: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States of this level and the energy of each of its nodes.

        Args:
            states: of the level below, (children, M, C).
            level: the composition scheme's level.
            edges: functions of its relative vectors.
            parent_types: one-hot types of its nodes, (n_nodes, T).

        Returns:
            (n_nodes, M', C) and (n_nodes,). Nodes without children have energy zero.
        """
        scale = self.average_neighbours**-0.5
        made = self.many_body(self.aggregation(states, edges, level.children) * scale)  # 1, 2
        if self.pairs is not None:
            fragments_of_pairs = self.pairs(states, level.vectors, edges.envelope, level.children)
            made = made + self.mix_pairs(fragments_of_pairs) * scale**2  # 3
        return self.after_sums(made, states, parent_types, contains_itself=level.contains_itself)

    def after_sums(
        self, made: Tensor, states: Tensor, parent_types: Tensor, *, contains_itself: bool
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, from what comes from the children, (n_nodes, M', C)."""
        energies = (made[:, 0] * (parent_types @ self.readout)).sum(dim=1)  # 5
        if contains_itself:
            made = made + self.own(states * (parent_types @ self.own_scale).unsqueeze(1))  # 4
        return made, energies


def _aggregation(
    settings: NBodySettings, shape: LevelShape, factor_irreps: Irreps, generator: torch.Generator
) -> StrictAggregation | LearnedAggregation:
    if settings.radial == "strict":
        return StrictAggregation(shape.irreps, VECTORS, factor_irreps, settings.powers)
    return LearnedAggregation(
        shape.irreps,
        natural_irreps(settings.max_degree_edges),
        factor_irreps,
        settings.channels,
        generator,
        n_types=shape.child_types * shape.parent_types,
        n_bessel=settings.bessel_functions,
        hidden=settings.radial_width,
        cutoff=shape.cutoff,
    )


def level_shapes(settings: NBodySettings) -> list[LevelShape]:
    """Irreps, node types and cutoff of each level."""
    states = natural_irreps(settings.max_degree_states)
    elements = len(settings.elements)
    if settings.scheme == "fragments":
        cutoff, softening = settings.fragment_cutoff, _FRAGMENT_SOFTENING
        return [
            LevelShape(SCALARS, states, elements, 1, cutoff, softening),
            LevelShape(states, SCALARS, 1, 1, cutoff, softening),
        ]
    last = settings.levels - 1
    return [
        LevelShape(
            SCALARS if n == 0 else states, SCALARS if n == last else states, elements, elements, settings.cutoff, 0.0
        )
        for n in range(settings.levels)
    ]


class GatedNetwork(SteppedNetwork):
    """Element states and a gate per level, which every way of evaluating the network reads.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    def __init__(self, settings: NBodySettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: NBodySettings = settings
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        self.embedding = nn.Parameter(
            torch.randn(len(settings.elements), settings.channels, generator=generator, dtype=torch.float32)
        )
        self.gates = nn.ModuleList(Gate(settings, shape, generator) for shape in level_shapes(settings))

    def leaves(self, types: Tensor) -> Tensor:
        """States of the atoms, (N, 1, C), by their one-hot types."""
        return (types @ self.embedding).unsqueeze(1)

    def one_hot_types(self, graph: Graph) -> Tensor:
        """1 at the element of each atom, (N, T)."""
        types = functional.one_hot(self.type_of_number[graph.atomic_numbers], len(self.settings.elements))
        return types.to(graph.positions.dtype)
