"""The neighbour list of GPUs, on the CPU: the pairs of the other list, in its order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from test_neighbours import ALL_PBC, LEFT_HANDED, TRICLINIC, random_atoms

from ase_nbody.contacts import ContactSearch, near_edges
from ase_nbody.cuda import binned_pairs as module
from ase_nbody.cuda.binned_pairs import binned_pairs
from ase_nbody.neighbours import neighbour_graph

CUTOFF = 1.9
CELLS = {"triclinic": 2.2 * TRICLINIC, "left-handed": 2.2 * LEFT_HANDED, "cubic": 8.5 * np.eye(3)}


@pytest.fixture(autouse=True)
def few_atoms_pay(monkeypatch):
    monkeypatch.setattr(module, "FEWEST_ATOMS", 0)


def assert_same_pairs(atoms: Atoms, cutoff: float) -> None:
    found = binned_pairs(atoms.positions, atoms.cell.array, atoms.pbc, cutoff, "cpu")
    assert found is not None
    wanted = neighbour_graph(atoms, cutoff)
    for name, tensor in vars(wanted.edges).items():
        assert torch.equal(getattr(found[0], name), tensor), name
    assert torch.equal(found[1], wanted.shifts)


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("cell", CELLS)
def test_pairs_and_their_order_are_those_of_the_cpu(cell, pbc):
    atoms = random_atoms(0, 150, CELLS[cell], pbc)
    assert_same_pairs(atoms, CUTOFF)
    atoms.positions += np.random.default_rng(1).integers(-3, 4, size=(150, 3)) * np.array(pbc) @ atoms.cell.array
    assert_same_pairs(atoms, CUTOFF)


def test_receivers_are_taken_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "_CANDIDATES", 1000)
    assert_same_pairs(random_atoms(2, 200, CELLS["triclinic"], True), CUTOFF)


def test_atoms_on_faces_and_at_one_place():
    places = [[0, 0, 0], [8.5, 0, 0], [0, 8.5 - 1e-15, 0.5], [1, 1, 1], [1, 1, 1], [-1e-17, 4, 4], [8.5, 8.5, 8.5]]
    assert_same_pairs(Atoms("Si7", places, cell=CELLS["cubic"], pbc=True), CUTOFF)


def test_no_pairs():
    apart = bulk("Po", "sc", a=2.125) * 4
    assert_same_pairs(apart, CUTOFF)
    assert neighbour_graph(apart, CUTOFF).edges.n_edges == 0


@pytest.mark.parametrize("why", ["narrow cell", "nearly empty", "few atoms"])
def test_the_other_list_is_left_what_does_not_suit(why, monkeypatch):
    atoms = random_atoms(0, 100, CELLS["cubic"], True)
    if why == "narrow cell":
        atoms.set_cell([5.6, 8.5, 8.5])
    if why == "nearly empty":
        atoms.set_cell([900.0, 900.0, 900.0])
    if why == "few atoms":
        monkeypatch.setattr(module, "FEWEST_ATOMS", 101)
    assert binned_pairs(atoms.positions, atoms.cell.array, atoms.pbc, CUTOFF, "cpu") is None


def test_near_edges_are_those_shorter_than_limit_and_margin():
    atoms = random_atoms(3, 150, CELLS["triclinic"], True)
    atoms.symbols[::2] = "C"
    graph = neighbour_graph(atoms, 3.0)
    limits = np.zeros((119, 119))
    limits[6, 6], limits[6, 14], limits[14, 6] = 1.0, 1.5, 1.5
    found = near_edges(atoms, graph.edges, graph.shifts, limits, 0.4)
    ends = (graph.edges.senders.numpy(), graph.edges.receivers.numpy(), graph.shifts.numpy())
    search = ContactSearch(*ends, atoms.numbers, limits + 0.4, 0.0, atoms.positions, atoms.cell.array)
    np.testing.assert_array_equal(found.numpy(), search.contacts(atoms.positions, atoms.cell.array, 0.0, 1.0))
    assert 0 < len(found) < graph.edges.n_edges
