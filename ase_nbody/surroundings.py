"""How far the surroundings of atoms are from those that a potential learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ase_nbody.architectures.base import types_of_numbers
from ase_nbody.environments import DISTANCES
from ase_nbody.graph import Graph
from ase_nbody.potential import Potential, seen_by_network
from ase_nbody.results import Results


def environment_distances(potential: Potential, graph: Graph, features: Tensor | None) -> Tensor:
    """Distances of all atoms in units of the furthest of the training, (N,) float64; see `Environments`.

    Args:
        potential: that knows the surroundings of its training.
        graph: structures on its device, in its dtype.
        features: of the network for these, (N, F); made here if None.
    """
    assert potential.environments is not None
    if features is None:
        features = potential.network.atom_invariants(seen_by_network(potential, graph))
    types = types_of_numbers(potential.elements).to(graph.atomic_numbers.device)
    return potential.environments.distances(features, types[graph.atomic_numbers])


def with_environment_distances(
    results: Sequence[Results], potential: Potential, graph: Graph, features: Tensor | None
) -> list[Results]:
    """Results of structures with these distances; as they are where the potential does not know its training.

    Args:
        results: of each structure.
        potential: any.
        graph: the structures.
        features: as `environment_distances` takes them.
    """
    if potential.environments is None:
        return list(results)
    distances = environment_distances(potential, graph, features).cpu().numpy()
    bounds = [0, *torch.bincount(graph.structure, minlength=graph.n_structures).cumsum(0).tolist()]
    return [
        {**result, DISTANCES: distances[first:last].copy()}
        for result, (first, last) in zip(results, pairwise(bounds), strict=True)
    ]
