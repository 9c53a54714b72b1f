"""N-body networks: covariant gates stacked over a composition scheme (Kondor 2018, arXiv:1803.01588)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ase_nbody.algebra import Irreps
from ase_nbody.architectures.base import Architecture, Gradients, Work
from ase_nbody.architectures.evaluation import CompiledEvaluation
from ase_nbody.architectures.nbody_gates import SCALARS, Gate, GatedNetwork, NBodySettings, level_shapes
from ase_nbody.architectures.nbody_splines import NBodySplines
from ase_nbody.architectures.nbody_steps import describe, weights_of_steps
from ase_nbody.graph import Graph
from ase_nbody.kernels.backends import of_device
from ase_nbody.nn.radial import EdgeFunctions, edge_functions
from ase_nbody.scheme import CompositionScheme, Level, LevelStates, fragments, neighbourhoods
from ase_nbody.steps import Description, StepWeights
from ase_nbody.timings import Timings


class NBodyNetwork(GatedNetwork):
    """Element states, a gate per level, and the sum of all levels' energies at the root.

    Args:
        settings: of the network.
        generator: source of the initial weights.
    """

    def __init__(self, settings: NBodySettings, generator: torch.Generator) -> None:
        super().__init__(settings, generator)
        self._forces = CompiledEvaluation()
        self._splines = NBodySplines()
        self._described: Description | None = None

    def forward(self, graph: Graph) -> Tensor:
        """Atomic energies, (N,)."""
        scheme = self.scheme(graph)
        energies = graph.positions.new_zeros(graph.n_atoms)
        for level, (_, node_energies) in zip(scheme.levels, self._levels(graph, scheme), strict=True):
            energies = energies + _shared_by_atoms(node_energies, level)
        return energies

    def description(self) -> Description | None:
        """Steps of practical networks; strict ones, fragments and eq. 12 are evaluated by autograd."""
        if self._described is None and self._is_practical():
            self._described = describe(self)
        return self._described

    def step_weights(self, elements: Iterable[int] | None = None) -> StepWeights:
        """Weights of these steps."""
        return weights_of_steps(self)

    def _is_practical(self) -> bool:
        settings = self.settings
        return settings.scheme == "neighbourhoods" and settings.radial == "learned" and not settings.pairs

    def gradients(self, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients | None:
        """Energies and gradients of practical networks: compiled phases on the CPU, no features but tables on a GPU."""
        if not self._is_practical():
            return None
        compiled = of_device(self.embedding)
        if compiled == "cpu":
            return self._forces(self, graph, timings, features=features)
        return self._splines(self, graph, timings) if compiled == "cuda" else None

    def gradients_with_readouts(
        self, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients | None:
        """The same phases with other readouts."""
        if not (self.embedding.device.type == "cpu" and self._is_practical()):
            return None
        return self._forces.with_readouts(self, graph, readouts, timings)

    def work(self, graph: Graph) -> Mapping[str, Work] | None:
        """What each phase multiplies and touches."""
        if self.embedding.device.type != "cpu" or not self._is_practical():
            return None
        return self._forces.work(self, graph)

    def linear_readouts(self) -> list[nn.Parameter]:
        """The readout of every level of practical networks: a level's energies are its invariant states times it."""
        return [cast("Gate", gate).readout for gate in self.gates] if self._is_practical() else []

    def with_elements(self, nearest: Mapping[str, str]) -> NBodyNetwork | None:
        """Practical networks with more elements: weights of elements and of pairs of them are those of the nearest."""
        if not self._is_practical():
            return None
        known = self.settings.elements
        settings = self.settings.model_copy(update={"elements": (*known, *nearest)})
        wider = NBodyNetwork(settings, torch.Generator().manual_seed(0)).to(self.embedding)
        rows = torch.tensor([known.index(nearest.get(element, element)) for element in settings.elements])
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, parameter in wider.named_parameters():
                parameter.copy_(_of_elements(name, own[name], rows, len(known)))
        return wider

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


def _of_elements(name: str, weight: Tensor, rows: Tensor, n_known: int) -> Tensor:
    """A weight of a network of more elements, which stand at these rows of those known."""
    kind = name.rpartition(".")[2]
    if kind in {"embedding", "own_scale", "readout"}:
        return weight[rows]
    if kind in {"first", "first_bias"}:  # of pairs of elements, parent and child
        return weight.view(n_known, n_known, -1, weight.shape[1])[rows][:, rows].flatten(0, 2)
    return weight


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
