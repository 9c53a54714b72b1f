"""How far the surroundings of atoms are from those that a potential learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.graph import Graph, bounds_of_structures
from ase_nbody.known_surroundings import DISTANCES
from ase_nbody.potential import Potential, seen_by_network
from ase_nbody.results import Results
from ase_nbody.timings import Timings

STEP = 0.03
"""Way of an atom, angstrom, after which its surroundings may be others: some steps of dynamics."""


def network_features(potential: Potential, graph: Graph) -> Tensor:
    """Invariant features of all atoms as the network sees them, (N, F): by its evaluation on the CPU, which is quick.

    Args:
        potential: whose network has features.
        graph: structures on its device, in its dtype.
    """
    seen = seen_by_network(potential, graph)
    made = potential.network.gradients(seen, Timings(), features=True) if potential.device.type == "cpu" else None
    if made is None or made.features is None:
        return potential.network.atom_invariants(seen)
    return made.features


def surroundings_distances(potential: Potential, graph: Graph, features: Tensor | None) -> Tensor:
    """Distances of all atoms in units of the furthest of the training, (N,) float64; see `KnownSurroundings`.

    Args:
        potential: that knows the surroundings of its training.
        graph: structures on its device, in its dtype.
        features: of the network for these, (N, F); made here if None.
    """
    assert potential.surroundings is not None
    if features is None:
        features = network_features(potential, graph)
    return potential.surroundings.distances(features, graph.atomic_numbers)


class SurroundingsWatch:
    """Looks at the surroundings in a moving structure, and again once an atom has moved by `STEP`.

    Args:
        potential: that knows the surroundings of its training.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self._seen: tuple[Tensor, Tensor, Tensor] | None = None
        self._distances: NDArray[np.float64] | None = None

    def distances(self, graph: Graph, features: Tensor | None) -> NDArray[np.float64]:
        """Those of the last structure that was looked at, in which no atom was farther away than `STEP`, (N,).

        Args:
            graph: one structure.
            features: as `surroundings_distances` takes them.
        """
        now = graph.atomic_numbers, graph.positions, graph.cell
        if self._distances is None or self._seen is None or _moved(self._seen, now):
            self._distances = surroundings_distances(self._potential, graph, features).cpu().numpy()
            self._seen = tuple(part.detach().clone() for part in now)  # type: ignore[assignment]
        return self._distances


def _moved(before: tuple[Tensor, Tensor, Tensor], now: tuple[Tensor, Tensor, Tensor]) -> bool:
    """Whether elements differ, or a component of a position or of the cell by `STEP`."""
    if not torch.equal(before[0], now[0]):
        return True
    return any(float((new - old).abs().max()) > STEP for old, new in zip(before[1:], now[1:], strict=True))


def with_surroundings_distances(
    results: Sequence[Results], potential: Potential, graph: Graph, features: Tensor | None
) -> list[Results]:
    """Results of structures with these distances; as they are where the potential does not know its training.

    Args:
        results: of each structure.
        potential: any.
        graph: the structures.
        features: as `surroundings_distances` takes them.
    """
    if potential.surroundings is None:
        return list(results)
    distances = surroundings_distances(potential, graph, features).cpu().numpy()
    bounds = bounds_of_structures(graph)
    return [
        {**result, DISTANCES: distances[first:last].copy()}
        for result, (first, last) in zip(results, pairwise(bounds), strict=True)
    ]
