"""Lists of edges: some of them, and sums over them."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk

from ase_nbody.edges import edge_list, kept_edges
from ase_nbody.graph import edge_vectors
from ase_nbody.kernels.sums import node_sums, receiver_sums, sender_sums
from ase_nbody.neighbours import neighbour_graph


@pytest.mark.parametrize("cutoff", [3.0, 2.3, 1.0])
def test_kept_edges_are_the_list_of_what_is_kept(cutoff):
    graph = neighbour_graph(bulk("Si", cubic=True), 4.0)
    kept = edge_vectors(graph).norm(dim=1) < cutoff
    kept &= graph.edges.senders != 2  # a sender without edges
    found = kept_edges(graph.edges, kept, kept.nonzero().squeeze(1))
    wanted = edge_list(graph.edges.senders[kept], graph.edges.receivers[kept], graph.n_atoms, graph.n_atoms)
    assert all(torch.equal(tensor, getattr(found, name)) for name, tensor in vars(wanted).items())


def test_sums_by_hand_and_their_derivatives():
    edges = edge_list(torch.tensor([2, 0, 0]), torch.tensor([0, 0, 2]), 3, 3)
    rows = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], dtype=torch.float64, requires_grad=True)
    assert receiver_sums(rows, edges).tolist() == [[11, 22], [0, 0], [100, 200]]
    assert sender_sums(rows, edges).tolist() == [[110, 220], [0, 0], [1, 2]]
    assert node_sums(rows, torch.tensor([1, 1, 0]), 2).tolist() == [[100, 200], [11, 22]]
    for summed in (receiver_sums, sender_sums):
        assert torch.autograd.gradcheck(lambda r, s=summed: s(r, edges) ** 3, rows)
        assert torch.autograd.gradgradcheck(lambda r, s=summed: s(r, edges) ** 3, rows)
