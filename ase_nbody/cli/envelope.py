"""Whether a structure lies within what a model's training data cover."""

from __future__ import annotations

from collections.abc import Mapping

from ase import Atoms
from ase.neighborlist import neighbor_list


def closer_than(atoms: Atoms, closest_distances: Mapping[str, float]) -> dict[str, float]:
    """Pairs of elements that come closer than they ever did in the training data.

    Args:
        atoms: the structure.
        closest_distances: closest distance of pairs of elements, such as "C-H", angstrom.

    Returns:
        The smallest distance of each pair that is too close, angstrom.
    """
    present = set(atoms.symbols)
    cutoffs = {tuple(pair.split("-")): distance for pair, distance in closest_distances.items()}
    cutoffs = {pair: distance for pair, distance in cutoffs.items() if present.issuperset(pair)}
    if not cutoffs:
        return {}
    names = {frozenset(pair.split("-")): pair for pair in closest_distances}
    symbols = atoms.get_chemical_symbols()
    found: dict[str, float] = {}
    for i, j, distance in zip(*neighbor_list("ijd", atoms, cutoffs), strict=True):
        pair = names[frozenset((symbols[i], symbols[j]))]
        found[pair] = min(float(distance), found.get(pair, float(distance)))
    return found
