"""Energies and forces of an N-body network by a backward pass written by hand, for use without training.

Autograd's bookkeeping costs more than the arithmetic of a small molecule. Here states are one array per irrep, so that
mixing is one matrix product without copies, and only gradients by the edge vectors are made. The numbers are those of
`NBodyNetwork` under autograd; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ase_nbody.architectures.base import EdgeGradients
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.kernels import EdgeList, ProductTable, blocked
from ase_nbody.nn.edge_gradients import RadialBasis, directions, hidden_layers, radial_basis, within_cutoff
from ase_nbody.nn.gates import LearnedAggregation
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import LearnedRadial

if TYPE_CHECKING:
    from ase_nbody.architectures.nbody import Gate, NBodyNetwork, NBodySettings

Blocks = list[Tensor]  # one (N, components, C) per irrep


@dataclass(frozen=True)
class Forward:
    """What the way back through one level needs.

    Attributes:
        states: of the children.
        radial: what the radial weights are made of.
        fragments: zeroth-order sums.
        factor: A, the factor of the products.
        pairs: A x A.
        pair_factor: A x A mixed.
        triples: (A x A) x A.
    """

    states: Blocks
    radial: blocked.RadialLayer
    fragments: Blocks
    factor: Blocks
    pairs: Blocks
    pair_factor: Blocks
    triples: Blocks


class BlockMixing:
    """`Mixing` of states kept as one array per irrep, and its transpose."""

    def __init__(self, mixing: Mixing) -> None:
        self.channels = mixing.channels_out
        self.irreps_out = mixing.irreps_out
        self.irreps = tuple(mixing.block_of)
        self.weights = {irrep: mixing.weights[str(irrep)] for irrep in self.irreps_out if irrep in mixing.block_of}

    def __call__(self, fragments: Blocks) -> Blocks:
        """Mixed states, (N, 2l+1, C) for each irrep to make."""
        blocks = dict(zip(self.irreps, fragments, strict=True))
        nodes = fragments[0].shape[0]
        mixed = []
        for irrep in self.irreps_out:
            if irrep in self.weights:
                rows = blocks[irrep].view(nodes * irrep.dimension, -1) @ self.weights[irrep]
                mixed.append(rows.view(nodes, irrep.dimension, self.channels))
            else:
                mixed.append(fragments[0].new_zeros(nodes, irrep.dimension, self.channels))
        return mixed

    def back(self, upstream: Blocks, like: Blocks) -> Blocks:
        """Gradients by fragments shaped like `like` from those by the mixed states."""
        pulls = dict(zip(self.irreps_out, upstream, strict=True))
        gradients = []
        for irrep, fragment in zip(self.irreps, like, strict=True):
            if irrep in self.weights:
                rows = pulls[irrep].reshape(-1, self.channels) @ self.weights[irrep].T
                gradients.append(rows.view(fragment.shape))
            else:
                gradients.append(torch.zeros_like(fragment))
        return gradients


class LevelForces:
    """One gate, forward and back.

    Args:
        gate: of a neighbourhoods scheme with learned radial functions.
        last: it is the last level, so only its energies are wanted.
    """

    def __init__(self, gate: Gate, *, last: bool) -> None:
        aggregation, many_body = gate.aggregation, gate.many_body
        assert isinstance(aggregation, LearnedAggregation)
        self.last = last
        self.gate = gate
        self.table = aggregation.table
        self.radial: LearnedRadial = aggregation.radial
        self.order = many_body.body_order
        self.factor = BlockMixing(many_body.factor)
        self.to_states = [BlockMixing(many_body.linear)]
        if self.order >= 3:
            self.pairs: ProductTable = many_body.pairs
            self.to_states.append(BlockMixing(many_body.mix_pairs))
        if self.order >= 4:
            self.triples: ProductTable = many_body.triples
            self.pair_mixing = BlockMixing(many_body.pair_factor)
            self.to_states.append(BlockMixing(many_body.mix_triples))
        self.own = BlockMixing(gate.own)

    def forward(
        self, states: Blocks, harmonics: Tensor, basis: RadialBasis, edges: EdgeList, types: Tensor
    ) -> tuple[Blocks, Tensor, Forward]:
        """States of the level (empty for the last), its energies (N,), and what the way back needs."""
        radial = blocked.RadialLayer(*hidden_layers(self.radial, basis), self.radial.last)
        fragments = blocked.contract(states, harmonics, radial, edges, self.table)
        factor = self.factor(fragments)
        pairs = blocked.node_product(factor, factor, self.pairs) if self.order >= 3 else []
        pair_factor = self.pair_mixing(pairs) if self.order >= 4 else []
        triples = blocked.node_product(pair_factor, factor, self.triples) if self.order >= 4 else []
        sources = (factor, pairs, triples)[: len(self.to_states)]
        made = [mixing(source) for mixing, source in zip(self.to_states, sources, strict=True)]
        total = reduce(_sums, made)
        energies = (total[0].squeeze(1) * self.gate.readout[types]).sum(dim=1)
        kept = Forward(states, radial, fragments, factor, pairs, pair_factor, triples)
        if self.last:
            return [], energies, kept
        scale = self.gate.own_scale[types].unsqueeze(1)
        own = self.own([s * scale for s in states])
        return [a + b for a, b in zip(total, own, strict=True)], energies, kept

    def backward(
        self, d_states: Blocks | None, kept: Forward, harmonics: Tensor, edges: EdgeList, types: Tensor
    ) -> tuple[Blocks, Tensor, Tensor]:
        """Gradients by the states of the children, by harmonics (E, M) and by distance (E,)."""
        readout = self.gate.readout[types].unsqueeze(1)
        d_made = [readout] if d_states is None else [d_states[0] + readout, *d_states[1:]]
        d_factor = self.to_states[0].back(d_made, kept.factor)
        d_pairs: Blocks = []
        if self.order >= 4:
            d_triples = self.to_states[2].back(d_made, kept.triples)
            d_pair_factor, d_extra = blocked.product_gradients(kept.pair_factor, kept.factor, d_triples, self.triples)
            d_factor = _sums(d_factor, d_extra)
            d_pairs = self.pair_mixing.back(d_pair_factor, kept.pairs)
        if self.order >= 3:
            d_pairs = _sums(self.to_states[1].back(d_made, kept.pairs), d_pairs)
            for d_extra in blocked.product_gradients(kept.factor, kept.factor, d_pairs, self.pairs):
                d_factor = _sums(d_factor, d_extra)
        upstream = self.factor.back(d_factor, kept.fragments)
        d_below, d_harmonics, d_distance = blocked.gradients(
            kept.states, harmonics, kept.radial, upstream, edges, self.table
        )
        if d_states is not None:
            scale = self.gate.own_scale[types].unsqueeze(1)
            own = self.own.back(d_states, kept.states)
            d_below = [a + b * scale for a, b in zip(d_below, own, strict=True)]
        return d_below, d_harmonics, d_distance


def _sums(first: Blocks, second: Blocks) -> Blocks:
    return [a + b for a, b in zip(first, second, strict=True)] if second else first


def serves(settings: NBodySettings) -> bool:
    """Whether networks of these settings can be evaluated this way: practical ones, not strict ones or fragments."""
    return settings.scheme == "neighbourhoods" and settings.radial == "learned" and not settings.pairs


class NBodyForces:
    """Atomic energies of a network and their gradients by the edge vectors.

    It holds the network's parameters themselves, so it follows changes of their values.

    Args:
        network: of settings that `serves`, on the CPU.
    """

    def __init__(self, network: NBodyNetwork) -> None:
        self.settings = network.settings
        self.embedding = network.embedding
        self.type_of_number = network.type_of_number
        gates = [cast("Gate", gate) for gate in network.gates]
        self.levels = [LevelForces(gate, last=number == len(gates) - 1) for number, gate in enumerate(gates)]

    def __call__(self, graph: Graph) -> EdgeGradients:
        """Energies and gradients of a graph."""
        settings = self.settings
        with torch.no_grad():
            vectors = edge_vectors(graph)
            edges, vectors, distances = within_cutoff(graph.edges, vectors, settings.cutoff)
            types = self.type_of_number[graph.atomic_numbers]
            n_types = len(settings.elements)
            basis = radial_basis(
                distances,
                types[edges.receivers] * n_types + types[edges.senders],
                n_types**2,
                cutoff=settings.cutoff,
                envelope_power=settings.envelope_power,
                n_bessel=settings.bessel_functions,
                scale=settings.average_neighbours**-0.5,
            )
            units = directions(vectors, distances, settings.max_degree_edges)
            energies, d_harmonics, d_distance = self._gradients(types, units.harmonics(), basis, edges)
            return EdgeGradients(energies, edges, vectors, units.vector_gradient(d_harmonics, d_distance))

    def _gradients(
        self, types: Tensor, harmonics: Tensor, basis: RadialBasis, edges: EdgeList
    ) -> tuple[Tensor, Tensor, Tensor]:
        states: Blocks = [self.embedding[types].unsqueeze(1)]
        energies = harmonics.new_zeros(len(types))
        kept = []
        for level in self.levels:
            states, level_energies, forward = level.forward(states, harmonics, basis, edges, types)
            energies += level_energies
            kept.append(forward)
        d_states: Blocks | None = None
        d_harmonics, d_distance = torch.zeros_like(harmonics), harmonics.new_zeros(len(harmonics))
        for level, forward in zip(reversed(self.levels), reversed(kept), strict=True):
            d_states, by_harmonics, by_distance = level.backward(d_states, forward, harmonics, edges, types)
            d_harmonics += by_harmonics
            d_distance += by_distance
        return energies, d_harmonics, d_distance
