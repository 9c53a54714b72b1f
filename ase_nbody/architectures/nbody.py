"""N-body networks: covariant gates stacked over a composition scheme (Kondor 2018, arXiv:1803.01588)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.base import Architecture, Gradients, Network, NetworkSettings, Work, types_of_numbers
from ase_nbody.architectures.nbody_forces import NBodyForces, serves
from ase_nbody.architectures.nbody_splines import NBodySplines
from ase_nbody.architectures.nbody_training import NBodyTraining
from ase_nbody.graph import Graph
from ase_nbody.kernels import Irrep, Irreps, natural_irreps
from ase_nbody.kernels.backends import of_device
from ase_nbody.nn.gates import LearnedAggregation, ManyBody, PairAggregation, StrictAggregation
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import EdgeFunctions, edge_functions
from ase_nbody.scheme import CompositionScheme, Level, LevelStates, fragments, neighbourhoods
from ase_nbody.timings import Timings

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


class NBodyNetwork(Network):
    """Element states, a gate per level, and the sum of all levels' energies at the root.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    type_of_number: Tensor

    def __init__(self, settings: NBodySettings, generator: torch.Generator) -> None:
        super().__init__()
        self.settings: NBodySettings = settings
        self.register_buffer("type_of_number", types_of_numbers(settings.elements), persistent=False)
        self.embedding = nn.Parameter(
            torch.randn(len(settings.elements), settings.channels, generator=generator, dtype=torch.float32)
        )
        self.gates = nn.ModuleList(Gate(settings, shape, generator) for shape in level_shapes(settings))
        self._forces = NBodyForces()
        self._splines = NBodySplines()
        self._training: NBodyTraining | None = None

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        scheme = self.scheme(graph)
        energies = graph.positions.new_zeros(graph.n_atoms)
        for level, (_, node_energies) in zip(scheme.levels, self._levels(graph, scheme), strict=True):
            energies = energies + _shared_by_atoms(node_energies, level)
        return energies

    def gradients(self, graph: Graph, timings: Timings) -> Gradients | None:
        """Energies and gradients of practical networks by compiled phases on the CPU, by radial tables on a GPU."""
        if not serves(self.settings):
            return None
        compiled = of_device(self.embedding)
        if compiled == "cpu":
            return self._forces(self, graph, timings)
        return self._splines(self, graph, timings) if compiled == "cuda" else None

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What each phase multiplies and touches."""
        if self.embedding.device.type != "cpu" or not serves(self.settings):
            return None
        return self._forces.work(self, graph)

    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        """Energies and gradients by passes written by hand, on the CPU and for practical networks."""
        if self.embedding.device.type != "cpu" or not serves(self.settings):
            return None
        if self._training is None:
            self._training = NBodyTraining(self)
        return self._training(self, graph)

    def scheme(self, graph: Graph) -> CompositionScheme:
        """The composition scheme of a graph."""
        if self.settings.scheme == "fragments":
            return fragments(graph)
        return neighbourhoods(graph, self.settings.levels)

    def states(self, graph: Graph) -> list[LevelStates]:
        """The state of every subsystem, from the atoms to the level below the root."""
        scheme = self.scheme(graph)
        with torch.no_grad():
            made = [self.leaves(self.one_hot_types(graph)), *(states for states, _ in self._levels(graph, scheme))]
        irreps = [SCALARS, *(shape.irreps_out for shape in level_shapes(self.settings))]
        positions = [scheme.atom_positions, *(level.positions for level in scheme.levels)]
        return [
            _level_states(scheme, number, *content)
            for number, content in enumerate(zip(positions, irreps, made, strict=True))
        ]

    def leaves(self, types: Tensor) -> Tensor:
        """States of the atoms, (N, 1, C), by their one-hot types."""
        return (types @ self.embedding).unsqueeze(1)

    def one_hot_types(self, graph: Graph) -> Tensor:
        """1 at the element of each atom, (N, T)."""
        types = functional.one_hot(self.type_of_number[graph.atomic_numbers], len(self.settings.elements))
        return types.to(graph.positions.dtype)

    def _levels(self, graph: Graph, scheme: CompositionScheme) -> list[tuple[Tensor, Tensor]]:
        types = self.one_hot_types(graph)
        states = self.leaves(types)
        results: list[tuple[Tensor, Tensor]] = []
        known: dict[int, EdgeFunctions] = {}
        for level, gate in zip(scheme.levels, self.gates, strict=True):
            assert isinstance(gate, Gate)
            parent_types = types if level.contains_itself else types.new_ones(level.n_nodes, 1)
            if id(level) not in known:
                known[id(level)] = _functions(gate, level, types, parent_types)
            states, energies = gate(states, level, known[id(level)], parent_types)
            results.append((states, energies))
            types = parent_types
        return results


def _functions(gate: Gate, level: Level, child_types: Tensor, parent_types: Tensor) -> EdgeFunctions:
    pairs = parent_types[level.children.receivers].unsqueeze(2) * child_types[level.children.senders].unsqueeze(1)
    return edge_functions(
        level.vectors,
        pairs.flatten(1),
        cutoff=gate.shape.cutoff,
        envelope_power=gate.envelope_power,
        max_degree=gate.max_degree,
        softening=gate.shape.softening,
    )


def _shared_by_atoms(node_energies: Tensor, level: Level) -> Tensor:
    """Energy of each node in equal shares to the atoms it carries; a node of one child has none: nothing interacts."""
    if level.contains_itself:
        return node_energies
    carried = torch.bincount(level.node_of_atom, minlength=level.n_nodes)
    children = level.children.receiver_offsets.diff()
    shares = torch.where(children > 1, node_energies / carried, 0.0)
    return shares[level.node_of_atom]


def _level_states(
    scheme: CompositionScheme, number: int, positions: Tensor, irreps: Irreps, states: Tensor
) -> LevelStates:
    parts = scheme.parts(number)
    atoms = tuple(np.sort(row) for row in np.split(parts.indices, parts.indptr[1:-1]))
    channels = states.shape[2]
    blocks = torch.split(states, [irrep.dimension for irrep in irreps], dim=1)
    flat = torch.cat([block.transpose(1, 2).flatten(1) for block in blocks], dim=1)  # e3nn: channel, then component
    text = "+".join(f"{channels}x{irrep}" for irrep in irreps)
    return LevelStates(atoms, positions.detach().cpu().numpy(), text, flat.cpu().numpy())


ARCHITECTURE = Architecture(
    name="nbody",
    source="Kondor 2018, N-body networks, arXiv:1803.01588",
    settings=NBodySettings,
    network=NBodyNetwork,
    presets={
        "small": {"channels": 32, "max_degree_edges": 2},
        "medium": {"channels": 48, "max_degree_states": 2, "radial_width": 64},
        "large": {"channels": 128, "max_degree_states": 2, "radial_width": 64},
    },
)
