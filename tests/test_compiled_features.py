"""What the compiled evaluation hands out beside energies: the features that training passes and autograd make."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nbody_networks import SKIN, potential, structures
from test_physics import VARIANTS, Variant
from torch import Tensor

from ase_nbody.architectures import Network, architectures, compiled
from ase_nbody.architectures.base import Gradients
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.graph import Graph, batch_graphs, edge_vectors
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.potential import Potential, predict
from ase_nbody.steps import Readout
from ase_nbody.steps.features import atom_features, energy_steps
from ase_nbody.steps.folding import folded, folded_with_features
from ase_nbody.steps.forward import atoms_before, forward
from ase_nbody.steps.hand_out import FEATURES, HandOut
from ase_nbody.steps.training import TrainedSteps
from ase_nbody.timings import Timings

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}  # of the largest feature
OTHERS = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest energy or force

MORE = {
    "nbody, 1 level": Variant("nbody", {"levels": 1}),
    "nbody, invariant": Variant("nbody", {"max_degree_states": 0, "channels": 1}),
    "nequip, hidden readouts": Variant("nequip", {"readout_depth": 2, "readout_activation": "mish"}),
    "sevennet, constants": Variant("sevennet", {"biases": True, "states": ("6x0e", "5x0e+4x1o", "3x0e")}),
}
NETWORKS = {
    name: variant
    for name, variant in (VARIANTS | MORE).items()
    if isinstance(its := variant.potential().network, SteppedNetwork) and its.description() is not None
}


@pytest.fixture(autouse=True)
def fine_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables so fine that float64 shows errors of the code alone."""
    monkeypatch.setitem(compiled.TABLES, torch.float64, (7, 1e-12))


def graph_of(found: Potential, numbers: slice = slice(None)) -> Graph:
    """Some of a molecule, a crystal, a slab, an atom, and two atoms far apart."""
    cutoff = found.cutoff + SKIN
    return batch_graphs([neighbour_graph(atoms, cutoff, dtype=found.dtype) for atoms in structures()[numbers]])


def evaluated(network: Network, graph: Graph, *, features: bool = True) -> Gradients:
    made = network.gradients(graph, Timings(), features=features)
    assert made is not None
    return made


def scalars(network: SteppedNetwork, graph: Graph) -> Tensor:
    """Of all steps that make energies, side by side, not folded and without tables, (N, F)."""
    steps = TrainedSteps(network.description(), network.step_weights(), network.type_of_number, network.settings.cutoff)
    return torch.cat([one.scalars for one in next(atom_features(steps, graph))], dim=1).detach()


def assert_features(network: SteppedNetwork, graph: Graph) -> Tensor:
    """Features of the compiled evaluation are those of `atom_features`; returns them."""
    found, expected = evaluated(network, graph).features, scalars(network, graph)
    assert found is not None and found.dtype == expected.dtype
    largest = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[found.dtype] * largest)
    return found


def test_every_architecture_of_steps_is_here() -> None:
    of_steps = {name for name, its in architectures().items() if issubclass(its.network, SteppedNetwork)}
    assert of_steps == {variant.architecture for variant in NETWORKS.values()} >= {"nbody", "nequip", "mace"}


@pytest.mark.parametrize("variant", NETWORKS.values(), ids=NETWORKS)
def test_features_are_those_of_training_passes(variant: Variant) -> None:
    found = variant.potential(torch.float64)
    features = assert_features(found.network, graph_of(found))
    alone = graph_of(found).structure >= 3
    assert bool((features[~alone].abs().amax(dim=0) > 1e-8).any()) and not bool(features[alone].any())
    assert not bool(assert_features(found.network, graph_of(found, slice(3, 4))).any())  # an atom alone


@pytest.mark.parametrize("name", ["nbody", "nequip", "sevennet", "mace"])
def test_features_in_float32(name: str) -> None:
    found = VARIANTS[name].potential(torch.float32)
    assert_features(found.network, graph_of(found))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["nbody", "nequip", "sevennet", "mace", "mace, density"])
def test_energies_and_gradients_are_the_same_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    found = VARIANTS[name].potential(dtype)
    graph = graph_of(found)
    for given in (graph, replace(graph, vectors=edge_vectors(graph) * 1.01)):
        without, handed_out = (evaluated(found.network, given, features=asked) for asked in (False, True))
        assert without.features is None and handed_out.features is not None
        for part in ("energies", "positions", "strain", "vectors"):
            one, other = getattr(without, part), getattr(handed_out, part)
            assert (one is None and other is None) or torch.equal(one, other), part
    assert without.vectors is not None


@pytest.mark.parametrize("variant", NETWORKS.values(), ids=NETWORKS)
def test_energies_are_features_times_the_vectors_of_elements(variant: Variant) -> None:
    """In the order of `energy_steps`, so of `readout_features`; a repulsion inside the network is no step."""
    if variant.settings.get("repulsion"):
        variant = replace(variant, settings={**variant.settings, "repulsion": False})
    found = variant.potential(torch.float64)
    network, graph = found.network, graph_of(found)
    made, weights = evaluated(network, graph), network.step_weights()
    vectors = torch.cat([weights.vectors[step.weights] for step in energy_steps(network.description())], dim=1)
    energies = (made.features * vectors[network.type_of_number[graph.atomic_numbers]]).sum(dim=1).detach()
    assert float(energies.abs().max()) > 1e-6
    torch.testing.assert_close(energies, made.energies, rtol=0, atol=1e-10 * float(energies.abs().max()) + 1e-12)


@pytest.mark.parametrize("name", ["nbody", "nbody, 3 bodies, 3 levels", "mace", "nequip, hidden readouts"])
def test_rewritten_steps_hand_out_the_same(name: str) -> None:
    """By their torch functions."""
    found = NETWORKS[name].potential(torch.float64)
    network, graph = found.network, graph_of(found)
    description, weights = folded_with_features(network.description(), network.step_weights())
    edges = active_edges(graph, network.settings.cutoff)
    types, vectors = network.type_of_number[graph.atomic_numbers], (edges.distances, edges.directions)
    atoms = atoms_before(description, weights, types, edges.pairs, vectors)
    energies = forward(description, atoms).detach()
    expected = scalars(network, graph)
    largest = float(expected.abs().max())
    torch.testing.assert_close(torch.cat(atoms.features, dim=1).detach(), expected, rtol=0, atol=1e-12 * largest)
    torch.testing.assert_close(energies, network(graph).detach(), rtol=0, atol=1e-10)


def test_the_last_level_is_mixed_for_features_only() -> None:
    network = VARIANTS["nbody"].potential().network
    description, _ = folded_with_features(network.description(), network.step_weights())
    plain, _ = folded(network.description(), network.step_weights())
    handed_out = [step for step in description.steps if isinstance(step, HandOut)]
    assert [(step.source, step.first, step.total) for step in handed_out] == [("states0", 0, 8), ("states1", 4, 8)]
    assert [str(block.irrep) for block in description.irreps_of["states1"]] == ["0e"]
    assert len(description.irreps_of["states0"]) > 1 and "states1" not in plain.irreps_of
    readouts = [[step for step in one.steps if isinstance(step, Readout)] for one in (description, plain)]
    assert readouts[0] == readouts[1]  # energies are read out of the same, so that they are the same


def test_only_the_program_of_features_has_their_array() -> None:
    network = VARIANTS["mace"].potential().network
    with torch.no_grad():
        plain, other = (compiled.load(network, frozenset({0}), features=asked).program for asked in (False, True))
    arrays = [{array.name: array for array in program.arrays} for program in (plain, other)]
    assert FEATURES not in arrays[0] and "columns" in other.text() and "columns" not in plain.text()
    total = sum(len(network.step_weights().vectors[s.weights][0]) for s in energy_steps(network.description()))
    assert arrays[1][FEATURES].type.length == total and arrays[1][FEATURES].source == "sum"
    (line,) = [line for line in str(other.arrays).splitlines() if line.startswith(f"{FEATURES} ")]
    assert line.endswith("adds level_1_forward, level_2_forward_and_backward")
    assert {name: does.per_edge for name, does in plain.phases.items()} == {
        name: does.per_edge for name, does in other.phases.items()
    }


def test_features_of_many_atoms_do_not_depend_on_threads() -> None:
    found = potential(torch.float32)
    graph = neighbour_graph(structures()[1] * (3, 3, 3), found.cutoff + SKIN, dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        made = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            made.append(evaluated(found.network, graph).features)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*made)
    assert_features(found.network, graph)


def test_features_follow_new_weights_elements_and_other_evaluations() -> None:
    found = potential(torch.float64)
    network = found.network
    hydrogen = neighbour_graph(structures()[0][[3, 4]], found.cutoff, dtype=torch.float64)
    before = assert_features(network, hydrogen).clone()
    evaluated(network, graph_of(found), features=False)
    again = assert_features(network, graph_of(found))
    evaluated(network, hydrogen, features=False)
    assert torch.equal(again, evaluated(network, graph_of(found)).features)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    assert float((assert_features(network, hydrogen) - before).abs().max()) > 1e-3 * float(before.abs().max())


@pytest.mark.parametrize("settings", [{"radial": "strict"}, {"pairs": True}], ids=str)
def test_networks_evaluated_by_autograd_hand_out_none(settings: dict[str, object]) -> None:
    found = potential(torch.float64, **settings)
    assert found.network.gradients(graph_of(found, slice(0, 1)), Timings(), features=True) is None


@pytest.mark.parametrize(
    "name", [name for name, variant in NETWORKS.items() if variant.potential().network.linear_readouts()]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_other_readouts_give_what_autograd_gives(name: str, dtype: torch.dtype) -> None:
    own = NETWORKS[name].potential()
    own.network.to(dtype).requires_grad_(False)
    graph = graph_of(own)
    before = predict(own, graph)
    others = {key: 1.3 * readout + 0.1 for key, readout in own.network.named_readouts().items()}
    found = predict(own, graph, others)
    made = predict(own, graph, others, differentiable=True)
    expected = replace(made, energies=made.energies.detach(), forces=made.forces.detach())
    assert not torch.allclose(found.forces, before.forces, rtol=1e-3)
    for one, other in ((found.energies, expected.energies), (found.forces, expected.forces)):
        largest = float(other.abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=OTHERS[dtype] * largest, check_dtype=False)
    assert torch.equal(predict(own, graph).forces, before.forces)
    assert not any(parameter.requires_grad for parameter in own.network.parameters())
