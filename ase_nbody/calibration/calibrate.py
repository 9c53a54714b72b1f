"""Calibration: a potential learns from labelled structures how uncertain it is, and which surroundings it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ase_nbody.calibration.errors import CalibrationError, check_readouts
from ase_nbody.calibration.posterior import SquaredErrors, derivatives, posterior_of, squared_errors
from ase_nbody.calibration.surroundings import features, fitted_surroundings
from ase_nbody.data import Dataset, evaluate, merge, without_isolated_atoms
from ase_nbody.data.evaluation import check_elements
from ase_nbody.potential import Potential

ATOMS = 5_000
"""Of structures whose derivatives are taken, spread over all: more change little."""
FOLDS = 5
ATOMS_WITH_SURROUNDINGS = 100_000
"""Of structures whose features are looked at: one forward pass, and the rarest count."""


def calibrated(potential: Potential, learnt: Dataset, held_out: Dataset, others: Sequence[Dataset] = ()) -> Potential:
    """A potential with uncertainties and with the surroundings of atoms that it knows.

    Args:
        potential: with linear readouts.
        learnt: labelled structures that it was fitted to.
        held_out: labelled structures of the same kind that it was not fitted to.
        others: structures that it was fitted to at other levels of theory, whose surroundings it knows too.

    Raises:
        CalibrationError: no linear readouts, no structures, or no errors of forces.
        ValueError: elements that the potential does not know.
    """
    check_readouts(potential)
    known, new, *more = (without_isolated_atoms(data) for data in (learnt, held_out, *others))
    if not len(known) or not len(new):
        raise CalibrationError(
            f"{len(known)} structures that the model learnt and {len(new)} that it did not, isolated atoms aside; "
            "uncertainties need both"
        )
    for dataset in (known, new, *more):
        check_elements(potential, dataset)
    seen, unseen = spread(known, ATOMS), spread(new, ATOMS)
    learnt_derivatives = derivatives(potential, seen)
    folds = [(learnt_derivatives, derivatives(potential, unseen))]
    errors = squared_errors(evaluate(potential, unseen)[1])
    surroundings = spread(merge([known, *more]), ATOMS_WITH_SURROUNDINGS)
    return replace(
        potential,
        posterior=posterior_of(potential, learnt_derivatives, folds, errors),
        surroundings=fitted_surroundings(features(potential, surroundings), potential.elements),
    )


def calibrated_in_turn(
    potential: Potential,
    dataset: Dataset,
    folds: Sequence[tuple[Sequence[int], Sequence[int]]],
    errors: SquaredErrors,
) -> Potential:
    """The same where structures were held out in turn.

    Args:
        potential: with linear readouts.
        dataset: all structures, to which it was fitted, or none of which it knows.
        folds: numbers of the structures that were learnt, and of those that were not.
        errors: on those that were not, in this order, of the potential, or of potentials that were fitted like it.

    Raises:
        CalibrationError: no linear readouts, or no errors of forces.
    """
    check_readouts(potential)
    every = derivatives(potential, dataset)
    of_folds = [(every.subset(learnt), every.subset(held_out)) for learnt, held_out in folds]
    return replace(
        potential,
        posterior=posterior_of(potential, every, of_folds, errors),
        surroundings=fitted_surroundings(features(potential, dataset), potential.elements),
    )


def calibrated_on_others(potential: Potential, dataset: Dataset) -> Potential:
    """The same with structures of which the potential has learnt none, each held out in one of `FOLDS` folds.

    Raises:
        CalibrationError: no linear readouts, less than two structures, or no errors of forces.
        ValueError: elements that the potential does not know.
    """
    check_readouts(potential)
    usable = without_isolated_atoms(dataset)
    if len(usable) < 2:
        raise CalibrationError(f"{len(usable)} structure(s), isolated atoms aside; uncertainties need at least two")
    some = spread(usable, ATOMS)
    numbers = np.arange(len(some))
    chosen = [numbers % FOLDS == fold for fold in range(min(FOLDS, len(some)))]
    folds = [(numbers[~held_out].tolist(), numbers[held_out].tolist()) for held_out in chosen]
    order = [number for _, held_out in folds for number in held_out]
    return calibrated_in_turn(potential, some, folds, squared_errors(evaluate(potential, some.subset(order))[1]))


def spread(dataset: Dataset, n_atoms: int) -> Dataset:
    """As many structures as have about so many atoms, evenly over all."""
    mean = np.mean([len(atoms) for atoms in dataset.structures])
    number = int(np.clip(n_atoms / mean, 1, len(dataset)))
    return dataset.subset(np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist())
