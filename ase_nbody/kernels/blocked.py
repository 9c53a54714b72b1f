"""The two operations and their first gradients on states kept as one array per irrep, on the CPU, outside autograd.

Mixing such states is one matrix product per irrep without copies. Shapes are those of `operations`, with the components
of each irrep in an array of their own: (N, 2l+1, C) for factors, (N, (2l+1) paths, C) for products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ase_nbody.kernels import cpu, cpu_code
from ase_nbody.kernels.edges import EdgeList
from ase_nbody.kernels.tables import ProductTable, entries


def contract(
    states: Sequence[Tensor], harmonics: Tensor, radial: Tensor, edges: EdgeList, table: ProductTable
) -> list[Tensor]:
    """Messages summed over the children of each parent, one array per irrep of the output."""
    summed = _outputs(table, edges.n_receivers, radial)
    tensors = [edges.receiver_offsets, edges.senders, *states, harmonics, radial, *summed]
    work = float(edges.n_edges) * len(entries(table)) * radial.shape[2]
    cpu.run(cpu_code.messages, table, edges.receiver_offsets, edges.n_receivers, work, tensors, blocked=True)
    return summed


def gradients(
    states: Sequence[Tensor],
    harmonics: Tensor,
    radial: Tensor,
    upstream: Sequence[Tensor],
    edges: EdgeList,
    table: ProductTable,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Gradients of `contract` by states, harmonics and radial weights."""
    d_states = [torch.empty_like(s) for s in states]
    d_harmonics, d_radial = torch.empty_like(harmonics), torch.empty_like(radial)
    lists = [edges.sender_offsets, edges.sender_order, edges.receivers]
    tensors = [*lists, *states, harmonics, radial, *upstream, *d_states, d_harmonics, d_radial]
    work = 2.0 * edges.n_edges * len(entries(table)) * radial.shape[2]
    cpu.run(cpu_code.gradients, table, edges.sender_offsets, edges.n_senders, work, tensors, blocked=True)
    return d_states, d_harmonics, d_radial


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


def _run(code: cpu.Code, table: ProductTable, tensors: list[Tensor]) -> None:
    nodes, _, channels = tensors[0].shape
    cpu.run(code, table, None, nodes, 2.0 * nodes * len(entries(table)) * channels, tensors, blocked=True)
