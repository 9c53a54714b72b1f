"""A small many-body network for tests of what stands above the networks."""

from __future__ import annotations

import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from ase_nbody.architectures.base import Architecture, Network, NetworkSettings
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.potential import Potential


class ToySettings(NetworkSettings):
    width: int = 3


class ToyNetwork(Network):
    """rho + rho^2 / 10 of each atom, rho a sum of pair terms that are smooth through the cutoff."""

    def __init__(self, settings: ToySettings, *, generator: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        n = len(settings.elements)
        self.weights = nn.Parameter(torch.randn(n, n, settings.width, generator=generator, dtype=torch.float64))
        index = torch.zeros(119, dtype=torch.int64)
        index[[atomic_numbers[e] for e in settings.elements]] = torch.arange(n)
        self.register_buffer("index", index)

    def forward(self, graph: Graph) -> Tensor:
        kinds = self.index[graph.atomic_numbers]
        lengths = edge_vectors(graph).norm(dim=1)
        x = (lengths / self.settings.cutoff).clamp(max=1.0)
        powers = torch.stack([x**k for k in range(self.settings.width)], dim=1)
        weights = self.weights[kinds[graph.edges.receivers], kinds[graph.edges.senders]]
        pair = (powers * weights).sum(dim=1) * (1 - x**2) ** 4
        density = pair.new_zeros(graph.n_atoms).index_add(0, graph.edges.receivers, pair)
        return density + 0.1 * density**2


ARCHITECTURE = Architecture(
    name="toy",
    source="none",
    settings=ToySettings,
    network=ToyNetwork,
    presets={"small": {}, "medium": {"width": 4}, "large": {"width": 5}},
)


def toy_potential(elements: tuple[str, ...] = ("H", "C", "O"), cutoff: float = 4.0, seed: int = 0) -> Potential:
    settings = ToySettings(elements=elements, cutoff=cutoff)
    network = ToyNetwork(settings, generator=torch.Generator().manual_seed(seed))
    return Potential(network, {e: -10.0 * (n + 1) for n, e in enumerate(elements)}, energy_scale=0.7)
