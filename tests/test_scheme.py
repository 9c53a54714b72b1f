"""Composition schemes: Definition 1, parts, neighbourhoods, fragments, bonded groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.scheme import CompositionScheme, Level, bonded_groups, fragments, neighbourhoods


def chain(n_atoms: int = 7) -> Graph:
    """Carbon atoms in a row, 1.2 angstrom apart: neighbours are those next to each other."""
    return neighbour_graph(Atoms(f"C{n_atoms}", positions=[(1.2 * n, 0, 0) for n in range(n_atoms)]), cutoff=1.5)


def water_dimer() -> Atoms:
    """Two waters 3 angstrom apart, their atoms in turns."""
    first, second = molecule("H2O"), molecule("H2O")
    second.translate([0.3, 0.2, 3.0])
    return (second + first)[[0, 3, 1, 4, 2, 5]]


def edges(pairs: list[tuple[int, int]], n_senders: int, n_receivers: int) -> EdgeList:
    """Children of parents from (child, parent) pairs."""
    table = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return edge_list(table[:, 0], table[:, 1], n_senders, n_receivers)


def level(children: EdgeList, n_nodes: int | None = None, *, contains_itself: bool = False) -> Level:
    count = children.n_receivers if n_nodes is None else n_nodes
    return Level(children, torch.zeros(children.n_edges, 3), torch.zeros(count, 3), torch.zeros(1), contains_itself)


def scheme(*levels: Level, n_atoms: int = 3) -> CompositionScheme:
    return CompositionScheme(torch.zeros(n_atoms, dtype=torch.int64), torch.zeros(n_atoms, 3), levels)


def parts_as_sets(made: CompositionScheme, number: int) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) for row in made.parts(number).toarray()]


# --- Definition 1 ----------------------------------------------------------------------------------------------------


def test_nodes_without_children_are_refused():
    with pytest.raises(ValueError, match=r"nodes \[1\] of level 1 have no children"):
        scheme(level(edges([(0, 0), (1, 0), (2, 2)], 3, 3)))


def test_nodes_without_parents_are_refused():
    with pytest.raises(ValueError, match=r"nodes \[1\] below level 1 have no parent, so the root misses atoms"):
        scheme(level(edges([(0, 0), (2, 0)], 3, 1)))


@pytest.mark.parametrize(("n_senders", "n_nodes"), [(4, 1), (3, 2)])
def test_counts_of_nodes_that_do_not_fit_are_refused(n_senders, n_nodes):
    with pytest.raises(ValueError, match=f"level 1 takes {n_senders} children to 1 nodes, but the levels have 3 and"):
        scheme(level(edges([(0, 0), (1, 0), (2, 0)], n_senders, 1), n_nodes))


def test_second_level_must_fit_the_first():
    first = level(edges([(0, 0), (1, 0), (2, 1)], 3, 2))
    with pytest.raises(ValueError, match="level 2"):
        scheme(first, level(edges([(0, 0), (1, 0), (2, 0)], 3, 1)))


def test_nodes_that_contain_themselves_must_be_as_many_as_below():
    with pytest.raises(ValueError, match="to contain themselves they must be 3"):
        scheme(level(edges([(0, 0), (1, 0), (2, 1)], 3, 2), contains_itself=True))


def test_parts_of_a_scheme_that_is_no_tree():
    """Atom 1 belongs to both groups; leaves are single atoms, the root holds all, descendants are contained."""
    made = scheme(level(edges([(0, 0), (1, 0), (1, 1), (2, 1)], 3, 2)), level(edges([(0, 0), (1, 0)], 2, 1)))
    assert parts_as_sets(made, 0) == [{0}, {1}, {2}]
    assert parts_as_sets(made, 1) == [{0, 1}, {1, 2}]
    assert parts_as_sets(made, 2) == [{0, 1, 2}]


@pytest.mark.parametrize(
    "made",
    [
        neighbourhoods(chain(), 3),
        neighbourhoods(neighbour_graph(bulk("C", cubic=True), 2.0), 2),
        fragments(neighbour_graph(water_dimer(), 4.0, groups=[0, 1, 0, 1, 0, 1])),
    ],
    ids=["chain", "crystal", "fragments"],
)
def test_definition_1_holds_of_built_schemes(made):
    n_atoms = len(made.structure)
    assert parts_as_sets(made, 0) == [{n} for n in range(n_atoms)]
    for number, upper in enumerate(made.levels, start=1):
        below, here = parts_as_sets(made, number - 1), parts_as_sets(made, number)
        pairs = list(zip(upper.children.senders.tolist(), upper.children.receivers.tolist(), strict=True))
        assert pairs and all(below[child] <= here[parent] for child, parent in pairs)
        if upper.contains_itself:
            assert all(one <= other for one, other in zip(below, here, strict=True))
    assert set().union(*parts_as_sets(made, len(made.levels))) == set(range(n_atoms))


# --- neighbourhoods --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_neighbourhoods_of_a_chain_are_the_atoms_within_that_many_bonds(depth):
    made = neighbourhoods(chain(7), depth)
    assert parts_as_sets(made, depth) == [{j for j in range(7) if abs(i - j) <= depth} for i in range(7)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_neighbourhoods_of_a_molecule_are_those_of_a_breadth_first_search(depth):
    atoms = molecule("CH3CH2OH")
    near = atoms.get_all_distances() < 1.7
    reached = np.linalg.matrix_power(near.astype(int), depth) > 0  # the diagonal is near itself
    made = neighbourhoods(neighbour_graph(atoms, 1.7), depth)
    np.testing.assert_array_equal(made.parts(depth).toarray(), reached)
    assert not reached.all() or depth == 3


def test_neighbourhoods_of_a_ring_close_through_the_boundary():
    ring = Atoms("C6", positions=[(1.2 * n, 0, 0) for n in range(6)], cell=[7.2, 0, 0], pbc=[True, False, False])
    made = neighbourhoods(neighbour_graph(ring, 1.5), 2)
    assert parts_as_sets(made, 2) == [{(i + d) % 6 for d in (-2, -1, 0, 1, 2)} for i in range(6)]


def test_images_of_one_atom_are_one_atom():
    made = neighbourhoods(neighbour_graph(bulk("Cu"), 3.0), 2)
    assert made.levels[0].children.n_edges == 12
    assert parts_as_sets(made, 2) == [{0}]


def test_levels_of_neighbourhoods_are_at_the_atoms():
    graph = chain(4)
    made = neighbourhoods(graph, 2)
    assert len(made.levels) == 2
    for upper in made.levels:
        assert torch.equal(upper.positions, graph.positions)
        assert torch.equal(upper.node_of_atom, torch.arange(4))
        children, parents = graph.positions[upper.children.senders], graph.positions[upper.children.receivers]
        assert torch.equal(upper.vectors, children - parents)


def test_an_atom_alone_is_a_neighbourhood():
    made = neighbourhoods(neighbour_graph(Atoms("C"), 3.0), 2)
    assert parts_as_sets(made, 2) == [{0}]


# --- fragments -------------------------------------------------------------------------------------------------------


def graph_of(atoms: Atoms) -> Graph:
    return neighbour_graph(atoms, 4.0)


def test_groups_are_the_bonded_ones_unless_given():
    atoms = water_dimer()
    assert parts_as_sets(fragments(graph_of(atoms)), 1) == [{0, 2, 4}, {1, 3, 5}]
    atoms.set_array("groups", np.array([0, 0, 1, 1, 1, 1]))
    assert parts_as_sets(fragments(graph_of(atoms)), 1) == [{0, 1}, {2, 3, 4, 5}]


def test_a_batch_may_have_groups_in_some_structures_only():
    given = water_dimer()
    given.set_array("groups", np.array([0, 0, 1, 1, 1, 1]))
    made = fragments(batch_graphs([graph_of(water_dimer()), graph_of(given), graph_of(Atoms("O"))]))
    parts = {frozenset(part) for part in parts_as_sets(made, 1)}
    assert parts == {frozenset(p) for p in ({0, 2, 4}, {1, 3, 5}, {6, 7}, {8, 9, 10, 11}, {12})}


def test_bonded_groups_of_a_water_dimer_are_the_two_molecules():
    groups = bonded_groups(graph_of(water_dimer()))
    assert groups.dtype == torch.int64
    assert groups.tolist() == [0, 1, 0, 1, 0, 1]


def test_bonded_groups_of_atoms_that_are_not_bonded():
    assert bonded_groups(graph_of(Atoms("He3", positions=[(0, 0, 0), (0, 0, 5), (0, 0, 10)]))).tolist() == [0, 1, 2]
    assert bonded_groups(graph_of(molecule("C6H6"))).tolist() == [0] * 12


def test_bonds_end_at_1_2_times_the_sum_of_covalent_radii():
    """H and O: 1.2 (0.31 + 0.66) = 1.164 angstrom, so hydrogen bonds are none."""
    for distance, expected in ((1.16, [0, 0]), (1.17, [0, 1])):
        assert bonded_groups(graph_of(Atoms("OH", positions=[(0, 0, 0), (0, 0, distance)]))).tolist() == expected


def test_fragments_of_a_water_dimer():
    atoms = water_dimer()
    made = fragments(neighbour_graph(atoms, 4.0, groups=bonded_groups(graph_of(atoms))))
    assert parts_as_sets(made, 1) == [{0, 2, 4}, {1, 3, 5}]
    assert parts_as_sets(made, 2) == [{0, 1, 2, 3, 4, 5}]
    groups, root = made.levels
    np.testing.assert_allclose(groups.positions[0], atoms.positions[[0, 2, 4]].mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(groups.positions[1], atoms.positions[[1, 3, 5]].mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(root.positions[0], groups.positions.mean(axis=0), atol=1e-14)
    below = torch.as_tensor(atoms.positions)
    for upper in made.levels:
        expected = below[upper.children.senders] - upper.positions[upper.children.receivers]
        torch.testing.assert_close(upper.vectors, expected)
        below = upper.positions
    assert groups.node_of_atom.tolist() == [0, 1, 0, 1, 0, 1]
    assert root.node_of_atom.tolist() == [0] * 6


def test_fragments_by_groups_of_the_user():
    made = fragments(neighbour_graph(molecule("CH4"), 3.0, groups=[2, 0, 1, 1, 0]))
    assert parts_as_sets(made, 1) == [{1, 4}, {2, 3}, {0}]
    assert parts_as_sets(made, 2) == [{0, 1, 2, 3, 4}]


def test_fragments_of_periodic_structures_are_refused():
    crystal = neighbour_graph(bulk("C", cubic=True), 2.0, groups=[0] * 8)
    with pytest.raises(ValueError, match="finite systems"):
        fragments(crystal)
    molecule_beside = neighbour_graph(molecule("H2O"), 2.0, groups=[0, 0, 0])
    with pytest.raises(ValueError, match="finite systems"):
        fragments(batch_graphs([molecule_beside, crystal]))


def test_groups_that_span_structures_are_refused():
    water = neighbour_graph(molecule("H2O"), 2.0, groups=[0, 0, 1])
    batch = batch_graphs([water, water])
    for groups in ([0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 3, 0]):
        with pytest.raises(ValueError, match="spans two structures"):
            fragments(replace(batch, groups=torch.tensor(groups)))


def test_fragments_of_a_batch_are_those_of_its_structures_side_by_side():
    dimer, methane = water_dimer(), molecule("CH4")
    graphs = [
        neighbour_graph(dimer, 3.0, groups=bonded_groups(graph_of(dimer))),
        neighbour_graph(methane, 3.0, groups=[1, 0, 0, 1, 1]),
        neighbour_graph(Atoms("C"), 3.0, groups=[0]),
    ]
    made, alone = fragments(batch_graphs(graphs)), [fragments(graph) for graph in graphs]
    assert parts_as_sets(made, 1) == [{0, 2, 4}, {1, 3, 5}, {7, 8}, {6, 9, 10}, {11}]
    assert parts_as_sets(made, 2) == [set(range(6)), set(range(6, 11)), {11}]
    for number, upper in enumerate(made.levels):
        for name in ("positions", "vectors"):
            expected = torch.cat([getattr(one.levels[number], name) for one in alone])
            torch.testing.assert_close(getattr(upper, name), expected, atol=1e-14, rtol=0)


def test_neighbourhoods_of_a_batch_stay_within_structures():
    made = neighbourhoods(batch_graphs([chain(3), chain(1), chain(2)]), 2)
    assert parts_as_sets(made, 2) == [{0, 1, 2}] * 3 + [{3}] + [{4, 5}] * 2
