"""EdgeList: who is whose child, stored for sums over receivers and over senders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class EdgeList:
    """Edges from child nodes (senders) to parent nodes (receivers), in CSR form both ways.

    Edges are stored in the order of their receivers. `sender_order` lists the same edges in the order of
    their senders, so that both sums run over contiguous ranges: no atomics, and a fixed order of addition.

    Attributes:
        senders: child of each edge, (E,) int64.
        receivers: parent of each edge, (E,) int64, ascending.
        receiver_offsets: edges of parent n are receiver_offsets[n]:receiver_offsets[n + 1], (n_receivers + 1,) int64.
        sender_order: edge numbers sorted by sender, (E,) int64.
        sender_offsets: edges of child n are sender_order[sender_offsets[n]:sender_offsets[n + 1]], (n_senders + 1,).
    """

    senders: Tensor
    receivers: Tensor
    receiver_offsets: Tensor
    sender_order: Tensor
    sender_offsets: Tensor

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return self.senders.shape[0]

    @property
    def n_senders(self) -> int:
        """Number of child nodes."""
        return self.sender_offsets.shape[0] - 1

    @property
    def n_receivers(self) -> int:
        """Number of parent nodes."""
        return self.receiver_offsets.shape[0] - 1

    def to(self, device: torch.device | str) -> EdgeList:
        """The same edges on another device."""
        return EdgeList(
            self.senders.to(device),
            self.receivers.to(device),
            self.receiver_offsets.to(device),
            self.sender_order.to(device),
            self.sender_offsets.to(device),
        )


def kept_edges(edges: EdgeList, kept: Tensor, numbers: Tensor) -> EdgeList:
    """Some of the edges in the same order; nothing is sorted.

    Args:
        edges: who is whose child.
        kept: which edges stay, (E,) bool.
        numbers: of those that stay, ascending, (K,) int64.
    """
    before = functional.pad(kept.cumsum(0), (1, 0))  # kept edges before each place, (E + 1,)
    by_sender = kept[edges.sender_order]  # (E,)
    before_by_sender = functional.pad(by_sender.cumsum(0), (1, 0))
    return EdgeList(
        senders=edges.senders[numbers],
        receivers=edges.receivers[numbers],
        receiver_offsets=before[edges.receiver_offsets],
        sender_order=before[edges.sender_order[by_sender]],
        sender_offsets=before_by_sender[edges.sender_offsets],
    )


def edge_list(senders: Tensor, receivers: Tensor, n_senders: int, n_receivers: int) -> EdgeList:
    """Edges in CSR form from pairs sorted by receiver.

    Args:
        senders: child of each edge, (E,) int64.
        receivers: parent of each edge, (E,) int64, ascending.
        n_senders: number of child nodes.
        n_receivers: number of parent nodes.

    Raises:
        ValueError: the receivers are not in ascending order, an index is out of range, or indices are not int64.
    """
    if senders.shape != receivers.shape or senders.dim() != 1:
        raise ValueError(
            f"senders and receivers must be two lists of one length, not {senders.shape}, {receivers.shape}"
        )
    if senders.dtype != torch.int64 or receivers.dtype != torch.int64:
        raise ValueError(f"senders and receivers must be int64, not {senders.dtype} and {receivers.dtype}")
    if senders.numel():
        if bool((receivers[1:] < receivers[:-1]).any()):
            raise ValueError("receivers must be ascending: sort the edges by receiver first")
        if int(senders.min()) < 0 or int(senders.max()) >= n_senders:
            raise ValueError(f"senders must lie in 0..{n_senders - 1}")
        if int(receivers[0]) < 0 or int(receivers[-1]) >= n_receivers:
            raise ValueError(f"receivers must lie in 0..{n_receivers - 1}")
    return EdgeList(
        senders=senders.contiguous(),
        receivers=receivers.contiguous(),
        receiver_offsets=_offsets(receivers, n_receivers),
        sender_order=torch.argsort(senders, stable=True),
        sender_offsets=_offsets(senders, n_senders),
    )


def _offsets(nodes: Tensor, n_nodes: int) -> Tensor:
    counts = torch.bincount(nodes, minlength=n_nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
