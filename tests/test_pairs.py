"""Boxes that are nearly empty, and cells that are skewed: the right pairs, with memory that grows with the atoms."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from test_neighbours import ALL_PBC, CUTOFF, TRICLINIC, assert_right, brute_force, edges_within, random_atoms
from toy_network import toy_potential

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.pairs import _ALWAYS_BINNED, _images
from ase_nbody.structures import cell_heights, check_structure, reduced_cell

ROUNDING = 1e-10  # eV, eV/angstrom and eV/angstrom^3: results of one crystal in two cells
HESSIAN_ROUNDING = 5e-9  # eV/angstrom^2, from vectors of 12,000 angstrom that cancel
SKEWED = {
    "far": [[1, 0, 0], [100, 1, 0], [0, 0, 1]],
    "farther": [[1, 0, 0], [3000, 1, 0], [0, -2000, 1]],
    "twice": [[1, 7, -3], [0, 1, 5], [0, 0, 1]],
    "left-handed": [[0, 1, 0], [1, 60, 0], [40, 0, 1]],
}


def huge(kind: str, pbc, lengths) -> Atoms:
    """Nine atoms in a box with the given lengths, triclinic unless they are spread over it."""
    shape = np.eye(3) if kind == "spread" else TRICLINIC / np.linalg.norm(TRICLINIC, axis=1)[:, None]
    cell = shape * np.array(lengths)[:, None]
    cell = cell[[1, 0, 2]] if kind == "left-handed" else cell
    atoms = random_atoms(0, 9, cell, pbc)
    if kind != "spread":
        atoms.positions = molecule("CH3CH2OH").positions
    if kind == "across the corner":
        atoms.positions += cell.sum(axis=0) * np.array(pbc) - 0.7
        atoms.wrap()
    if kind == "unwrapped":
        atoms.positions += np.random.default_rng(1).integers(-3, 4, size=(9, 3)) * np.array(pbc) @ cell
    return atoms


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("kind", ["compact", "across the corner", "unwrapped", "left-handed", "spread"])
@pytest.mark.parametrize("lengths", [(7e3, 7e3, 7e3), (7e3, 4.0, 9e4), (3.0, 4.0, 1e7)], ids=["3", "2", "1"])
def test_pairs_in_huge_boxes(kind, pbc, lengths):
    atoms = huge(kind, pbc, lengths)
    graph = neighbour_graph(atoms, CUTOFF)
    assert edges_within(graph, np.inf) == brute_force(atoms, CUTOFF)
    if kind == "unwrapped" and all(pbc):
        wrapped = atoms.copy()
        wrapped.wrap()
        assert graph.edges.n_edges == neighbour_graph(wrapped, CUTOFF).edges.n_edges > 0


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("seed", range(3))
def test_both_ways_to_the_pairs_agree(monkeypatch, pbc, seed):
    """The k-d tree, which nearly empty boxes are for, in small and dense ones."""
    atoms = random_atoms(seed, 12, TRICLINIC * [0.4, 1.0, 1.7][seed], pbc, spread=4.0)
    binned = neighbour_graph(atoms, CUTOFF)
    monkeypatch.setattr("ase_nbody.pairs._ALWAYS_BINNED", 0)
    monkeypatch.setattr("ase_nbody.pairs._BINS_PER_ATOM", 0)
    monkeypatch.delattr("ase_nbody.pairs.neighbour_list")
    assert edges_within(assert_right(atoms, CUTOFF), np.inf) == edges_within(binned, np.inf)


def test_pairs_at_the_cutoff_are_left_out_in_both_ways():
    for length in (10.0, 1e6):
        atoms = Atoms("Ar3", [[0, 0, 0], [3.0, 0, 0], [0, 2.999999, 0]], cell=[length] * 3, pbc=True)
        assert edges_within(neighbour_graph(atoms, 3.0), np.inf) == {(0, 2, 0, 0, 0), (2, 0, 0, 0, 0)}


def test_images_are_those_within_reach_of_the_atoms():
    atoms, steps = _images(
        np.array([[0.1, 0.5, 0.5], [0.8, 0.5, 0.5]]), np.array([0.35, 0.2, 0.2]), np.array([True] * 3)
    )
    images = sorted((int(a), *map(int, s)) for a, s in zip(atoms, steps, strict=True))
    assert images == [(0, 0, 0, 0), (0, 1, 0, 0), (1, -1, 0, 0), (1, 0, 0, 0)]


MEMORY = """
import resource
import numpy as np
from ase import Atoms
from ase_nbody.neighbours import neighbour_graph
positions = np.random.default_rng(0).random((9, 3))
neighbour_graph(Atoms("H9", positions, cell=[10.0] * 3, pbc=True), 5.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for spread in (1.0, 1e5):
    graph = neighbour_graph(Atoms("H9", spread * positions, cell=[1e5] * 3, pbc=True), 5.0)
    print(graph.edges.n_edges)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_bounded_by_the_atoms():
    """Bins of the cutoff in 10^15 cubic angstrom would be 3e13 bytes."""
    words = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout.split()
    assert words[:2] == ["72", "0"]
    assert int(words[2]) < 20e3 * (1024 if sys.platform == "darwin" else 1)  # kB, on a Mac bytes
    assert 4 * _ALWAYS_BINNED < 1e6


# Skewed cells


@pytest.mark.parametrize("kind", SKEWED)
@pytest.mark.parametrize("pbc", [[True] * 3, [True, True, False], [False, True, True], [True, False, True]])
def test_a_reduced_cell_spans_the_same_lattice_by_short_vectors(kind, pbc):
    pbc = np.array(pbc)
    short = TRICLINIC
    cell = np.array(SKEWED[kind]) @ short
    cell[~pbc] = 0.0
    reduced, whole = reduced_cell(cell, pbc)
    np.testing.assert_allclose(whole @ cell, reduced, rtol=0, atol=1e-9)
    assert abs(round(np.linalg.det(whole))) == 1
    np.testing.assert_array_equal(whole[~pbc], np.eye(3)[~pbc])
    np.testing.assert_array_equal(whole[:, ~pbc], np.eye(3)[:, ~pbc])
    rows = reduced[pbc]
    volume = np.linalg.svd(rows, compute_uv=False).prod()
    assert np.linalg.norm(rows, axis=1).prod() < 1.5 * volume
    assert volume == pytest.approx(np.linalg.svd(cell[pbc], compute_uv=False).prod(), rel=1e-6)


def test_ordinary_cells_stay_as_they_are():
    for cell in (bulk("Cu").cell.array, bulk("Mg").cell.array, TRICLINIC, np.diag([7e5, 3.0, 3.0])):
        reduced, whole = reduced_cell(cell, np.ones(3, dtype=bool))
        assert reduced is cell
        np.testing.assert_array_equal(whole, np.eye(3))


@pytest.mark.parametrize("kind", SKEWED)
@pytest.mark.parametrize("scale", [1.0, 3e4], ids=["dense", "nearly empty"])
def test_pairs_of_a_skewed_cell_are_those_of_the_short_one(kind, scale):
    matrix = np.array(SKEWED[kind])
    short = random_atoms(3, 6, TRICLINIC, True)
    short.set_cell(scale * TRICLINIC)
    skewed = short.copy()
    skewed.set_cell(matrix @ short.cell.array)
    check_structure(skewed)
    graph = neighbour_graph(skewed, CUTOFF)
    shifts = graph.shifts.numpy().astype(int) @ matrix  # in the short cell's vectors
    edges = {(*e[:2], *s) for e, s in zip(_rows(graph), shifts.tolist(), strict=True)}
    assert edges == brute_force(short, CUTOFF)
    assert len(edges) > 6
    assert edges_within(NeighbourCache(CUTOFF, 0.4).graph(skewed), CUTOFF) == edges_within(graph, np.inf)


def _rows(graph) -> list[list[int]]:
    return np.column_stack([graph.edges.receivers, graph.edges.senders]).tolist()


@pytest.mark.parametrize("pbc", [[True, True, False], [False, True, True], [True, False, True], [False, True, False]])
def test_pairs_of_skewed_slabs_equal_brute_force(pbc):
    cell = np.array([[3.0, 0, 0.2], [60, 3.5, 0], [30, 70, 4.0]])
    atoms = random_atoms(5, 5, TRICLINIC, pbc)
    atoms.set_cell(cell)
    assert edges_within(neighbour_graph(atoms, CUTOFF), np.inf) == brute_force(atoms, CUTOFF)


@pytest.mark.parametrize("kind", SKEWED)
def test_results_do_not_depend_on_the_choice_of_the_cell(kind):
    short = Atoms("HCO", TRICLINIC * [[0.1], [0.45], [0.3]], cell=TRICLINIC, pbc=True)
    skewed = short.copy()
    skewed.set_cell(np.array(SKEWED[kind]) @ TRICLINIC)
    for atoms in (short, skewed):
        atoms.calc = NBodyCalculator(toy_potential(), device="cpu")
    assert np.abs(short.get_forces()).max() > 0.01
    assert skewed.get_potential_energy() == pytest.approx(short.get_potential_energy(), abs=ROUNDING)
    np.testing.assert_allclose(skewed.get_forces(), short.get_forces(), rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(skewed.get_stress(), short.get_stress(), rtol=0, atol=ROUNDING)
    hessians = skewed.calc.get_hessian(skewed), short.calc.get_hessian(short)
    np.testing.assert_allclose(*hessians, rtol=0, atol=HESSIAN_ROUNDING)


def test_faces_of_the_short_cell_must_be_apart():
    flat = np.array([[1, 0, 0], [100, 1, 0], [0, 0, 1]]) @ np.diag([4.0, 0.05, 4.0])
    with pytest.raises(ValueError, match=r"degenerate .* opposite faces are 0\.05 angstrom apart"):
        check_structure(Atoms("H", cell=flat, pbc=True))
    np.testing.assert_allclose(cell_heights(np.array([[2.0, 0, 0], [5.0, 3.0, 0], [0, 0, 4.0]])), [6 / 34**0.5, 3, 4])
    np.testing.assert_array_equal(cell_heights(np.zeros((3, 3))), 0.0)
