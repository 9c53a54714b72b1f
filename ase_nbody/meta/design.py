"""The design matrix: derivatives of all weighted errors by the readouts that a network is linear in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.data import Sample, batch_samples
from ase_nbody.graph import Graph, edge_vectors, stress_is_defined
from ase_nbody.potential import Potential, seen_by_network, tangents_of_seen, trainable_prediction
from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS, Property
from ase_nbody.training.loss import Errors, LossWeights, errors

Floats = NDArray[np.float64]
BLOCK = 5
"""Structures whose derivatives are made at once."""
LINEAR = LABELLED
"""What is linear in the readouts: energies and their derivatives."""


@dataclass(frozen=True)
class Design:
    """Weighted errors as a linear function of the readouts: residual + matrix @ (readouts - start).

    The sum of squares is the training's loss over all structures, at the reference energies that suit the readouts
    best: energies per atom have their least-squares fit on the composition taken out.

    Attributes:
        matrix: (rows, readouts).
        residual: of the start's readouts, (rows,).
        structure: number of the structure of each row, (rows,).
    """

    matrix: Floats
    residual: Floats
    structure: NDArray[np.int64]


@dataclass(frozen=True)
class LinearErrors:
    """Errors of one property as a linear function of the readouts: residual + matrix @ (readouts - start).

    Attributes:
        matrix: (rows, readouts).
        residual: (rows,), in the unit of `Errors`.
    """

    matrix: Floats
    residual: Floats


@dataclass(frozen=True)
class StructureErrors:
    """Errors of one structure.

    Attributes:
        errors: of each property of `LINEAR`, a row for each component that is labelled; of energies with the part of
            the composition.
        composition: share of each element among the atoms, by atomic number, (119,).
    """

    errors: Mapping[Property, LinearErrors]
    composition: Floats


def design(structures: Sequence[StructureErrors], weights: LossWeights) -> Design:
    """The design matrix of linear readouts, exact.

    Args:
        structures: that are learnt.
        weights: of the loss.
    """
    matrix, residual, numbers = [], [], []
    for kind, joint in joint_errors(structures).items():
        factor = (weights[kind].weight / max(len(joint.residual), 1)) ** 0.5 / weights[kind].scale
        matrix.append(factor * joint.matrix)
        residual.append(factor * joint.residual)
        rows = [len(structure.errors[kind].residual) for structure in structures]
        numbers.append(np.repeat(np.arange(len(structures)), rows))
    return Design(np.concatenate(matrix), np.concatenate(residual), np.concatenate(numbers))


def joint_errors(structures: Sequence[StructureErrors]) -> dict[Property, LinearErrors]:
    """Errors of all structures, of energies per atom off their compositions."""
    joint = {}
    for kind in LINEAR:
        several = [structure.errors[kind] for structure in structures]
        matrix, residual = (
            np.concatenate(rows) for rows in zip(*((e.matrix, e.residual) for e in several), strict=True)
        )
        joint[kind] = LinearErrors(matrix, residual)
    energy = joint[ENERGY]
    fractions = np.array([s.composition for s in structures if len(s.errors[ENERGY].residual)]).reshape(-1, 119)
    free = np.eye(len(fractions)) - fractions @ np.linalg.pinv(fractions, rcond=1e-6)
    return {**joint, ENERGY: LinearErrors(free @ energy.matrix, free @ energy.residual)}


def blocks_of_errors(potential: Potential, samples: Sequence[Sample]) -> Iterator[list[StructureErrors]]:
    """Errors of each structure as a linear function of the readouts, in order, `BLOCK` structures at once.

    Args:
        potential: in float64, on the CPU.
        samples: labelled structures in float64.
    """
    for first in range(0, len(samples), BLOCK):
        yield _errors_of_block(potential, batch_samples(samples[first : first + BLOCK]))


def _errors_of_block(potential: Potential, batch: Sample) -> list[StructureErrors]:
    columns = errors_by_readouts(potential, batch)
    with torch.no_grad():
        now = errors(trainable_prediction(potential, batch.graph), batch.targets, batch.graph)
    owners, compositions = _structures(batch), _compositions(batch.graph)

    def linear(kind: Property, number: int) -> LinearErrors:
        chosen = (owners[kind] == number).numpy()
        return LinearErrors(columns[kind].numpy()[chosen], now[kind].numpy()[chosen])

    return [
        StructureErrors({kind: linear(kind, number) for kind in LINEAR}, compositions[number])
        for number in range(batch.graph.n_structures)
    ]


def errors_by_readouts(potential: Potential, batch: Sample) -> Errors:
    """Derivatives of `errors` of `LINEAR` by the linear readouts: its arrays with one more axis, (..., readouts)."""
    strains = _strains() if bool(stress_is_defined(batch.graph).any()) else []
    columns = _by_readouts(potential, batch.graph, strains)
    return {kind: columns[kind][known] for kind, known in labelled(batch).items()}


def forces_by_readouts(potential: Potential, graph: Graph) -> Tensor:
    """Derivatives of all forces by the linear readouts, (N, 3, readouts), eV/angstrom.

    Args:
        potential: in float64, on the CPU.
        graph: structures in float64.
    """
    return _by_readouts(potential, graph, [])[FORCES]


def _by_readouts(potential: Potential, graph: Graph, strains: Sequence[Tensor]) -> Errors:
    """Derivatives of energies per atom, (B, readouts), forces, (N, 3, readouts), and virials, (B, 3, 3, readouts).

    Where a repulsion acts, the network sees vectors that it lengthened. That energies fade where atoms come closer
    still is left out.
    """
    n_atoms = torch.bincount(graph.structure, minlength=graph.n_structures)  # (B,)
    displacements = _displacements(graph)
    tangents = [*(d.tangent for d in displacements), *(edge_vectors(graph) @ strain for strain in strains)]
    seen, seen_tangents = seen_by_network(potential, graph), tangents_of_seen(potential, graph, tangents)
    values, *slopes = potential.network.readout_features(seen, seen_tangents)  # (B, K) each
    scale, n_readouts = potential.energy_scale, values.shape[1]
    forces = values.new_zeros(graph.n_atoms, 3, n_readouts)
    for displacement, slope in zip(displacements, slopes, strict=False):
        forces[displacement.atoms, displacement.axis] = -scale * slope[displacement.structures]
    virial = values.new_zeros(graph.n_structures, 9, n_readouts)
    for component, slope in enumerate(slopes[len(displacements) :]):
        virial[:, component] = scale * slope / n_atoms[:, None]
    virials = virial.view(graph.n_structures, 3, 3, n_readouts)
    return {ENERGY: scale * values / n_atoms[:, None], FORCES: forces, STRESS: virials}


def labelled(batch: Sample) -> dict[Property, Tensor]:
    """What `errors` keeps of `LINEAR`: of energies, (B,), force components, (N, 3), and virials, (B, 3, 3)."""
    known = {kind: ~batch.targets.labels[kind].isnan() for kind in LINEAR}
    return {**known, STRESS: known[STRESS] & stress_is_defined(batch.graph)[:, None, None]}


def _compositions(graph: Graph) -> Floats:
    """Share of each element among the atoms of each structure, (B, 119)."""
    counts = torch.zeros(graph.n_structures, 119, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    counts.index_put_((graph.structure, graph.atomic_numbers), one, accumulate=True)
    return np.asarray((counts / counts.sum(dim=1, keepdim=True)).numpy())


@dataclass(frozen=True)
class _Displacement:
    """One atom of every structure that has so many, moved along one axis by 1 angstrom.

    Attributes:
        atoms: numbers of these atoms in the batch.
        structures: their structures.
        axis: 0, 1 or 2.
        tangent: of the vectors of the edges, (E, 3), angstrom.
    """

    atoms: Tensor
    structures: Tensor
    axis: int
    tangent: Tensor


def _displacements(graph: Graph) -> list[_Displacement]:
    counts = torch.bincount(graph.structure, minlength=graph.n_structures)
    first = torch.cumsum(counts, dim=0) - counts
    displacements = []
    for number in range(int(counts.max())):
        structures = torch.nonzero(counts > number)[:, 0]
        moved = graph.positions.new_zeros(graph.n_atoms)
        moved[first[structures] + number] = 1.0
        along = moved[graph.edges.senders] - moved[graph.edges.receivers]  # (E,)
        for axis in range(3):
            tangent = along.new_zeros(len(along), 3)
            tangent[:, axis] = along
            displacements.append(_Displacement(first[structures] + number, structures, axis, tangent))
    return displacements


def _strains() -> list[Tensor]:
    """The symmetric part of a unit of each component of the strain, nine times (3, 3)."""
    units = torch.eye(9, dtype=torch.float64).view(9, 3, 3)
    return list(0.5 * (units + units.transpose(1, 2)))


def _structures(batch: Sample) -> dict[Property, Tensor]:
    """The structure of each error, in their order."""
    numbers = torch.arange(batch.graph.n_structures)
    owners = {}
    for kind, known in labelled(batch).items():
        rows = batch.graph.structure if kind.per_atom else numbers
        owners[kind] = rows.view(-1, *(1 for _ in kind.shape)).expand_as(known)[known]
    return owners
