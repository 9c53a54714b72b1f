"""Sums of what edges carry over the edges of each node, the same from run to run on every device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ase_nbody.cuda import backend as cuda
from ase_nbody.edges import EdgeList


def receiver_sums(rows: Tensor, edges: EdgeList) -> Tensor:
    """Rows of edges summed over the edges of each receiver, differentiable to any order.

    Args:
        rows: (E, ...).
        edges: who is whose child.

    Returns:
        (n_receivers, ...), zero for nodes without edges.
    """
    sums: Tensor = _Sums.apply(rows, edges.receivers, edges.receiver_offsets, None)  # type: ignore[no-untyped-call]
    return sums


def sender_sums(rows: Tensor, edges: EdgeList) -> Tensor:
    """As `receiver_sums`, over the edges of each sender, (n_senders, ...)."""
    sums: Tensor = _Sums.apply(rows, edges.senders, edges.sender_offsets, edges.sender_order)  # type: ignore[no-untyped-call]
    return sums


def node_sums(rows: Tensor, nodes: Tensor, n_nodes: int) -> Tensor:
    """Sums of rows by the number of their node, for few rows.

    On a GPU torch's index_put sorts the rows, where its index_add adds in whichever order they come.

    Args:
        rows: (R, ...) float64, which torch adds in one order on the CPU too.
        nodes: of each row, (R,).
        n_nodes: number of nodes.

    Returns:
        (n_nodes, ...).
    """
    return rows.new_zeros(n_nodes, *rows.shape[1:]).index_put((nodes,), rows, accumulate=True)


class _Sums(Function):
    """Rows summed over nodes; those of a node are order[offsets[n]:offsets[n + 1]], in their own order if None."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, nodes: Tensor, offsets: Tensor, order: Tensor | None) -> Tensor:
        ctx.save_for_backward(nodes)
        if cuda.serves(rows):
            order = torch.arange(len(rows), device=rows.device) if order is None else order
            return cuda.sums(rows.contiguous(), offsets, order)
        return rows.new_zeros(len(offsets) - 1, *rows.shape[1:]).index_add(0, nodes, rows)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (nodes,) = ctx.saved_tensors
        return upstream[nodes], None, None, None
