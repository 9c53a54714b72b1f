"""How well uncertainties fit the errors that a model makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ase_nbody.calibration.batches import graphs
from ase_nbody.data import Dataset, Evaluation
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES
from ase_nbody.uncertainties import uncertainties

Floats = NDArray[np.float64]
FEWEST = 3
"""Errors, below which nothing is said."""


@dataclass(frozen=True)
class Deviations:
    """Standard deviations and errors side by side.

    Attributes:
        energy: of each structure, per atom, (S,), eV.
        energy_errors: likewise, NaN where there is no label.
        forces: of each component, (N, 3), eV/angstrom.
        forces_errors: likewise.
    """

    energy: Floats
    energy_errors: Floats
    forces: Floats
    forces_errors: Floats


@dataclass(frozen=True)
class Judgement:
    """How errors compare with standard deviations.

    Attributes:
        mean_deviation: root mean square of the standard deviations, thousandths of the unit.
        rmse: root mean square of the errors, likewise; the same as that where they are right on average.
        within_one: share of errors within one standard deviation; 0.68 where they are normally distributed.
        within_two: the same within two; 0.95.
        rank_correlation: of sizes of errors and standard deviations (Spearman's); of forces, of their norms on atoms.
    """

    mean_deviation: float
    rmse: float
    within_one: float
    within_two: float
    rank_correlation: float

    def to_json_dict(self) -> dict[str, Any]:
        """As plain numbers."""
        return asdict(self)


def deviations(potential: Potential, dataset: Dataset, evaluation: Evaluation) -> Deviations:
    """Standard deviations of a potential's predictions beside its errors.

    Args:
        potential: with a posterior.
        dataset: labelled structures.
        evaluation: of the potential on these.
    """
    predicted = [one for graph in graphs(potential, dataset) for one in uncertainties(potential, graph)]
    return Deviations(
        energy=np.array([one.energy for one in predicted]) / evaluation.n_atoms,
        energy_errors=evaluation.energy_errors_per_atom,
        forces=np.concatenate([one.forces for one in predicted]),
        forces_errors=evaluation.of(FORCES).errors,
    )


def judgements(of: Deviations) -> dict[str, Judgement]:
    """Judgements of energies per atom and of forces, by these names, where enough is labelled."""
    atoms = np.linalg.norm(of.forces, axis=1), np.linalg.norm(of.forces_errors, axis=1)
    several = {
        "energy_per_atom": _judgement(of.energy, of.energy_errors, (of.energy, np.abs(of.energy_errors))),
        "forces": _judgement(of.forces.ravel(), of.forces_errors.ravel(), atoms),
    }
    return {name: one for name, one in several.items() if one is not None}


def _judgement(deviation: Floats, errors: Floats, ranked: tuple[Floats, Floats]) -> Judgement | None:
    labelled = ~np.isnan(errors)
    if labelled.sum() < FEWEST:
        return None
    size, error = deviation[labelled], np.abs(errors[labelled])
    known = ~np.isnan(ranked[1])
    return Judgement(
        mean_deviation=1000 * float(np.sqrt(np.mean(size**2))),
        rmse=1000 * float(np.sqrt(np.mean(error**2))),
        within_one=float(np.mean(error <= size)),
        within_two=float(np.mean(error <= 2 * size)),
        rank_correlation=float(spearmanr(ranked[0][known], ranked[1][known]).statistic),
    )
