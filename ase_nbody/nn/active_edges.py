"""The edges of a graph that act, those shorter than the cutoff, and the pairs of them that make angles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.edges import EdgeList, edge_list, kept_edges
from ase_nbody.graph import Graph, edge_vectors


@dataclass(frozen=True)
class ActiveEdges:
    """Edges shorter than the cutoff. A list kept along a run has longer ones too, which would only cost time.

    Attributes:
        pairs: who is whose neighbour.
        shifts: whole cells by which the neighbour is moved, (E, 3).
        distances: (E,), angstrom.
        directions: unit vectors from the centre to its neighbour, (E, 3).
        has_neighbours: whether each atom is the centre of an edge, (N,) bool.
    """

    pairs: EdgeList
    shifts: Tensor
    distances: Tensor
    directions: Tensor
    has_neighbours: Tensor


def active_edges(graph: Graph, cutoff: float) -> ActiveEdges:
    """Edges of a graph that are shorter than the cutoff (angstrom), with what networks of distances and angles need."""
    pairs, shifts, vectors = graph.edges, graph.shifts, edge_vectors(graph)
    distances = vectors.norm(dim=1)
    inside = distances < cutoff
    numbers = inside.nonzero().squeeze(1)
    if len(numbers) < pairs.n_edges:
        pairs = kept_edges(pairs, inside, numbers)
        shifts, vectors, distances = shifts[numbers], vectors[numbers], distances[numbers]
    return ActiveEdges(
        pairs=pairs,
        shifts=shifts,
        distances=distances,
        directions=vectors / distances.unsqueeze(1),
        has_neighbours=pairs.receiver_offsets.diff() > 0,
    )


def triplets(edges: ActiveEdges) -> EdgeList:
    """Edges k -> j as the children of the edges j -> i, without the one that leads back to the same image of i.

    Args:
        edges: the edges of a graph.

    Returns:
        A list over the edges' numbers: senders are the k -> j, receivers the j -> i.
    """
    pairs = edges.pairs
    incoming = pairs.receiver_offsets.diff()[pairs.senders]  # edges to the sender of each edge, (E,)
    ji = torch.repeat_interleave(torch.arange(pairs.n_edges, device=incoming.device), incoming)  # (T,)
    before = incoming.cumsum(dim=0) - incoming
    place = torch.arange(len(ji), device=ji.device) - before[ji]
    kj = pairs.receiver_offsets[pairs.senders[ji]] + place
    same_atom = pairs.senders[kj] == pairs.receivers[ji]
    back = same_atom & (edges.shifts[kj] == -edges.shifts[ji]).all(dim=1)
    return edge_list(kj[~back], ji[~back], pairs.n_edges, pairs.n_edges)
