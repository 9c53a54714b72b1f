"""Training passes through lists of steps give the predictions and the parameter gradients of autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nbody_networks import NEQUIP, potential, structures
from torch import Tensor
from training_passes import assert_close, assert_same, gradients, graph_of, loss

from ase_nbody.algebra import Irrep, natural_irreps, product_table
from ase_nbody.architectures.mace import MaceNetwork
from ase_nbody.architectures.mace_settings import MaceSettings
from ase_nbody.architectures.sevennet import SevenNetNetwork
from ase_nbody.architectures.sevennet_layers import SevenNetSettings
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.math import polynomial_envelope, spherical_harmonics
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.potential import Potential, trainable_prediction
from ase_nbody.predictions import Prediction
from ase_nbody.steps import (
    Activate,
    ActivationFunction,
    Block,
    Contract,
    Description,
    Embed,
    Mix,
    MixByElement,
    Product,
    Radial,
    Readout,
    ScaleByElement,
    Step,
    StepWeights,
    state_irreps,
)
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.dual_perceptron import PerceptronLayers, sloped_polynomial
from ase_nbody.steps.features import atom_features
from ase_nbody.steps.forward import forward
from ase_nbody.steps.radial import RadialNetwork
from ase_nbody.steps.readout import Shift
from ase_nbody.steps.training import TrainedSteps, trainable_energies

SEVENNET = [
    {},
    {"parity": True, "states": ("6x0e", "5x0e+2x0o+4x1o+3x1e+2x2e", "3x0e")},
    {"envelope": "xplor", "envelope_start": 2.8, "biases": True},
    {"unit_vectors": False, "radial_widths": ()},
    {"unit_vectors": False},
]


@pytest.mark.parametrize("settings", NEQUIP, ids=str)
def test_nequip(settings: dict[str, object]) -> None:
    found = potential(torch.float64, architecture="nequip", **settings)
    assert_same(found, graph_of(structures(), found))


@pytest.mark.parametrize("architecture", ["nequip", "sevennet"])
def test_float32(architecture: str) -> None:
    found = of_architecture(architecture, torch.float32)
    assert_same(found, graph_of(structures(), found))


@pytest.mark.parametrize("settings", SEVENNET, ids=str)
def test_sevennet(settings: dict[str, object]) -> None:
    found = sevennet(torch.float64, **settings)
    assert_same(found, graph_of(structures(), found))
    assert_same(found, graph_of(structures()[3:4], found))  # an atom alone


def sevennet(dtype: torch.dtype, **settings: object) -> Potential:
    small = {"states": ("6x0e", "5x0e+4x1e+2x2e", "3x0e"), "parity": False, "radial_widths": (7,)}
    chosen = {"elements": ("H", "C", "O"), "cutoff": 3.5, "bessel_functions": 4, **small, **settings}
    generator = torch.Generator().manual_seed(0)
    network = SevenNetNetwork(SevenNetSettings(**chosen), generator).to(dtype)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.normal_(generator=generator)
    return Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=2.0)


def of_architecture(architecture: str, dtype: torch.dtype) -> Potential:
    if architecture == "sevennet":
        return sevennet(dtype, biases=True, unit_vectors=False)
    return potential(dtype, architecture=architecture)


def mace(dtype: torch.dtype) -> Potential:
    settings = MaceSettings(
        elements=("H", "C", "O"), cutoff=3.5, states="6x0e+6x1o", max_degree=2, radial_widths=(8,), readout_width=5
    )
    network = MaceNetwork(settings, torch.Generator().manual_seed(0)).to(dtype)
    return Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=2.0)


@pytest.mark.parametrize("architecture", ["nbody", "nequip", "sevennet", "mace"])
def test_energies_are_features_times_readouts(architecture: str) -> None:
    """And their change along moves is the change of the features times the readouts."""
    found = mace(torch.float64) if architecture == "mace" else of_architecture(architecture, torch.float64)
    graph = graph_of([*structures()[:2], structures()[3]], found)
    network = found.network
    displaced = torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    move = displaced[graph.edges.senders] - displaced[graph.edges.receivers]
    features, changes, none = network.readout_features(graph, [move, torch.zeros_like(move)])
    readouts = torch.cat([readout.detach().flatten() for readout in network.linear_readouts()])
    positions = graph.positions.clone().requires_grad_()
    of_atoms = network(replace(graph, positions=positions))
    (d_positions,) = torch.autograd.grad(of_atoms.sum(), positions)
    energies, along = (
        torch.zeros(3, dtype=torch.float64).index_add(0, graph.structure, rows.detach())
        for rows in (of_atoms, (d_positions * displaced).sum(dim=1))
    )
    assert float(energies.abs().max()) > 1e-3 and float(along.abs().max()) > 1e-3
    assert_close(features @ readouts, energies)
    assert_close(changes @ readouts, along)
    assert not bool(none.any())
    assert bool(features[:2].any()) and not bool(features[2].any())  # exactly: an atom alone has no energy


@pytest.mark.parametrize("architecture", ["nbody", "nequip", "sevennet"])
def test_features_by_tangents_are_those_by_autograd(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scalars and whole states, and their changes, also of an atom alone and of a batch without edges."""
    found = of_architecture(architecture, torch.float64)
    description = found.network.description()
    steps = TrainedSteps(description, found.network.step_weights(), found.network.type_of_number, found.cutoff)
    for several in (structures()[:4], structures()[3:4]):
        graph = graph_of(several, found)
        displaced = torch.randn(graph.positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        moves = [(displaced[graph.edges.senders] - displaced[graph.edges.receivers]) * factor for factor in (1.0, -2.0)]
        with monkeypatch.context() as context:
            context.setattr(Description, "has_tangents", False)
            slow = list(atom_features(steps, graph, moves))
        assert len(slow) == 3
        for features, expected in zip(atom_features(steps, graph, moves), slow, strict=True):
            for one, other in zip(features, expected, strict=True):
                for rows, wanted in zip((one.scalars, *one.state), (other.scalars, *other.state), strict=True):
                    assert_close(rows, wanted)
        assert len(several) == 1 or all(bool(one.scalars.any()) for one in slow[1] if one.state)


@pytest.mark.parametrize("architecture", ["nbody", "nequip", "sevennet"])
def test_passes_of_other_batches_leave_no_trace(architecture: str) -> None:
    """Bit for bit, in memory that is fresh, kept, too small, and in use by another pass."""
    found = of_architecture(architecture, torch.float32)
    graph, other, larger = (graph_of(several, found) for several in (structures(), structures()[1:2], structures() * 2))

    def bits(prediction: Prediction) -> dict[str, Tensor | None]:
        named = {name: getattr(prediction, name).detach().nan_to_num() for name in ("energies", "forces", "stress")}
        return named | gradients(found, loss(prediction))

    first = bits(trainable_prediction(found, graph))
    repeats = []
    for between in (other, larger):
        bits(trainable_prediction(found, between))
        repeats.append(bits(trainable_prediction(found, graph)))
    held = trainable_prediction(found, graph)
    bits(trainable_prediction(found, larger))
    repeats.append(bits(held))
    for again in repeats:
        for name, tensor in first.items():
            assert (tensor is None and again[name] is None) or torch.equal(tensor, again[name]), name


def test_networks_without_linear_readouts_have_no_features() -> None:
    found = potential(torch.float64, architecture="nequip", readout_depth=1)
    with pytest.raises(NotImplementedError, match="NequipNetwork has no linear readouts"):
        found.network.readout_features(graph_of(structures()[:1], found), [])


# --- lists that no architecture makes --------------------------------------------------------------------------------

SCALAR = Irrep(0, 1)
VECTORS = natural_irreps(1)
CUTOFF = 3.5
SUMS = product_table((SCALAR,), VECTORS, VECTORS)
SQUARES = product_table(VECTORS, VECTORS, VECTORS)
SHAPES = {
    "leaves": state_irreps((SCALAR,), 4),
    "sums": state_irreps(VECTORS, 4),
    "mixed": state_irreps(VECTORS, 4),
    "squares": state_irreps(SQUARES.output_irreps, 4, SQUARES.output_multiplicities),
    "gates": (Block(SCALAR, 4),),
    "open": state_irreps(VECTORS, 4),
    "more": state_irreps(VECTORS, 4),
}
BEGIN: list[Step] = [
    Embed("leaves", "embedding"),
    Contract("leaves", "sums", SUMS, 4, "radial"),
    Mix("sums", "mixed", "mix"),
]
GATE = Activate("mixed", "gates", "open", (ActivationFunction("tanh", 1.5), ActivationFunction("mish", 0.7)))
LISTS: dict[str, list[Step]] = {
    "a state that is read before its last source": [
        *BEGIN,
        Readout("mixed", "first"),
        Readout("mixed", "second"),
        MixByElement("leaves", "mixed", "by_element"),
        Readout("mixed", "third"),
        Product("mixed", "mixed", "squares", SQUARES, 4),
        Readout("squares", "wide"),
    ],
    "a product of different states, and sources that store": [
        *BEGIN,
        ScaleByElement("mixed", "more", "first"),
        Product("more", "mixed", "squares", SQUARES, 4),
        Product("mixed", "sums", "squares", SQUARES, 4),
        Readout("squares", "wide"),
    ],
    "gates and constants": [
        *BEGIN,
        Mix("sums", "gates", "to_gates"),
        Embed("gates", "first"),
        GATE,
        Contract("open", "squares", SQUARES, 4, "wider", by_kind=False),
        Mix("squares", "more", "back"),
        ScaleByElement("mixed", "more", "second"),
        Readout("more", "third"),
        Shift("numbers"),
    ],
    "results that nobody reads": [*BEGIN, MixByElement("mixed", "more", "by_element"), Readout("mixed", "first")],
}


def leaves() -> dict[str, Tensor]:
    """Random weights for two elements."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("embedding", "first", "second", "third"), (2, 4))
    shapes |= {"wide": (2, 8), "numbers": (2, 1), "mix_0e": (4, 4), "mix_1o": (4, 4), "to_gates_0e": (4, 4)}
    shapes |= {f"by_element_{irrep}": (2, 4, 4) for irrep in VECTORS}
    shapes |= {
        f"back_{i}": (4 * n, 4) for i, n in zip(SQUARES.output_irreps, SQUARES.output_multiplicities, strict=True)
    }
    shapes |= {"hidden": (3, 6), "last": (6, SUMS.n_paths * 4), "wider": (6, SQUARES.n_paths * 4), "roots": (3,)}
    return {
        name: torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_()
        for name, size in shapes.items()
    }


def weights_of(tensors: dict[str, Tensor]) -> StepWeights:
    roots = tensors["roots"]
    layers = PerceptronLayers(roots, CUTOFF, sloped_polynomial(CUTOFF, 3), [tensors["hidden"]], gain=1.2)

    def hidden(distances: Tensor, kinds: list[int], piece: int) -> Tensor:
        r = distances.unsqueeze(1)
        sines = torch.sin(r * roots) / r * (2 / CUTOFF) * polynomial_envelope(r, CUTOFF, 3)
        return (torch.nn.functional.silu(sines @ tensors["hidden"]) * 1.2).unsqueeze(1).expand(-1, len(kinds), -1)

    factors = torch.tensor([0.5, 2.0], dtype=torch.float64)
    networks = {"radial": RadialNetwork(layers, tensors["last"], factors)}
    networks["wider"] = RadialNetwork(layers, tensors["wider"], factors)
    return StepWeights(
        kind_of_pair=torch.tensor([0, 1, 0, 1]),
        matrices={name: t for name, t in tensors.items() if name.endswith(("_0e", "_1o", "_1e"))},
        vectors={name: t for name, t in tensors.items() if t.dim() == 2 and len(t) == 2},
        radial={
            name: Radial(hidden, network.last, same_hidden=True, network=network) for name, network in networks.items()
        },
    )


def by_autograd(description: Description, weights: StepWeights, graph: Graph, types: Tensor) -> tuple[Tensor, Tensor]:
    """Energies and their gradients by positions."""
    positions = graph.positions.clone().requires_grad_()
    edges = active_edges(replace(graph, positions=positions), CUTOFF)
    harmonics, none = spherical_harmonics(edges.directions, 1), graph.positions.new_zeros(graph.n_atoms)
    atoms = StepAtoms(description.irreps_of, weights, types, edges.pairs, edges.distances, harmonics, none)
    energies = forward(description, atoms)
    (d_positions,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    return energies, d_positions


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_steps(name: str) -> None:
    graph = graph_of(structures()[:2], potential(torch.float64))
    assert float(edge_vectors(graph).norm(dim=1).max()) > CUTOFF
    type_of_number = torch.zeros(119, dtype=torch.int64)
    type_of_number[8] = 1
    tensors = leaves()
    used = {n for step in LISTS[name] for n in (*step.reads, step.out) if n}
    shapes = tuple((n, s) for n, s in SHAPES.items() if n in used)
    description = Description(shapes, tuple(LISTS[name]), 2, 1)
    types = type_of_number[graph.atomic_numbers]
    steps = TrainedSteps(description, weights_of(tensors), type_of_number, CUTOFF)
    fast, slow = trainable_energies(steps, graph), by_autograd(description, weights_of(tensors), graph, types)
    found = []
    for energies, d_positions in (fast[:2], slow):
        value = (energies.sin() + d_positions.square().sum(dim=1)).sum()
        found.append(torch.autograd.grad(value, list(tensors.values()), allow_unused=True))
    for a, b in zip(fast, slow, strict=False):
        assert_close(a.detach(), b.detach())
    for name_of, a, b in zip(tensors, *found, strict=True):
        assert (a is None) <= (b is None) or not bool(b.any()), name_of
        if a is not None:
            assert_close(a, torch.zeros_like(a) if b is None else b)
