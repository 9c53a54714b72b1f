"""Gradients of losses on energies and forces of an N-body network by its parameters, written by hand.

A loss on forces needs second derivatives along one direction only: the gradient of sum_e t_e . dE/dr_e, with t_e the
gradient of the loss by dE/dr_e, is that of the change of E along tangents t_e of the edge vectors r_e (Pearlmutter
1994, doi 10.1162/neco.1994.6.1.147). So a pass of tangents and a reverse pass through values and tangents replace
autograd's differentiation of its own backward pass. The numbers are those of `NBodyNetwork` under autograd; a test
holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ase_nbody.architectures.base import Gradients
from ase_nbody.architectures.nbody_gates import Gate, GatedNetwork
from ase_nbody.graph import Graph, edge_vectors, split_graph
from ase_nbody.kernels.dual import CHANGES, PULLS, TANGENTS, VALUES, Batch, Contraction, Dual, RadialRows
from ase_nbody.kernels.workers import side_by_side, torch_threads
from ase_nbody.nn.dual_edges import DualDirections, DualRadial, RadialBasis, radial_basis
from ase_nbody.nn.dual_gates import ManyBodyParts, ManyBodyPass
from ase_nbody.nn.dual_mixing import DualMixing, Found
from ase_nbody.nn.gates import LearnedAggregation

SMALLEST_SHARE = 1500
"""Edges per thread below which another thread gains nothing: a pass holds Python's lock for about 4 ms in all."""


class GateParts:
    """A gate and the mixings of its states.

    Args:
        gate: of a neighbourhoods scheme with learned radial functions.
        last: it is the last level, so only its energies are wanted.
    """

    def __init__(self, gate: Gate, *, last: bool) -> None:
        assert isinstance(gate.aggregation, LearnedAggregation)
        self.gate, self.last = gate, last
        self.aggregation = gate.aggregation
        self.many_body = ManyBodyParts(gate.many_body)
        self.own = DualMixing(gate.own)


class GatePass:
    """One level of one batch.

    Args:
        parts: the gate.
        batch: nodes and edges.
        types: one-hot types of the nodes, (N, T).
        states: of the level below.
        harmonics: of the edges.
        basis: radial basis of the edges.
    """

    def __init__(
        self, parts: GateParts, batch: Batch, types: Tensor, states: Dual, harmonics: Dual, basis: RadialBasis
    ) -> None:
        self.parts, self.types, self.states = parts, types, states
        self.radial = DualRadial(parts.aggregation.radial, basis)
        t_radial, values, _ = self.radial.weights.unbind(0)
        own = torch.arange(batch.edges.n_edges)
        radial = RadialRows(values, t_radial, own, own)
        self.contraction = Contraction(batch, parts.aggregation.table, states, harmonics, radial)
        self.many_body = ManyBodyPass(parts.many_body, batch, self.contraction.summed)
        self.readout = types @ parts.gate.readout  # (N, C)
        self.scalars = self.readout.new_empty(2, *self.readout.shape)  # of this level, without the node itself
        if not parts.last:
            self.scale = (types @ parts.gate.own_scale).unsqueeze(1)  # (N, 1, C)
            self.scaled, self.d_scaled = states.like(), states.like()

    @property
    def made(self) -> Dual:
        """States of this level, its scalars only if it is the last."""
        return self.many_body.made

    def energies(self) -> Tensor:
        """Energies of the nodes, (N,)."""
        return (self.scalars[VALUES] * self.readout).sum(dim=1)

    @property
    def d_states(self) -> Dual:
        """Gradients by the states of the level below."""
        return self.contraction.d_states

    def fill(self, part: int) -> None:
        """Make values or tangents of states and energies."""
        self.contraction.fill(part)
        self.many_body.fill(part)
        self.scalars[part] = self.made.parts[part][0]
        if not self.parts.last:
            for state, scaled in zip(self.states.parts[part], self.scaled.parts[part], strict=True):
                torch.mul(self._by_node(state), self.scale, out=self._by_node(scaled))
            self.parts.own.add(self.scaled.parts[part], self.made.parts[part])

    def pull(self, above: Dual | None) -> tuple[Tensor, Tensor]:
        """Pulls of harmonics, (E, M), and distances, (E,), and of the states below, from those of the states."""
        self.above = above
        scalars = torch.empty_like(self.made.both[0])
        self.d_made = Dual([scalars] if above is None else [scalars, *above.both[1:]])
        self._back(PULLS, self.readout)
        d_harmonics = self.contraction.pull(self.many_body.d_fragments, self.radial.weights[2])
        d_distances = self.radial.pull()
        self._add_own(PULLS)
        return d_harmonics, d_distances

    def change(self, d_energies: Tensor) -> None:
        """Changes of the states below from those of the states and from the gradient by the energies, (N,)."""
        self._back(CHANGES, self.readout * d_energies.unsqueeze(1))
        self.contraction.change(self.many_body.d_fragments, self.radial.weights[1])
        self._add_own(CHANGES)

    def gradients(self, d_energies: Tensor, found: Found) -> None:
        """Put the gradients by the parameters into `found`."""
        gate = self.parts.gate
        self.many_body.gradients(self.d_made, found)
        self.radial.gradients(found)
        values, tangents = self.scalars.unbind(0)
        found[id(gate.readout)] = self.types.t() @ torch.addcmul(tangents, values, d_energies.unsqueeze(1))
        if self.above is not None:
            self.parts.own.weight_gradients(self.scaled, self.above, found)
            pairs = zip(self.states.both, self.d_scaled.both, strict=True)
            products = [(state * d).view(2, *self.scale.shape[:1], -1, self.scale.shape[2]) for state, d in pairs]
            found[id(gate.own_scale)] = self.types.t() @ torch.cat(products, dim=2).sum(dim=(0, 2))

    def _back(self, part: int, seed: Tensor) -> None:
        scalars = self.d_made.parts[part][0]
        if self.above is None:
            scalars.copy_(seed)
        else:
            torch.add(self.above.parts[part][0], seed, out=scalars)
            self.parts.own.fill_back(self.above.parts[part], self.d_scaled.parts[part])
        self.many_body.back(part, self.d_made)

    def _add_own(self, part: int) -> None:
        if self.above is not None:
            for d_state, d_scaled in zip(self.d_states.parts[part], self.d_scaled.parts[part], strict=True):
                self._by_node(d_state).addcmul_(self._by_node(d_scaled), self.scale)

    def _by_node(self, state: Tensor) -> Tensor:
        return state.view(len(self.types), -1, self.readout.shape[1])  # (N, 2l+1, C)


class NBodyPass:
    """Energies of one batch and their gradients by the edge vectors; then gradients of a scalar of both by parameters.

    Args:
        parts: the gates.
        network: whose parameters are read.
        graph: the batch.
    """

    def __init__(self, parts: Sequence[GateParts], network: GatedNetwork, graph: Graph) -> None:
        settings = network.settings
        self.embedding = network.embedding
        self.vectors = edge_vectors(graph)
        self.directions = DualDirections(self.vectors, settings.max_degree_edges)
        types = network.type_of_number[graph.atomic_numbers]
        n_types = len(settings.elements)
        pair_types = types[graph.edges.receivers] * n_types + types[graph.edges.senders]
        basis = radial_basis(
            self.directions.distances,
            pair_types,
            n_types**2,
            cutoff=settings.cutoff,
            envelope_power=settings.envelope_power,
            n_bessel=settings.bessel_functions,
            scale=settings.average_neighbours**-0.5,
        )
        batch = Batch(graph.n_atoms, graph.edges, self.vectors.new_empty(0, 0, settings.channels))
        self.types = functional.one_hot(types, n_types).to(self.vectors.dtype)
        leaves = self.types @ self.embedding
        states = Dual([torch.stack([leaves, torch.zeros_like(leaves)])])
        self.levels: list[GatePass] = []
        for part in parts:
            level = GatePass(part, batch, self.types, states, self.directions.harmonics, basis)
            level.fill(VALUES)
            self.levels.append(level)
            states = level.made

    def energies(self) -> Tensor:
        """Atomic energies, (N,)."""
        return torch.stack([level.energies() for level in self.levels]).sum(dim=0)

    def pull(self) -> None:
        """Make `d_vectors`, the gradients of the summed energy by the edge vectors, (E, 3)."""
        above: Dual | None = None
        d_harmonics, d_distances = torch.zeros(()), torch.zeros(())
        for level in reversed(self.levels):
            by_harmonics, by_distances = level.pull(above)
            d_harmonics, d_distances = by_harmonics + d_harmonics, by_distances + d_distances
            above = level.d_states
        self.d_vectors = self.directions.pull(d_harmonics, d_distances)

    def gradients(self, d_energies: Tensor, t_vectors: Tensor) -> Found:
        """Gradients by the parameters of a scalar.

        Args:
            d_energies: its gradient by the atomic energies, (N,).
            t_vectors: its gradient by `d_vectors`, (E, 3).
        """
        t_distances = self.directions.move(t_vectors)
        for level in self.levels:
            level.radial.move(t_distances)
            level.fill(TANGENTS)
        found: Found = {}
        for level in reversed(self.levels):
            level.change(d_energies)
            level.gradients(d_energies, found)
        found[id(self.embedding)] = self.types.t() @ self.levels[0].d_states.parts[CHANGES][0]
        return found


class NBodyTraining:
    """Energies of a network and their gradients by positions and strain, differentiable once by its parameters.

    Args:
        network: on the CPU.
    """

    def __init__(self, network: GatedNetwork) -> None:
        gates = [cast("Gate", gate) for gate in network.gates]
        self.parts = [GateParts(gate, last=number == len(gates) - 1) for number, gate in enumerate(gates)]
        self.parameters = list(network.parameters())

    def __call__(self, network: GatedNetwork, graph: Graph) -> Gradients:
        """Energies and gradients of a graph, by the network that this was made for."""
        found: tuple[Tensor, ...] = _Energies.apply(self.parts, network, graph, *self.parameters)  # type: ignore[no-untyped-call]
        return Gradients(*found)


class _Energies(Function):
    """Atomic energies, (N,), and their gradients by positions, (N, 3), and strain, (B, 3, 3)."""

    @staticmethod
    def forward(
        ctx: Any, parts: list[GateParts], network: GatedNetwork, graph: Graph, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        graphs = split_graph(graph, _shares(graph))
        with _torch_threads(graph):
            passes = side_by_side([partial(_values, parts, network, part) for part in graphs])
        ctx.passes, ctx.graph, ctx.parameters = passes, graph, parameters
        d_vectors = torch.cat([made.d_vectors for made in passes])
        edges = graph.edges
        d_positions = torch.zeros_like(graph.positions).index_add_(0, edges.senders, d_vectors)
        d_positions.index_add_(0, edges.receivers, d_vectors, alpha=-1)
        ctx.vectors = torch.cat([made.vectors for made in passes])
        outer = d_vectors.unsqueeze(2) * ctx.vectors.unsqueeze(1)  # (E, 3, 3)
        d_strain = torch.zeros_like(graph.cell).index_add_(0, graph.structure[edges.receivers], outer)
        energies = torch.cat([made.energies() for made in passes])
        return energies, d_positions, 0.5 * (d_strain + d_strain.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_energies: Tensor, t_positions: Tensor, t_strain: Tensor) -> tuple[Tensor | None, ...]:
        edges, passes = ctx.graph.edges, ctx.passes
        symmetric = 0.5 * (t_strain + t_strain.transpose(1, 2))[ctx.graph.structure[edges.receivers]]  # (E, 3, 3)
        t_vectors = t_positions[edges.senders] - t_positions[edges.receivers]
        t_vectors += (symmetric * ctx.vectors.unsqueeze(1)).sum(dim=2)
        upstream = zip(
            passes,
            torch.split(d_energies, [len(made.types) for made in passes]),
            torch.split(t_vectors, [len(made.vectors) for made in passes]),
            strict=True,
        )
        with _torch_threads(ctx.graph):
            found = side_by_side([partial(made.gradients, by_energy, t) for made, by_energy, t in upstream])
        for more in found[1:]:
            torch._foreach_add_(list(found[0].values()), list(more.values()))
        return (None, None, None, *(found[0].get(id(p)) for p in ctx.parameters))


def _values(parts: list[GateParts], network: GatedNetwork, graph: Graph) -> NBodyPass:
    made = NBodyPass(parts, network, graph)
    made.pull()
    return made


def _torch_threads(graph: Graph) -> AbstractContextManager[None]:
    """One for torch where the batch is too small for more."""
    return torch_threads(1) if graph.edges.n_edges < 2 * SMALLEST_SHARE else nullcontext()


def _shares(graph: Graph) -> int:
    """Parts in which the batch is worth doing side by side."""
    return min(torch.get_num_threads(), graph.n_structures, graph.edges.n_edges // SMALLEST_SHARE or 1)
