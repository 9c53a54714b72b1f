"""Uncertainties of an adapted model, from the errors on what was held out in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ase_nbody.calibration.posterior import SquaredErrors, derivatives, posterior_of
from ase_nbody.calibration.surroundings import features, fitted_environments
from ase_nbody.data import Dataset
from ase_nbody.meta.held_out import Fold
from ase_nbody.potential import Potential


def calibrated_by_folds(
    potential: Potential, dataset: Dataset, folds: Sequence[Fold], errors: SquaredErrors
) -> Potential:
    """A potential with uncertainties and with the surroundings of atoms that it knows, where there can be any.

    Args:
        potential: fitted to all structures.
        dataset: the structures.
        folds: of them, in which potentials like it were fitted to the others.
        errors: of these potentials on what was held out, in this order.
    """
    if not potential.network.linear_readouts() or np.isnan(errors.forces).all():
        return potential
    learnt = derivatives(potential, dataset)
    parts = [(learnt.subset(fold.learnt), learnt.subset(fold.held_out)) for fold in folds]
    environments = fitted_environments(features(potential, dataset), potential.elements)
    return replace(potential, posterior=posterior_of(potential, learnt, parts, errors), environments=environments)
