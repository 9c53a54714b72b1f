"""Where the nuclear repulsion of a trained potential sets in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from ase_nbody.graph import batch_graphs
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.repulsion import SWITCH_WIDTH

LOWEST_ONSET = 0.9
"""Fraction of the closest distance down to which a network that repels is followed: hot structures come closer than
those of a training; `benchmarks/add_repulsion.py MODEL --data FILE` shows whether the repulsion changes errors."""

_STEP = 0.005  # of the closest distance, between the distances that are tried


def repulsion_onsets(potential: Potential, closest: Mapping[str, float]) -> dict[str, float]:
    """Onset of the repulsion of each pair of elements, angstrom, by pair such as "C-H".

    It is 0.9 times the closest distance of the training, or farther out where the network by itself stops repelling two
    atoms alone: no distance at which it attracts is left to the network, except beyond the closest distance. Pairs that
    the training never had within the cutoff have the sum of their covalent radii (Cordero et al. 2008, doi
    10.1039/b801115j, from ASE) in place of the closest distance, as far as the network sees.

    Args:
        potential: trained; its own repulsion, if any, is not looked at.
        closest: closest distances of the training, angstrom, by pair.
    """
    pairs = sorted("-".join(sorted(pair)) for pair in combinations_with_replacement(potential.elements, 2))
    starts = {pair: closest.get(pair, min(_sum_of_radii(pair), potential.network.settings.cutoff)) for pair in pairs}
    network = replace(potential, repulsion=None)
    return {pair: start * _fraction(network, pair, start) for pair, start in starts.items()}


def _fraction(potential: Potential, pair: str, start: float) -> float:
    """Onset over the closest distance: the network sees (1 - w / 2) times the onset at least, and repels there."""
    seen = 1.0 - 0.5 * SWITCH_WIDTH
    fractions = np.arange(1.0, LOWEST_ONSET * seen - _STEP, -_STEP)
    graphs = [
        neighbour_graph(
            Atoms(pair.split("-"), [[0.0, 0.0, 0.0], [0.0, 0.0, start * fraction]]),
            potential.cutoff,
            dtype=potential.dtype,
            device=potential.device,
        )
        for fraction in fractions
    ]
    forces = predict(potential, batch_graphs(graphs)).forces.detach().cpu()[1::2, 2].numpy()
    attracts = np.flatnonzero(~(forces > 0))
    if not len(attracts):
        return LOWEST_ONSET
    return float(min(max((fractions[attracts[0]] + _STEP) / seen, LOWEST_ONSET), 1.0))


def _sum_of_radii(pair: str) -> float:
    return float(sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair.split("-")))
