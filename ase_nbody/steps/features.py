"""Features of atoms, which leave networks of steps here only: what energies are made of, and how it changes.

Descriptors are values of their states; fits in closed form and committees of readouts take the scalars.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ase_nbody.graph import Graph, edge_vectors, sums_of_structures
from ase_nbody.kernels.dual import TANGENTS, VALUES
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.steps.description import Description
from ase_nbody.steps.forward import atoms_before
from ase_nbody.steps.readout import AtomFeatures, DualEnergies, EnergyStep, Shift
from ase_nbody.steps.training import TrainedSteps, TrainingPass


def energy_steps(description: Description) -> list[EnergyStep]:
    """The steps that add to the energies, in their order."""
    return [step for step in description.steps if isinstance(step, EnergyStep)]


def atom_features(network: TrainedSteps, graph: Graph, tangents: Sequence[Tensor] = ()) -> Iterator[list[AtomFeatures]]:
    """What each of `energy_steps` makes energies of, and the tangents of that.

    By passes with tangents on the CPU, where all steps have them, and else by autograd; the numbers are the same.

    Args:
        network: whose weights are not differentiated.
        graph: structures on its device.
        tangents: of the vectors of the edges by displacements or strains, (E, 3) each, angstrom.

    Yields:
        The features, then their tangents for each of `tangents`; both last until the next is asked for. Scalars of
        atoms without neighbours are zero where these have no energy by a `Shift`.
    """
    has_tangents = network.description.has_tangents and graph.positions.device.type == "cpu"
    features = (_by_tangents if has_tangents else _by_autograd)(network, graph, tangents)
    values = next(features)
    yield _without_atoms_alone(values, energy_steps(network.description))
    yield from features


def readout_features(
    network: TrainedSteps, readouts: Sequence[Tensor], graph: Graph, tangents: Sequence[Tensor]
) -> Iterator[Tensor]:
    """Derivatives of each structure's energy by readouts, and the tangents of these.

    Args:
        network: made of parameters by differentiable operations.
        readouts: parameters that the vectors of its `energy_steps` are linear in, and nothing else depends on.
        graph: structures.
        tangents: as `atom_features` takes them.

    Yields:
        (B, numbers of all readouts): the derivatives, then their tangents for each of `tangents`.
    """
    vectors = [network.weights.vectors[step.weights] for step in energy_steps(network.description)]
    by_vectors = torch.cat([vectors_by_readouts(of_step, readouts) for of_step in vectors])  # (T C of all, readouts)
    types = network.type_of_number[graph.atomic_numbers]
    one_hot = functional.one_hot(types, network.description.n_types).to(graph.positions.dtype)  # (N, T)
    for features in atom_features(network, graph, tangents):
        rows = [(one_hot.unsqueeze(2) * one.scalars.unsqueeze(1)).flatten(1) for one in features]  # (N, T C)
        yield torch.cat([sums_of_structures(row, graph) for row in rows], dim=1) @ by_vectors


def _by_tangents(network: TrainedSteps, graph: Graph, tangents: Sequence[Tensor]) -> Iterator[list[AtomFeatures]]:
    with torch.no_grad():
        training_pass = TrainingPass(network, graph)
    steps = [step for step in training_pass.steps if isinstance(step, DualEnergies)]
    yield [step.features(VALUES) for step in steps]
    for tangent in tangents:
        with torch.no_grad():
            training_pass.jvp(tangent)
        yield [step.features(TANGENTS) for step in steps]


def _by_autograd(network: TrainedSteps, graph: Graph, tangents: Sequence[Tensor]) -> Iterator[list[AtomFeatures]]:
    """Tangents by two vector-Jacobian products: that of the vectors is linear in the cotangents of the features."""
    vectors = edge_vectors(graph).detach().requires_grad_(len(tangents) > 0)
    with torch.set_grad_enabled(len(tangents) > 0):
        features = _forward(network, replace(graph, vectors=vectors))
        nothing = 0.0 * vectors.sum()  # so that what does not depend on vectors has derivatives too
        parts = [part + nothing for one in features for part in _parts(one)]
    yield _of_parts(features, [part.detach() for part in parts])
    if not tangents:
        return
    with torch.enable_grad():
        cotangents = [torch.zeros_like(part, requires_grad=True) for part in parts]
        (d_vectors,) = torch.autograd.grad(parts, vectors, cotangents, create_graph=True)
    for tangent in tangents:
        yield _of_parts(features, torch.autograd.grad(d_vectors, cotangents, tangent, retain_graph=True))


def _forward(network: TrainedSteps, graph: Graph) -> list[AtomFeatures]:
    """Features of all energy steps, by the torch functions of the steps."""
    edges = active_edges(graph, network.cutoff)
    types, vectors = network.type_of_number[graph.atomic_numbers], (edges.distances, edges.directions)
    atoms = atoms_before(network.description, network.weights, types, edges.pairs, vectors)
    features = []
    for step in network.description.steps:
        if isinstance(step, EnergyStep):
            features.append(step.features(atoms))
        step.forward(atoms)
    return features


def _parts(features: AtomFeatures) -> tuple[Tensor, ...]:
    return (features.scalars, *features.state)


def _of_parts(like: Sequence[AtomFeatures], parts: Sequence[Tensor]) -> list[AtomFeatures]:
    """The `_parts` of all put together again."""
    rest = iter(parts)
    return [AtomFeatures(next(rest), tuple(next(rest) for _ in one.state)) for one in like]


def _without_atoms_alone(values: list[AtomFeatures], steps: Sequence[EnergyStep]) -> list[AtomFeatures]:
    """Values with scalars of zero where a shift says that an atom has no energy."""
    for one, step in zip(values, steps, strict=True):
        if isinstance(step, Shift):
            values = [replace(other, scalars=other.scalars * one.scalars) for other in values]
    return values


def vectors_by_readouts(vectors: Tensor, readouts: Sequence[Tensor]) -> Tensor:
    """Derivatives of vectors of an energy step, (T, C), by all numbers of the readouts, (T C, readouts)."""
    with torch.enable_grad():
        flat = vectors.flatten()
        units = torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
        rows = torch.autograd.grad(flat, readouts, units, is_grads_batched=True, retain_graph=True, allow_unused=True)
    of_all = [
        units.new_zeros(len(flat), readout.numel()) if row is None else row.reshape(len(flat), -1)
        for row, readout in zip(rows, readouts, strict=True)
    ]
    return torch.cat(of_all, dim=1)
