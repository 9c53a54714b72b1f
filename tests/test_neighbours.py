"""Neighbour lists against brute force and ASE, the skin criterion along trajectories, and errors for bad structures."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list

from ase_nbody.contacts import distance_table
from ase_nbody.graph import Graph, batch_graphs, edge_vectors
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import batch_graph, neighbour_graph
from ase_nbody.pairs import periodic_box
from ase_nbody.structures import batches_of_structures, check_structure

ALL_PBC = list(itertools.product([False, True], repeat=3))
TRICLINIC = np.array([[4.1, 0.0, 0.0], [1.9, 3.7, 0.0], [-1.3, 2.2, 4.4]])
LEFT_HANDED = TRICLINIC[[1, 0, 2]]
TINY = np.array([[1.1, 0.1, 0.0], [0.0, 1.3, 0.2], [0.5, 0.0, 0.9]])
CUTOFF = 3.3

Edges = set[tuple[int, ...]]


def random_atoms(seed: int, n_atoms: int, cell, pbc, spread: float = 1.0) -> Atoms:
    """Random atoms, at fractional coordinates in [-spread / 2, spread / 2)."""
    scaled = spread * (np.random.default_rng(seed).random((n_atoms, 3)) - 0.5)
    return Atoms(f"Si{n_atoms}", positions=scaled @ np.asarray(cell), cell=cell, pbc=pbc)


def brute_force(atoms: Atoms, cutoff: float) -> Edges:
    """(receiver, sender, shift) of all pairs closer than the cutoff, by trying every image that could be."""
    cell, positions = atoms.cell.array, atoms.positions
    images = [0, 0, 0]
    if atoms.pbc.any():
        dual = np.linalg.pinv(cell[atoms.pbc])  # columns: fractional coordinates along periodic directions
        reach = np.ptp(positions @ dual, axis=0) + cutoff * np.linalg.norm(dual, axis=0)
        for direction, cells in zip(np.flatnonzero(atoms.pbc), reach, strict=True):
            images[direction] = int(np.ceil(cells))
    edges = set()
    for shift in itertools.product(*(range(-n, n + 1) for n in images)):
        vectors = positions[None, :] - positions[:, None] + np.array(shift) @ cell  # (receiver, sender, 3)
        close = np.linalg.norm(vectors, axis=2) < cutoff
        if shift == (0, 0, 0):
            np.fill_diagonal(close, False)
        edges |= {(int(i), int(j), *shift) for i, j in np.argwhere(close)}
    return edges


def edges_within(graph: Graph, cutoff: float) -> Edges:
    """(receiver, sender, shift) of a graph's edges shorter than the cutoff; no edge may stand twice."""
    rows = torch.cat([graph.edges.receivers[:, None], graph.edges.senders[:, None], graph.shifts.long()], dim=1)
    rows = rows[edge_vectors(graph).norm(dim=1) < cutoff]
    edges = {tuple(row) for row in rows.tolist()}
    assert len(edges) == len(rows)
    return edges


def assert_lists_consistent(graph: Graph) -> None:
    edges, n = graph.edges, graph.n_atoms
    keys = np.column_stack([edges.receivers, edges.senders, graph.shifts.numpy().astype(int)]).tolist()
    assert keys == sorted(keys)
    assert edges.n_receivers == edges.n_senders == n
    for offsets in (edges.receiver_offsets, edges.sender_offsets):
        assert offsets.dtype == torch.int64
        assert offsets[0] == 0
        assert offsets[-1] == edges.n_edges
    assert sorted(edges.sender_order.tolist()) == list(range(edges.n_edges))
    for atom in range(n):
        assert (edges.receivers[edges.receiver_offsets[atom] : edges.receiver_offsets[atom + 1]] == atom).all()
        sent = edges.sender_order[edges.sender_offsets[atom] : edges.sender_offsets[atom + 1]]
        assert (edges.senders[sent] == atom).all()
        assert (sent[1:] > sent[:-1]).all()


def assert_right(atoms: Atoms, cutoff: float) -> Graph:
    """The graph's edges are those of brute force and of ASE, with ASE's vectors."""
    graph = neighbour_graph(atoms, cutoff)
    assert_lists_consistent(graph)
    expected = brute_force(atoms, cutoff)
    assert edges_within(graph, np.inf) == expected
    assert not graph.shifts[:, torch.tensor(~atoms.pbc)].any()
    i, j, shifts, vectors = neighbor_list("ijSD", atoms, cutoff)
    assert {(int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, shifts, strict=True)} == expected
    order = np.lexsort((*shifts.T[::-1], j, i))
    np.testing.assert_allclose(edge_vectors(graph).numpy(), vectors[order].reshape(-1, 3), rtol=0, atol=1e-12)
    return graph


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize(
    "cell",
    [np.diag([4.0, 5.0, 6.0]), TRICLINIC, LEFT_HANDED, TINY],
    ids=["orthogonal", "triclinic", "left-handed", "tiny"],
)
def test_list_equals_brute_force(cell, pbc):
    assert_right(random_atoms(0, 7, cell, pbc, spread=1.0), CUTOFF)


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("cell", [TRICLINIC, LEFT_HANDED], ids=["triclinic", "left-handed"])
def test_unwrapped_atoms_have_the_vectors_of_their_wrapped_ones(cell, pbc):
    wrapped = random_atoms(1, 6, cell, pbc)
    cells = np.random.default_rng(2).integers(-5, 6, size=(6, 3)) * np.array(pbc)
    unwrapped = wrapped.copy()
    unwrapped.positions += cells @ wrapped.cell.array
    graph = assert_right(unwrapped, CUTOFF)
    reference = neighbour_graph(wrapped, CUTOFF)
    torch.testing.assert_close(edge_vectors(graph), edge_vectors(reference), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(graph.positions, unwrapped.positions)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n_atoms=st.integers(1, 8),
    pbc=st.sampled_from(ALL_PBC),
    size=st.floats(1.5, 6.0),
    spread=st.floats(0.5, 4.0),
    cutoff=st.floats(0.5, 4.0),
)
def test_random_structures_equal_brute_force(seed, n_atoms, pbc, size, spread, cutoff):
    skewed = np.eye(3) + np.random.default_rng(seed).uniform(-0.4, 0.4, size=(3, 3))
    assert_right(random_atoms(seed, n_atoms, size * skewed, pbc, spread), cutoff)


@pytest.mark.parametrize("zero", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_zero_cell_vectors_without_pbc(zero):
    cell, pbc = TRICLINIC.copy(), np.ones(3, dtype=bool)
    atoms = random_atoms(3, 6, cell, pbc)
    cell[list(zero)] = 0.0
    pbc[list(zero)] = False
    atoms.set_cell(cell)
    atoms.pbc = pbc
    graph = assert_right(atoms, CUTOFF)
    np.testing.assert_array_equal(graph.cell[0], cell)
    assert graph.pbc[0].tolist() == pbc.tolist()


def test_cell_vectors_without_pbc_change_nothing():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    atoms.rattle(0.1, seed=0)
    with_vacuum = assert_right(atoms, CUTOFF)
    atoms.cell[2] = [0.0, 0.0, 0.0]
    without = assert_right(atoms, CUTOFF)
    assert edges_within(with_vacuum, CUTOFF) == edges_within(without, CUTOFF)
    atoms.cell[2] = [1.0, 0.0, 0.3]  # shorter than the slab is thick, and in no way normal to it
    assert edges_within(assert_right(atoms, CUTOFF), CUTOFF) == edges_within(without, CUTOFF)


@pytest.mark.parametrize("offset", [1e3, -1e6])
def test_molecule_far_from_the_origin(offset):
    atoms = molecule("CH3CH2OH")
    near = assert_right(atoms, CUTOFF)
    atoms.positions += [offset, 2 * offset, -offset]
    far = neighbour_graph(atoms, CUTOFF)
    assert edges_within(far, CUTOFF) == edges_within(near, CUTOFF)
    torch.testing.assert_close(edge_vectors(far), edge_vectors(near), rtol=0, atol=1e-15 * 4 * abs(offset))


def test_atoms_that_have_flown_away_cost_no_memory():
    """100 bins of one cutoff each in three directions would do; a box around all atoms would need 10^18."""
    cluster = Atoms("Ar30", positions=np.random.default_rng(4).uniform(0, 9, size=(30, 3)))
    pair = Atoms("Ar2", positions=[[3e6, -3e6, 3e6], [3e6, -3e6, 3e6 + 2]])
    alone = Atoms("Ar", positions=[[-3e6, 3e6, 3e6]])
    graph = neighbour_graph(alone + cluster + pair, CUTOFF)
    expected = {(i + 1, j + 1, *s) for i, j, *s in brute_force(cluster, CUTOFF)}
    assert edges_within(graph, np.inf) == expected | {(31, 32, 0, 0, 0), (32, 31, 0, 0, 0)}


@pytest.mark.parametrize("pbc", ALL_PBC)
def test_box_spans_the_atoms_so_that_bins_are_of_use(pbc):
    pbc = np.array(pbc)
    atoms = random_atoms(15, 9, TRICLINIC, pbc, spread=3.0)
    box, origin = periodic_box(atoms.positions, TRICLINIC, pbc, 0.5)
    scaled = (atoms.positions - origin) @ np.linalg.inv(box)
    np.testing.assert_allclose(scaled.min(axis=0)[~pbc], 0.0, atol=1e-12)
    np.testing.assert_allclose(scaled.max(axis=0)[~pbc], 1.0, atol=1e-12)
    np.testing.assert_array_equal(box[pbc], TRICLINIC[pbc])


def test_more_atoms_than_16_bits_count():
    n = 2**16 + 10
    positions = np.zeros((n, 3))
    positions[:, 0] = np.arange(n)
    graph = neighbour_graph(Atoms(np.ones(n, dtype=int), positions, cell=[n, 0, 0], pbc=[True, False, False]), 1.5)
    expected = np.sort(np.column_stack([np.arange(n) - 1, np.arange(n) + 1]) % n, axis=1)
    np.testing.assert_array_equal(graph.edges.senders.reshape(n, 2), expected)
    np.testing.assert_array_equal(graph.edges.senders[graph.edges.sender_order], np.repeat(np.arange(n), 2))


def test_shifts_of_old_matscipy_without_pbc_are_dropped(monkeypatch):
    """Before its issue 313 was closed, matscipy shifted atoms outside the box along directions without pbc."""
    atoms = random_atoms(16, 6, TRICLINIC, [True, False, False])
    expected = neighbour_graph(atoms, CUTOFF).shifts

    def old_neighbour_list(*args, **kwargs):
        i, j, shifts = neighbour_list(*args, **kwargs)
        return i, j, shifts + np.where(kwargs["pbc"], 0, 1)

    monkeypatch.setattr("ase_nbody.pairs.neighbour_list", old_neighbour_list)
    torch.testing.assert_close(neighbour_graph(atoms, CUTOFF).shifts, expected, rtol=0, atol=0)


def test_an_atom_is_its_own_neighbour_through_images_only():
    lattice = Atoms("Po", cell=np.eye(3) * 3.0, pbc=True)
    assert neighbour_graph(lattice, 3.01).edges.n_edges == 6
    assert neighbour_graph(lattice, 6.01).edges.n_edges == 32  # 6 + 12 + 8 + 6 images within 2 lattice constants
    lattice.pbc = [True, False, False]
    assert edges_within(neighbour_graph(lattice, 6.01), np.inf) == {(0, 0, s, 0, 0) for s in (-2, -1, 1, 2)}


@pytest.mark.parametrize(
    "atoms", [Atoms("H"), Atoms("H", cell=np.eye(3) * 9, pbc=True), Atoms("H2", [[0] * 3, [9] * 3])]
)
def test_no_edges(atoms):
    graph = neighbour_graph(atoms, 2.0)
    assert_lists_consistent(graph)
    assert graph.shifts.shape == (0, 3)
    assert edge_vectors(graph).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_of_a_graph(dtype):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    graph = neighbour_graph(atoms, 4.0, dtype=dtype, groups=[0, 1])
    assert graph.positions.dtype == graph.cell.dtype == graph.shifts.dtype == dtype
    assert graph.cell.shape == (1, 3, 3)
    assert graph.pbc.tolist() == [[True, True, True]]
    assert graph.atomic_numbers.tolist() == [11, 17]
    assert graph.structure.tolist() == graph.edges.senders.new_zeros(2).tolist()
    assert graph.groups.tolist() == [0, 1]
    batch = batch_graphs([graph, neighbour_graph(molecule("H2O"), 4.0, dtype=dtype, groups=[0, 0, 0])])
    assert batch.groups.tolist() == [0, 1, 2, 2, 2]
    before = atoms.positions.copy()
    graph.positions.add_(1.0)
    np.testing.assert_array_equal(atoms.positions, before)


def cloud(seed: int, n_atoms: int, spread: float = 4.0, **changes) -> Atoms:
    """A molecule of random atoms, far from the origin."""
    draw = np.random.default_rng(seed)
    numbers, place = draw.choice([1, 6, 8], n_atoms), draw.normal(scale=100.0, size=3)
    return Atoms(numbers, place + spread * draw.random((n_atoms, 3)), **changes)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("limits", [None, distance_table({"C-H": 1.0, "O-O": 1.5}, default=0.8)], ids=["", "limits"])
@pytest.mark.parametrize(
    "structures",
    [
        [cloud(seed, n_atoms) for seed, n_atoms in enumerate((9, 1, 30, 2, 9))],
        [cloud(0, 4), cloud(1, 4, cell=np.diag([7.0, 8.0, 9.0])), cloud(2, 4, cell=[0.0, 0.0, 3.0])],
        [cloud(0, 5, spread=4000.0), cloud(1, 12), cloud(2, 3, spread=300.0)],  # atoms that have flown away
        [Atoms("H", [[0.0, 0.0, 0.0]])] * 3,  # no edges
        [Atoms("H2", [[7.0, 0.0, 0.0], [7.7, 0.0, 0.0]]), Atoms("H2", [[0.0, 0.0, 0.0], [0.7, 0.0, 0.0]])],
        [cloud(0, 7)],
        [cloud(0, 7), bulk("Si"), cloud(1, 7)],
        [cloud(0, 6), molecule("H2O", tags=[0, 0, 0])],
    ],
    ids=["molecules", "cells", "far", "alone", "places", "one", "crystal", "tags"],
)
def test_a_batch_has_the_pairs_of_each_structure(structures, limits, dtype):
    several = [neighbour_graph(atoms, CUTOFF, dtype=dtype, limits=limits) for atoms in structures]
    joint, each = batch_graph(structures, CUTOFF, dtype=dtype, limits=limits), batch_graphs(several)
    for name in ("atomic_numbers", "positions", "cell", "pbc", "structure", "shifts", "contacts"):
        ours, theirs = getattr(joint, name), getattr(each, name)
        assert (ours is None and theirs is None) or (ours.dtype == theirs.dtype and torch.equal(ours, theirs)), name
    for name in ("senders", "receivers", "receiver_offsets", "sender_order", "sender_offsets"):
        assert torch.equal(getattr(joint.edges, name), getattr(each.edges, name)), name


@pytest.mark.parametrize(
    ("sizes", "expected"), [((4, 4, 4, 9, 1), [[0, 1], [2], [3], [4]]), ((9,), [[0]]), ((8, 1), [[0], [1]]), ((), [])]
)
def test_batches_have_at_most_so_many_atoms_or_one_structure(sizes, expected):
    assert list(batches_of_structures([cloud(0, size) for size in sizes], 8)) == expected


def test_a_batch_keeps_groups():
    grouped = cloud(0, 4)
    grouped.arrays["groups"] = np.array([0, 1, 1, 0])
    joint = batch_graph([grouped, grouped], CUTOFF)
    assert joint.groups is not None and joint.groups.tolist() == [0, 1, 1, 0, 2, 3, 3, 2]


@pytest.mark.parametrize("others", [[], [bulk("Si")]], ids=["molecules", "crystal"])
def test_a_structure_of_a_batch_is_refused_by_its_number(others):
    bad = molecule("H2O")
    bad.positions[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^structure 7: positions are not finite"):
        batch_graph([*others, molecule("CH4"), bad], CUTOFF, numbers=[*(5 for _ in others), 3, 7])
    with pytest.raises(ValueError, match=r"^positions are not finite"):
        batch_graph([*others, bad], CUTOFF)
    with pytest.raises(ValueError, match=r"^structure 1: element 'C' is not in this model"):
        batch_graph([molecule("H2O"), molecule("CH4")], CUTOFF, elements=["H", "O"], numbers=[0, 1])
    ungrouped = molecule("H2O")
    ungrouped.arrays["groups"] = np.array([0, 2, 2])
    with pytest.raises(ValueError, match=r"^structure 4: groups must be numbered"):
        batch_graph([*others, ungrouped], CUTOFF, numbers=[*(5 for _ in others), 4])


def test_reading_leaves_atoms_as_they_are():
    atoms = random_atoms(5, 5, TRICLINIC, [True, False, True], spread=4.0)
    for array in (atoms.positions, atoms.cell.array, atoms.numbers, atoms.pbc):
        array.flags.writeable = False
    cache = NeighbourCache(CUTOFF, 0.5)
    for _ in range(2):
        cache.graph(atoms)
    check_structure(atoms)


# Reuse with a skin


def fluctuating(kind: str, n_steps: int):
    """A structure at each step of a random walk of its atoms, its cell, or both. Yields fresh copies."""
    rng = np.random.default_rng(6)
    pbc = {"slab": [True, True, False], "molecule": False}.get(kind, True)
    atoms = random_atoms(7, 12, 1.5 * TRICLINIC, pbc)
    if kind == "molecule":
        atoms.cell = np.zeros((3, 3))
    for step in range(n_steps):
        if kind in ("npt", "slab"):
            factor = 1 + 0.08 * np.sin(0.4 * step) - 0.08 * np.sin(0.4 * (step - 1))
            atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
        if kind == "shear":
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * np.eye(3, k=-1)), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.03, size=atoms.positions.shape)
        yield atoms.copy()


@pytest.mark.parametrize("kind", ["md", "molecule", "npt", "shear", "slab"])
def test_skin_list_equals_fresh_list(kind):
    cache = NeighbourCache(CUTOFF, 0.6)
    for atoms in fluctuating(kind, 80):
        graph = cache.graph(atoms)
        fresh = neighbour_graph(atoms, CUTOFF)
        assert edges_within(graph, CUTOFF) == edges_within(fresh, CUTOFF)
        close = edge_vectors(graph).norm(dim=1) < CUTOFF
        torch.testing.assert_close(edge_vectors(graph)[close], edge_vectors(fresh), rtol=0, atol=1e-12)
        torch.testing.assert_close(graph.cell, fresh.cell, rtol=0, atol=0)
        assert_lists_consistent(graph)
    assert cache.builds + cache.reuses == 80
    assert cache.builds >= 5
    assert cache.reuses >= 20


def test_wrapping_between_two_calls():
    cache = NeighbourCache(CUTOFF, 0.5)
    atoms = random_atoms(8, 8, TRICLINIC, True, spread=3.0)
    vectors = edge_vectors(cache.graph(atoms))
    atoms.wrap()
    graph = cache.graph(atoms)
    assert cache.builds == 2
    torch.testing.assert_close(edge_vectors(graph), vectors, rtol=0, atol=1e-12)
    assert edges_within(graph, CUTOFF) == brute_force(atoms, CUTOFF)


@pytest.mark.parametrize(("approach", "reused"), [(0.499, True), (0.501, False)])
def test_a_pair_from_outside_the_list_cannot_enter_unseen(approach, reused):
    """Two atoms just beyond cutoff + skin approach head-on: half the skin each is the last safe step."""
    cutoff, skin = 3.0, 1.0
    cache = NeighbourCache(cutoff, skin)
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [cutoff + skin + 1e-6, 0, 0]])
    assert cache.graph(atoms).edges.n_edges == 0
    atoms.positions[:, 0] += [approach * skin, -approach * skin]
    graph = cache.graph(atoms)
    assert (cache.builds, cache.reuses) == ((1, 1) if reused else (2, 0))
    assert edges_within(graph, cutoff) == brute_force(atoms, cutoff)


@pytest.mark.parametrize(("strain", "reused"), [(-0.249, True), (-0.251, False)])
def test_compression_brings_images_in(strain, reused):
    """A lattice of constant cutoff + skin: images come within the cutoff at the strain -skin / (cutoff + skin)."""
    cutoff, skin = 3.0, 1.0
    cache = NeighbourCache(cutoff, skin)
    atoms = Atoms("Ar", cell=np.eye(3) * (cutoff + skin + 1e-6), pbc=True)
    assert cache.graph(atoms).edges.n_edges == 0
    atoms.set_cell(atoms.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
    graph = cache.graph(atoms)
    assert (cache.builds, cache.reuses) == ((1, 1) if reused else (2, 0))
    assert edges_within(graph, cutoff) == brute_force(atoms, cutoff)
    assert graph.edges.n_edges == (0 if reused else 2)


def test_expansion_does_not_hide_displacements():
    """Under expansion by F the list reaches (cutoff + skin) F, and atoms may have come closer by twice u."""
    cache = NeighbourCache(3.0, 0.5)
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [3.5001, 0, 0]], cell=np.eye(3) * 12, pbc=True)
    assert cache.graph(atoms).edges.n_edges == 0
    atoms.set_cell(np.eye(3) * 13.2, scale_atoms=True)
    atoms.positions[:, 0] += [0.43, -0.43]
    assert edges_within(cache.graph(atoms), 3.0) == {(0, 1, 0, 0, 0), (1, 0, 0, 0, 0)}


def test_a_cell_that_shrinks_around_unmoved_atoms():
    """Positions do not move, but images come closer by much more than the strain of a bond."""
    cache = NeighbourCache(3.0, 0.5)
    atoms = Atoms("Ar2", positions=[[0, 0, 0], [36, 0, 0]], cell=[40, 10, 10], pbc=True)
    assert cache.graph(atoms).edges.n_edges == 0
    atoms.set_cell([38, 10, 10], scale_atoms=False)
    assert edges_within(cache.graph(atoms), 3.0) == {(0, 1, -1, 0, 0), (1, 0, 1, 0, 0)}


def test_homogeneous_strain_of_a_long_cell_is_no_displacement():
    """Atoms at the far end move by much more than the skin; bonds change by a percent."""
    cache = NeighbourCache(3.0, 0.5)
    atoms = Atoms("Ar20", positions=[[4.0 * n, 0, 0] for n in range(20)], cell=[80, 10, 10], pbc=[True, True, False])
    cache.graph(atoms)
    atoms.set_cell([79.2, 10, 10], scale_atoms=True)
    cache.graph(atoms)
    assert (cache.builds, cache.reuses) == (1, 1)


def test_reuse_keeps_the_list_and_takes_the_new_geometry():
    cache = NeighbourCache(CUTOFF, 0.5)
    atoms = random_atoms(9, 10, TRICLINIC, True)
    first = cache.graph(atoms)
    kept = first.positions.clone()
    atoms.positions[3] += 0.1
    second = cache.graph(atoms)
    assert (cache.builds, cache.reuses) == (1, 1)
    assert second.edges is first.edges
    assert second.shifts is first.shifts
    np.testing.assert_array_equal(second.positions, atoms.positions)
    torch.testing.assert_close(first.positions, kept, rtol=0, atol=0)


def _substitute(atoms):
    atoms.numbers[0] = 6
    return atoms


def _open(atoms):
    atoms.pbc = [True, False, True]
    return atoms


@pytest.mark.parametrize("change", [_substitute, _open, lambda a: a[1:], lambda a: a + Atoms("H", [[0.5, 0.5, 0.5]])])
def test_another_structure_is_built_anew(change):
    cache = NeighbourCache(CUTOFF, 0.5)
    atoms = random_atoms(10, 6, TRICLINIC, True)
    cache.graph(atoms)
    changed = change(atoms.copy())
    graph = cache.graph(changed)
    assert (cache.builds, cache.reuses) == (2, 0)
    assert graph.atomic_numbers.tolist() == changed.numbers.tolist()
    assert edges_within(graph, CUTOFF) == brute_force(changed, CUTOFF)


def test_without_skin_only_the_same_structure_is_reused():
    cache = NeighbourCache(CUTOFF, 0.0)
    atoms = random_atoms(11, 6, TRICLINIC, True)
    cache.graph(atoms)
    cache.graph(atoms.copy())
    assert (cache.builds, cache.reuses) == (1, 1)
    atoms.positions[0, 0] += 1e-9
    cache.graph(atoms)
    assert cache.builds == 2


def test_another_dtype_is_built_anew():
    cache = NeighbourCache(CUTOFF, 0.5)
    atoms = random_atoms(12, 6, TRICLINIC, True)
    cache.graph(atoms, dtype=torch.float32)
    graph = cache.graph(atoms, dtype=torch.float64)
    np.testing.assert_array_equal(graph.cell[0], atoms.cell.array)
    assert graph.shifts.dtype == torch.float64


def test_a_cache_can_be_copied_and_pickled():
    cache = NeighbourCache(CUTOFF, 0.5)
    atoms = random_atoms(13, 6, TRICLINIC, True)
    cache.graph(atoms)
    for twin in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        twin.graph(atoms)
        assert (twin.builds, twin.reuses) == (1, 1)


# Bad input


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite_are_named(bad):
    atoms = random_atoms(14, 12, TRICLINIC, True)
    cache = NeighbourCache(CUTOFF, 0.5)
    cache.graph(atoms)
    atoms.positions[4, 1] = bad
    for call in (check_structure, cache.graph, lambda a: neighbour_graph(a, CUTOFF)):
        with pytest.raises(ValueError, match=r"positions are not finite \(atom 4: "):
            call(atoms)
    atoms.positions[:] = bad
    with pytest.raises(ValueError, match=r"atom 0: .*atom 4: .*and 7 more"):
        check_structure(atoms)


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        (np.zeros((3, 3)), True),
        (np.diag([4.0, 4.0, 0.0]), True),
        (np.diag([4.0, 4.0, 0.0]), [False, False, True]),
        (np.array([[4.0, 0, 0], [8.0, 0, 0], [0, 0, 4.0]]), True),
        (np.array([[4.0, 1, 0], [4.0, 1, 1e-9], [0, 0, 4.0]]), [True, True, False]),
        (np.eye(3) * 1e-3, True),
    ],
)
def test_degenerate_cell(cell, pbc):
    atoms = Atoms("H", cell=cell, pbc=pbc)
    with pytest.raises(ValueError, match=r"degenerate along its periodic directions .* switch pbc off"):
        check_structure(atoms)
    cache = NeighbourCache(CUTOFF, 0.5)
    cache.graph(Atoms("H", cell=np.eye(3) * 5, pbc=pbc))
    with pytest.raises(ValueError, match="degenerate"):
        cache.graph(atoms)


@pytest.mark.parametrize("pbc", [True, False])
def test_cell_that_is_not_finite(pbc):
    cell = np.eye(3) * 5
    cache = NeighbourCache(CUTOFF, 0.5)
    cache.graph(Atoms("H", cell=cell, pbc=pbc))
    cell[2, 1] = np.nan
    with pytest.raises(ValueError, match="the cell is not finite"):
        cache.graph(Atoms("H", cell=cell, pbc=pbc))


def test_degenerate_cell_without_pbc_is_allowed():
    check_structure(Atoms("H", cell=[[4.0, 0, 0], [8.0, 0, 0], [0, 0, 0]], pbc=False))


def test_empty_structure():
    with pytest.raises(ValueError, match="the structure has no atoms"):
        check_structure(Atoms())


def test_unknown_elements_are_named():
    check_structure(molecule("CH3OH"), ("H", "C", "N", "O"))
    with pytest.raises(ValueError) as error:
        check_structure(Atoms("BrH"), ("H", "C", "N", "O"))
    expected = (
        "element 'Br' is not in this model (H, C, N, O); choose another model (nbody models) or train one "
        "(nbody train --data FILE)"
    )
    assert str(error.value) == expected
    with pytest.raises(ValueError, match="elements 'Cl', 'Br' are not in this model"):
        check_structure(Atoms("BrClH"), ("H", "C", "N", "O"))


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf])
def test_bad_cutoff(cutoff):
    with pytest.raises(ValueError, match="the cutoff is"):
        neighbour_graph(Atoms("H"), cutoff)
    with pytest.raises(ValueError, match="the cutoff is"):
        NeighbourCache(cutoff, 0.5)


@pytest.mark.parametrize("skin", [-0.1, np.nan, np.inf])
def test_bad_skin(skin):
    with pytest.raises(ValueError, match="the skin is"):
        NeighbourCache(CUTOFF, skin)


@pytest.mark.parametrize("groups", [[0], [0, 1, 3], [1, 1, 2], [-1, 0, 1], [0.0, 0.0, 1.0], [[0, 0, 0]]])
def test_bad_groups(groups):
    with pytest.raises(ValueError, match="groups must be"):
        neighbour_graph(molecule("H2O"), CUTOFF, groups=groups)
