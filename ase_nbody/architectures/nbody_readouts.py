"""What the readouts of a network multiply, its last features, and how these change when atoms move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ase_nbody.architectures.nbody_gates import Gate, GatedNetwork
from ase_nbody.architectures.nbody_training import GateParts, NBodyPass
from ase_nbody.graph import Graph, sums_of_structures
from ase_nbody.kernels.dual import TANGENTS, VALUES


def readout_features(network: GatedNetwork, graph: Graph, moves: Iterable[Tensor]) -> Iterator[Tensor]:
    """Derivatives of each structure's energy by the readouts, and the changes of these derivatives under moves.

    Args:
        network: of the scheme "neighbourhoods" with learned radial functions, on the CPU.
        graph: structures.
        moves: changes of the vectors of the edges, (E, 3) each, angstrom.

    Yields:
        (B, readouts): the derivatives, then their change for each move. Columns are in the order of `linear_readouts`.
    """
    gates = [gate for gate in network.gates if isinstance(gate, Gate)]
    parts = [GateParts(gate, last=number == len(gates) - 1) for number, gate in enumerate(gates)]
    with torch.no_grad():
        made = NBodyPass(parts, network, graph)
        yield _sums(made, graph, VALUES)
        for move in moves:
            by_distance = made.directions.move(move)
            for level in made.levels:
                level.radial.move(by_distance)
                level.fill(TANGENTS)
            yield _sums(made, graph, TANGENTS)


def _sums(made: NBodyPass, graph: Graph, part: int) -> Tensor:
    """Invariant states summed over the atoms of each element of a structure, level by level, (B, levels T C)."""
    by_element = [made.types.unsqueeze(2) * level.scalars[part].unsqueeze(1) for level in made.levels]  # (N, T, C)
    return torch.cat([sums_of_structures(one.flatten(1), graph) for one in by_element], dim=1)
