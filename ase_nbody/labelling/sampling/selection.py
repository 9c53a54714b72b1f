"""Which structures are kept: no near-duplicates, then those farthest from each other, with a share for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.distances import are_one, composition, differences, interatomic_distances

Floats = NDArray[np.float64]
DECAY = 1.5
"""Angstrom: coverage is measured by exp(-r / 1.5), or a bond at 5 and at 8 would differ more than at 1.5 and at 2."""


def duplicates(structures: Sequence[Atoms], resolution: float) -> list[bool]:
    """Which structures are one with an earlier one.

    Args:
        structures: of any compositions.
        resolution: root mean square difference of interatomic distances, angstrom.
    """
    known: dict[tuple[object, ...], list[Floats]] = {}
    result = []
    for atoms in structures:
        distances = interatomic_distances(atoms)
        others = known.setdefault(composition(atoms), [])
        result.append(are_one(distances, others, resolution))
        if not result[-1]:
            others.append(distances)
    return result


def farthest(structures: Sequence[Atoms], kinds: Sequence[str], shares: Mapping[str, float], number: int) -> list[int]:
    """Structures that cover most, by farthest-point selection.

    The first structure, the minimum, is always chosen. Then, again and again, the kind that lacks most of its share
    gives the structure that differs most from all chosen ones of its composition; what a kind does not have goes to the
    others.

    Args:
        structures: without duplicates.
        kinds: of each structure.
        shares: of each kind, in any unit.
        number: of structures to choose.

    Returns:
        Indices, at most `number`, sorted.
    """
    distances = [np.exp(-interatomic_distances(atoms) / DECAY) for atoms in structures]
    compositions = [composition(atoms) for atoms in structures]
    to_chosen = np.full(len(structures), np.inf)
    left = {kind: [n for n, of in enumerate(kinds) if of == kind] for kind in shares}
    counts = dict.fromkeys(shares, 0)
    chosen: list[int] = []
    while len(chosen) < number and any(left.values()):
        lacking = min((kind for kind in shares if left[kind]), key=lambda kind: (counts[kind] + 1) / shares[kind])
        best = max(left[lacking], key=lambda n: to_chosen[n]) if chosen else 0
        left[kinds[best]].remove(best)
        counts[kinds[best]] += 1
        chosen.append(best)
        same = [n for n, of in enumerate(compositions) if of == compositions[best]]
        to_best = differences(distances[best], [distances[n] for n in same])
        to_chosen[same] = np.minimum(to_chosen[same], to_best)
    return sorted(chosen)
