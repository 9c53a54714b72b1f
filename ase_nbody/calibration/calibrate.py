"""Calibration: a potential learns from labelled structures how uncertain it is, and which surroundings it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ase_nbody.calibration.errors import CalibrationError
from ase_nbody.calibration.posterior import derivatives, posterior_of, squared_errors
from ase_nbody.calibration.surroundings import features, fitted_environments
from ase_nbody.data import Dataset, evaluate, merge, without_isolated_atoms
from ase_nbody.potential import Potential

ATOMS = 20_000
"""Of structures whose derivatives are taken, spread over all: more change little."""
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
    """
    check_readouts(potential)
    known, new, *more = (without_isolated_atoms(data) for data in (learnt, held_out, *others))
    if not len(known) or not len(new):
        raise CalibrationError(
            f"{len(known)} structures that the model learnt and {len(new)} that it did not, isolated atoms aside; "
            "uncertainties need both"
        )
    seen, unseen = spread(known, ATOMS), spread(new, ATOMS)
    learnt_derivatives = derivatives(potential, seen)
    folds = [(learnt_derivatives, derivatives(potential, unseen))]
    errors = squared_errors(evaluate(potential, unseen)[1])
    surroundings = spread(merge([known, *more]), ATOMS_WITH_SURROUNDINGS)
    return replace(
        potential,
        posterior=posterior_of(potential, learnt_derivatives, folds, errors),
        environments=fitted_environments(features(potential, surroundings), potential.elements),
    )


def check_readouts(potential: Potential) -> None:
    """Refuse a network without linear readouts.

    Raises:
        CalibrationError: as said.
    """
    if not potential.network.linear_readouts():
        raise CalibrationError(
            f"{type(potential.network).__name__} with these settings has no linear readouts, from which uncertainties "
            "could follow; take a model of the architecture nbody, sevennet or mace, or nequip without hidden layers "
            "in its readout"
        )


def spread(dataset: Dataset, n_atoms: int) -> Dataset:
    """As many structures as have about so many atoms, evenly over all."""
    mean = np.mean([len(atoms) for atoms in dataset.structures])
    number = int(np.clip(n_atoms / mean, 1, len(dataset)))
    return dataset.subset(np.linspace(0, len(dataset) - 1, number).round().astype(int).tolist())
