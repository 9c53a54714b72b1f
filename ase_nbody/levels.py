"""Levels of theory of a potential: one of them alone, and what training left open at each."""

from __future__ import annotations

import copy
from dataclasses import replace

from ase_nbody.architectures.theory import choose_level, number_of_levels
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior


def alone_at_level(potential: Potential, number: int) -> Potential:
    """A copy of a potential that is one of its levels of theory alone, with the reference energies of the first.

    Args:
        potential: with all levels.
        number: of the level.
    """
    network = copy.deepcopy(potential.network)
    choose_level(network, number)
    return replace(potential, network=network, posteriors=potential.posteriors[number : number + 1])


def with_posterior(potential: Potential, number: int, posterior: ReadoutPosterior) -> Potential:
    """A potential with another posterior at one of its levels of theory; those of the others stay.

    Args:
        potential: with all levels.
        number: of the level.
        posterior: of the readouts at this level.
    """
    posteriors = list(potential.posteriors or (None,) * number_of_levels(potential.network))
    posteriors[number] = posterior
    return replace(potential, posteriors=tuple(posteriors))
