"""Whether a structure lies within what a model's training data cover."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms

from ase_nbody.graph import closest_distances
from ase_nbody.neighbours import neighbour_graph


def closer_than(atoms: Atoms, limits: Mapping[str, float]) -> dict[str, float]:
    """Pairs of elements that come closer than they ever did in the training data.

    Args:
        atoms: the structure.
        limits: closest distance in the training data by pair of elements, angstrom; keys are sorted symbols such as
            "C-H".

    Returns:
        The smallest distance of each pair that is too close, angstrom.
    """
    present = set(atoms.symbols)
    limits = {pair: limit for pair, limit in limits.items() if present.issuperset(pair.split("-"))}
    if not limits:
        return {}
    found = closest_distances(neighbour_graph(atoms, max(limits.values())))
    return {pair: distance for pair, distance in found.items() if pair in limits and distance < limits[pair]}
