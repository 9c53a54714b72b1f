"""Calibration: a potential learns from labelled structures how uncertain it is, and which surroundings it knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ase_nbody.calibration.errors import CalibrationError, check_readouts
from ase_nbody.calibration.posterior import derivatives, posterior_of
from ase_nbody.calibration.surroundings import features, fitted_surroundings
from ase_nbody.data import Dataset, Evaluation, evaluate, merge, without_isolated_atoms
from ase_nbody.data.copies import copy_numbers
from ase_nbody.data.evaluation import check_elements
from ase_nbody.known_surroundings import KnownSurroundings
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior

ATOMS = 5_000
"""Of structures whose derivatives are taken, spread over all: more change little."""
FOLDS = 5
ATOMS_WITH_SURROUNDINGS = 100_000
"""Of structures whose features are looked at: one forward pass, and the rarest count."""


def covered_surroundings(potential: Potential, datasets: Sequence[Dataset]) -> KnownSurroundings:
    """The surroundings of atoms in structures that a potential was fitted to.

    Args:
        potential: whose features are looked at, at its first level of theory.
        datasets: structures of all levels of theory.

    Raises:
        ValueError: elements that the potential does not know.
    """
    whole = without_isolated_atoms(merge(datasets))
    check_elements(potential.elements, whole)
    return fitted_surroundings(features(potential, spread(whole, ATOMS_WITH_SURROUNDINGS)), potential.elements)


def posterior_of_held_out(potential: Potential, learnt: Dataset, held_out: Dataset) -> ReadoutPosterior:
    """What training left open of the readouts, by errors on structures that it did not learn.

    Args:
        potential: with linear readouts, at one level of theory alone.
        learnt: labelled structures of this level that it was fitted to.
        held_out: labelled structures of the same kind that it was not fitted to.

    Raises:
        CalibrationError: no linear readouts, no structures, or no labels of forces.
        ValueError: elements that the potential does not know.
    """
    check_readouts(potential)
    known, new = without_isolated_atoms(learnt), without_isolated_atoms(held_out)
    if not len(known) or not len(new):
        raise CalibrationError(
            f"{len(known)} structures that the model learnt and {len(new)} that it did not, isolated atoms aside; "
            "uncertainties need both"
        )
    for dataset in (known, new):
        check_elements(potential.elements, dataset)
    unseen = spread(new, ATOMS)
    seen, (_, evaluation) = derivatives(potential, spread(known, ATOMS)), evaluate(potential, unseen)
    return posterior_of(potential, seen, [(seen, unseen)], evaluation)


def posterior_in_turn(
    potential: Potential,
    dataset: Dataset,
    folds: Sequence[tuple[Sequence[int], Sequence[int]]],
    evaluation: Evaluation,
) -> ReadoutPosterior:
    """The same where structures were held out in turn.

    Args:
        potential: with linear readouts, at one level of theory alone.
        dataset: all structures, to which it was fitted, or none of which it knows.
        folds: numbers of the structures that were learnt, and of those that were not.
        evaluation: on those that were not, in this order, of the potential, or of potentials that were fitted like it.

    Raises:
        CalibrationError: no linear readouts, or no labels of forces.
    """
    check_readouts(potential)
    every = derivatives(potential, dataset)
    parts = [(every.subset(learnt), dataset.subset(held_out)) for learnt, held_out in folds]
    return posterior_of(potential, every, parts, evaluation)


def posterior_of_others(potential: Potential, dataset: Dataset) -> ReadoutPosterior:
    """The same with structures of which the potential has learnt none, each held out in one of `FOLDS` folds.

    Raises:
        CalibrationError: no linear readouts, less than two structures, or no labels of forces.
        ValueError: elements that the potential does not know.
    """
    check_readouts(potential)
    some = spread(without_isolated_atoms(dataset), ATOMS)
    numbers = copy_numbers(some.structures)
    n_different = int(numbers.max()) + 1
    if n_different < 2:
        raise CalibrationError(
            f"{n_different} structure(s), isolated atoms and copies aside; uncertainties need at least two"
        )
    chosen = [numbers % FOLDS == fold for fold in range(min(FOLDS, n_different))]
    folds = [(np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()) for held_out in chosen]
    order = [number for _, held_out in folds for number in held_out]
    return posterior_in_turn(potential, some, folds, evaluate(potential, some.subset(order))[1])


def spread(dataset: Dataset, n_atoms: int) -> Dataset:
    """As many structures as have about so many atoms, evenly over all."""
    mean = np.mean([len(atoms) for atoms in dataset.structures])
    number = int(np.clip(n_atoms / mean, 1, len(dataset)))
    return dataset.subset(np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist())
