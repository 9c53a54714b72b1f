"""Another order of the atoms inside the compiled evaluation: the same numbers, and taken where it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from nbody_networks import ALL, potential, rattled

from ase_nbody.architectures import evaluation
from ase_nbody.architectures.atom_order import FEWEST, AtomOrder, local_order
from ase_nbody.graph import Graph, batch_graphs, edge_vectors
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.timings import Timings

CUTOFF = 3.0


def shuffled(atoms: Atoms, seed: int = 0) -> Atoms:
    return atoms[np.random.default_rng(seed).permutation(len(atoms))]


def crystal(repeats: tuple[int, int, int] = (4, 4, 3)) -> Atoms:
    """Two elements, slightly displaced, in a skewed cell, with atoms outside it."""
    atoms = bulk("CO", "rocksalt", a=3.4, cubic=True) * repeats
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.0, -0.1, 1.0]], scale_atoms=True)
    atoms.positions[::5] += atoms.cell[0]
    return rattled(atoms)


def taken(graph: Graph) -> AtomOrder:
    order = local_order(graph)
    assert order is not None
    return order


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("architecture", "settings"), ALL, ids=str)
def test_numbers_are_those_in_the_own_order(
    architecture: str, settings: dict[str, object], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = potential(dtype, architecture=architecture, **settings)
    graph = neighbour_graph(shuffled(crystal((4, 4, 2))), found.cutoff, dtype=dtype)
    vectors = replace(graph, vectors=1.01 * edge_vectors(graph))  # as repulsion gives them
    tolerance = 1e-12 if dtype == torch.float64 else 1e-4
    for one in (graph, vectors):
        ours = found.network.gradients(one, Timings(), features=True)
        with monkeypatch.context() as patch:
            patch.setattr(evaluation, "local_order", lambda _: None)
            plain = replace(one, edges=replace(one.edges))  # whose order is not known from before
            expected = found.network.gradients(plain, Timings(), features=True)
        assert ours is not None and expected is not None
        taken(one)
        assert float(expected.positions.abs().max()) > 1e-3
        for name in ("energies", "positions", "strain", "vectors", "features"):
            a, b = getattr(ours, name), getattr(expected, name)
            assert (a is None) == (b is None), name
            if a is not None:
                torch.testing.assert_close(a, b, rtol=0, atol=tolerance * float(b.abs().max()))


def test_an_order_has_all_edges_by_receivers_and_by_senders() -> None:
    graph = neighbour_graph(shuffled(crystal()), CUTOFF)
    order, edges = taken(graph), graph.edges
    ordered = order.edge_list
    assert sorted(order.atoms.tolist()) == list(range(graph.n_atoms))
    assert torch.equal(order.atoms[ordered.senders], edges.senders[order.edges])
    assert torch.equal(order.atoms[ordered.receivers], edges.receivers[order.edges])
    counts = torch.bincount(ordered.receivers, minlength=graph.n_atoms)
    assert torch.equal(ordered.receiver_offsets.diff(), counts) and bool((ordered.receivers.diff() >= 0).all())
    by_sender = ordered.senders[ordered.sender_order]
    assert torch.equal(ordered.sender_offsets.diff(), torch.bincount(by_sender, minlength=graph.n_atoms))
    assert bool((by_sender.diff() >= 0).all()) and len(set(ordered.sender_order.tolist())) == edges.n_edges
    values = torch.rand(graph.n_atoms, 3)
    assert torch.equal(order.of_atoms(values[order.atoms]), values)
    values = torch.rand(edges.n_edges)
    assert torch.equal(order.of_edges(values[order.edges]), values)


def test_every_list_has_its_own_order() -> None:
    found = potential(torch.float64)
    graphs = [neighbour_graph(shuffled(crystal((4, 4, 2)), seed), found.cutoff) for seed in (0, 1)]
    orders = [taken(graph).atoms for graph in graphs]
    assert not torch.equal(*orders)
    for graph in (*graphs, graphs[0]):
        ours, fresh = (n.gradients(graph, Timings()) for n in (found.network, potential(torch.float64).network))
        assert ours is not None and fresh is not None and torch.equal(ours.positions, fresh.positions)


def test_wrapping_changes_no_order() -> None:
    atoms = shuffled(crystal())
    wrapped = atoms.copy()
    wrapped.wrap()
    orders = [taken(neighbour_graph(one, CUTOFF)).atoms for one in (atoms, wrapped)]
    assert np.abs(wrapped.positions - atoms.positions).max() > 10 and torch.equal(*orders)


def test_the_way_through_a_cluster_has_no_long_jumps() -> None:
    cluster = shuffled(bulk("Si", cubic=True) * (4, 4, 5))
    cluster.pbc = False
    order = taken(neighbour_graph(cluster, 5.0)).atoms.numpy()
    jumps = np.linalg.norm(np.diff(cluster.positions[order], axis=0), axis=1)
    assert jumps.max() < 8.5


def test_followers_are_of_one_element_and_near() -> None:
    atoms = shuffled(crystal())
    order = taken(neighbour_graph(atoms, CUTOFF))
    sorted_atoms = atoms[order.atoms.numpy()]
    assert (np.diff(sorted_atoms.numbers) != 0).sum() == 1
    scattered, near = (
        np.mean([a.get_distance(i, i + 1, mic=True) for i in range(len(a) - 1)]) for a in (atoms, sorted_atoms)
    )
    assert near < 4.0 < 5.0 < scattered


@pytest.mark.parametrize("pbc", [False, (True, True, False), True])
def test_it_is_taken_where_neighbours_are_scattered(pbc: object) -> None:
    silicon = bulk("Si", cubic=True) * (4, 4, 4)
    silicon.pbc = pbc
    far = silicon.copy()
    far.positions[:, 0] += 1e4
    for atoms in (silicon, far):
        assert local_order(neighbour_graph(atoms, 5.0)) is None  # the lattice is as good
        taken(neighbour_graph(shuffled(atoms), 5.0))


def test_small_structures_and_batches_keep_their_order() -> None:
    atoms = shuffled(bulk("Si", cubic=True) * (4, 4, 4))
    assert local_order(neighbour_graph(atoms[: FEWEST - 1], 5.0)) is None
    molecules = [neighbour_graph(molecule("C6H6"), 5.0) for _ in range(20)]
    assert local_order(batch_graphs(molecules)) is None
    assert local_order(batch_graphs([neighbour_graph(atoms, 5.0)] * 2)) is None


def test_a_structure_without_edges_has_no_other_order() -> None:
    gas = Atoms("Si200", 20.0 * np.random.default_rng(0).permutation(200)[:, None] * [1.0, 0.0, 0.0])
    assert local_order(neighbour_graph(gas, 5.0)) is None
