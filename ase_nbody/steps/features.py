"""Derivatives of energies by the readouts that they are linear in, and how these change when atoms move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ase_nbody.graph import Graph, sums_of_structures
from ase_nbody.kernels.dual import TANGENTS, VALUES
from ase_nbody.steps.readout import DualEnergies, DualShift
from ase_nbody.steps.training import TrainedSteps, TrainingPass


def readout_features(
    network: TrainedSteps, readouts: Sequence[Tensor], graph: Graph, moves: Iterable[Tensor]
) -> Iterator[Tensor]:
    """Derivatives of each structure's energy by readouts, and the changes of these derivatives under moves.

    Args:
        network: on the CPU.
        readouts: parameters that the vectors of its last steps are linear functions of, and nothing else depends on.
        graph: structures.
        moves: changes of the vectors of the edges by displacements or strains, (E, 3) each, angstrom.

    Yields:
        (B, numbers of all readouts): the derivatives, then their change for each move.
    """
    with torch.no_grad():
        made = TrainingPass(network, graph)
    steps = [step for step in made.steps if isinstance(step, DualEnergies)]
    by_vectors = torch.cat([_by_readouts(step.vectors, readouts) for step in steps])  # (T C of all, readouts)
    with torch.no_grad():
        yield _sums(made, steps, graph, VALUES) @ by_vectors
        for move in moves:
            made.move(move)
            yield _sums(made, steps, graph, TANGENTS) @ by_vectors


def _by_readouts(vectors: Tensor, readouts: Sequence[Tensor]) -> Tensor:
    """Derivatives of vectors (T, C) by all numbers of the readouts, (T C, readouts)."""
    with torch.enable_grad():
        flat = vectors.flatten()
        units = torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
        rows = torch.autograd.grad(flat, readouts, units, is_grads_batched=True, retain_graph=True, allow_unused=True)
    of_all = [
        units.new_zeros(len(flat), readout.numel()) if row is None else row.reshape(len(flat), -1)
        for row, readout in zip(rows, readouts, strict=True)
    ]
    return torch.cat(of_all, dim=1)


def _sums(made: TrainingPass, steps: Sequence[DualEnergies], graph: Graph, part: int) -> Tensor:
    """Derivatives by vectors summed over the atoms of each element of a structure, step by step, (B, T C of all)."""
    one_hot = made.atoms.one_hot
    for step in steps:
        if isinstance(step, DualShift):
            one_hot = torch.where(step.has_neighbours.unsqueeze(1), one_hot, 0.0)
    rows = [(one_hot.unsqueeze(2) * step.derivatives(part).unsqueeze(1)).flatten(1) for step in steps]  # (N, T C)
    return torch.cat([sums_of_structures(row, graph) for row in rows], dim=1)
