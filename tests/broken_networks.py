"""Networks with one fault each, which checks of the laws of physics must notice."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from toy_network import ToyNetwork, ToySettings

from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.potential import Potential

CUTOFF = 3.0  # angstrom
REFERENCE_ENERGIES = {"H": -13.6, "C": -1030.0, "O": -2042.0}  # eV


class BrokenNetwork(ToyNetwork):
    """A network with one fault: atomic energies changed by a function of graph and energies."""

    def __init__(self, fault: Callable[[Graph, Tensor], Tensor], cutoff: float = CUTOFF) -> None:
        settings = ToySettings(elements=tuple(REFERENCE_ENERGIES), cutoff=cutoff)
        super().__init__(settings, generator=torch.Generator().manual_seed(0))
        self.fault = fault

    def forward(self, graph: Graph) -> Tensor:
        return self.fault(graph, super().forward(graph))


def broken(fault: Callable[[Graph, Tensor], Tensor]) -> Potential:
    return Potential(BrokenNetwork(fault), REFERENCE_ENERGIES)


def over_receivers(graph: Graph, values: Tensor) -> Tensor:
    return values.new_zeros(graph.n_atoms).index_add(0, graph.edges.receivers, values)


def inside(graph: Graph, power: int) -> Tensor:
    """(1 - r / cutoff)^power of each edge."""
    return (1 - edge_vectors(graph).norm(dim=1) / CUTOFF).clamp(min=0) ** power


def sees_the_x_axis(graph: Graph, energies: Tensor) -> Tensor:
    return energies + over_receivers(graph, edge_vectors(graph)[:, 0] ** 2 * inside(graph, 4))


def sees_handedness(graph: Graph, energies: Tensor) -> Tensor:
    """A triple product of three weighted sums over neighbours, which changes sign in a mirror."""
    vectors = edge_vectors(graph)
    sums = [
        vectors.new_zeros(graph.n_atoms, 3).index_add(0, graph.edges.receivers, vectors * inside(graph, p)[:, None])
        for p in (3, 4, 5)
    ]
    return energies + (torch.linalg.cross(sums[0], sums[1]) * sums[2]).sum(dim=1)


def sees_the_origin(graph: Graph, energies: Tensor) -> Tensor:
    return energies + 0.1 * graph.positions.square().sum(dim=1)


def sees_the_order(graph: Graph, energies: Tensor) -> Tensor:
    return energies * torch.arange(1, graph.n_atoms + 1)


def sees_the_size(graph: Graph, energies: Tensor) -> Tensor:
    """Not extensive: the energy goes with the square of the number of atoms."""
    sizes = torch.bincount(graph.structure)[graph.structure]
    return energies * sizes


def sees_the_batch(graph: Graph, energies: Tensor) -> Tensor:
    return energies * graph.n_structures


def ends_at_the_cutoff(power: int) -> Callable[[Graph, Tensor], Tensor]:
    """Power 0 jumps at the cutoff, 1 has a jump of the force, 2 of its slope."""
    return lambda graph, energies: energies + over_receivers(graph, inside_or_not(graph) * inside(graph, power))


def inside_or_not(graph: Graph) -> Tensor:
    return (edge_vectors(graph).norm(dim=1) < CUTOFF).to(graph.positions.dtype)


def has_a_constant(graph: Graph, energies: Tensor) -> Tensor:
    return energies + 1e-3


def forgets_a_derivative(graph: Graph, energies: Tensor) -> Tensor:
    """Half of the energy is cut off from autograd."""
    return 0.5 * energies + 0.5 * energies.detach()


def forgets_the_shifts(graph: Graph, energies: Tensor) -> Tensor:
    vectors = graph.positions[graph.edges.senders] - graph.positions[graph.edges.receivers]
    return energies + 0.1 * over_receivers(graph, torch.sin(vectors.square().sum(dim=1)) * inside(graph, 4))
