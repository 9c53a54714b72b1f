"""The two operations and their first gradients on states kept as one array per irrep, on the CPU, outside autograd.

Mixing such states is one matrix product per irrep without copies. Shapes are those of `operations`, with the components
of each irrep in an array of their own: (N, 2l+1, C) for factors, (N, (2l+1) paths, C) for products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ase_nbody.kernels import cpu, cpu_code
from ase_nbody.kernels.edges import EdgeList
from ase_nbody.kernels.tables import ProductTable, entries

EDGES_PER_PIECE = 1000
"""Radial weights of so many edges (2.5 MB for the medium preset) stay in the cache from their making to their use."""


@dataclass(frozen=True)
class RadialLayer:
    """Radial weights as a product hidden @ weights, made piece by piece so that they stay in the cache.

    Attributes:
        hidden: (E, H).
        slopes: of the hidden layer by the distance, (E, H), 1/angstrom.
        weights: (H, paths C).
    """

    hidden: Tensor
    slopes: Tensor
    weights: Tensor


def contract(
    states: Sequence[Tensor], harmonics: Tensor, radial: RadialLayer, edges: EdgeList, table: ProductTable
) -> list[Tensor]:
    """Messages summed over the children of each parent, one array per irrep of the output."""
    channels = states[0].shape[2]
    summed = _outputs(table, edges.n_receivers, states[0])
    for piece in _pieces(edges.receiver_offsets):
        made = radial.hidden[piece.edges] @ radial.weights  # (edges of the piece, paths C)
        inputs = [edges.receiver_offsets, edges.senders, *states, harmonics]
        arguments: list[Tensor | int] = [*inputs, piece.address(made), *summed]
        work = float(len(made)) * len(entries(table)) * channels
        cpu.run(cpu_code.messages, table, piece.nodes, work, states[0], arguments, blocked=True)
    return summed


def gradients(
    states: Sequence[Tensor],
    harmonics: Tensor,
    radial: RadialLayer,
    upstream: Sequence[Tensor],
    edges: EdgeList,
    table: ProductTable,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of `contract` by states, harmonics and distances, (E,) through the radial weights."""
    channels = states[0].shape[2]
    d_states = [torch.empty_like(s) for s in states]
    d_harmonics = torch.empty_like(harmonics)
    d_distances = harmonics.new_empty(edges.n_edges)
    for piece in _pieces(edges.sender_offsets):
        chosen = edges.sender_order[piece.edges]
        made = radial.hidden[chosen] @ radial.weights
        d_made = torch.empty_like(made)
        lists = [edges.sender_offsets, edges.sender_order, edges.receivers]
        inputs: list[Tensor | int] = [*lists, *states, harmonics, piece.address(made), *upstream]
        arguments = [*inputs, *d_states, d_harmonics, piece.address(d_made)]
        work = 2.0 * len(made) * len(entries(table)) * channels
        cpu.run(cpu_code.gradients, table, piece.nodes, work, states[0], arguments, blocked=True)
        d_distances[chosen] = ((d_made @ radial.weights.T) * radial.slopes[chosen]).sum(dim=1)
    return d_states, d_harmonics, d_distances


@dataclass(frozen=True)
class Piece:
    """Nodes whose edges are done together."""

    nodes: cpu.Nodes
    edges: slice

    def address(self, rows: Tensor) -> int:
        """Where row 0 of an array of all edges would begin, if `rows` held those of this piece."""
        before: int = self.edges.start * rows.shape[1] * rows.element_size()
        return rows.data_ptr() - before


def _pieces(offsets: Tensor) -> list[Piece]:
    """Ranges of nodes with about EDGES_PER_PIECE edges each."""
    n_nodes, n_edges = len(offsets) - 1, int(offsets[-1])
    wanted = torch.tensor(range(EDGES_PER_PIECE, n_edges, EDGES_PER_PIECE), dtype=torch.int64)
    bounds = [0, *dict.fromkeys(torch.searchsorted(offsets, wanted).tolist()), n_nodes]
    found = []
    for begin, end in pairwise(dict.fromkeys(bounds)):
        edges = slice(int(offsets[begin]), int(offsets[end]))
        found.append(Piece(cpu.Nodes(begin, end, offsets), edges))
    return found


def node_product(first: Sequence[Tensor], second: Sequence[Tensor], table: ProductTable) -> list[Tensor]:
    """Channel-wise product of two states of each node, one array per irrep of the output."""
    product = _outputs(table, first[0].shape[0], first[0])
    _run(cpu_code.products, table, [*first, *second, *product])
    return product


def product_gradients(
    first: Sequence[Tensor], second: Sequence[Tensor], upstream: Sequence[Tensor], table: ProductTable
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of `node_product` by both factors."""
    d_first, d_second = [torch.empty_like(t) for t in first], [torch.empty_like(t) for t in second]
    _run(cpu_code.product_gradients, table, [*first, *second, *upstream, *d_first, *d_second])
    return d_first, d_second


def _outputs(table: ProductTable, n_nodes: int, like: Tensor) -> list[Tensor]:
    irreps = zip(table.output_irreps, table.output_multiplicities, strict=True)
    return [like.new_empty(n_nodes, irrep.dimension * paths, like.shape[2]) for irrep, paths in irreps]


def _run(code: cpu.Code, table: ProductTable, tensors: Sequence[Tensor]) -> None:
    nodes, _, channels = tensors[0].shape
    work = 2.0 * nodes * len(entries(table)) * channels
    cpu.run(code, table, cpu.Nodes(0, nodes), work, tensors[0], tensors, blocked=True)
