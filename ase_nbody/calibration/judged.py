"""How well uncertainties fit the errors that a model makes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ase_nbody.calibration.batches import graphs
from ase_nbody.data import Dataset, Evaluation
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES, STRESS
from ase_nbody.uncertainties import uncertainties

Floats = NDArray[np.float64]
FEWEST = 3
"""Structures, or atoms, below which nothing is said."""


@dataclass(frozen=True)
class Deviations:
    """Standard deviations and errors side by side.

    Attributes:
        energy: of each structure, per atom, (S,), eV.
        energy_errors: likewise, NaN where there is no label.
        forces: of each component, (N, 3), eV/angstrom.
        forces_errors: likewise.
        stress: xx, yy, zz, yz, xz, xy, (S, 6), eV/angstrom^3; NaN where it is not defined.
        stress_errors: likewise.
    """

    energy: Floats
    energy_errors: Floats
    forces: Floats
    forces_errors: Floats
    stress: Floats
    stress_errors: Floats


@dataclass(frozen=True)
class Judgement:
    """How errors compare with standard deviations.

    Attributes:
        mean_deviation: root mean square of the standard deviations, thousandths of the unit.
        rmse: root mean square of the errors, likewise; the same as that where they are right on average.
        within_one: share of errors within one standard deviation; 0.68 where they are normally distributed.
        within_two: the same within two; 0.95.
        rank_correlation: of sizes of errors and standard deviations (Spearman's); of forces and stress, of their norms.
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
    energy, forces, stress = standard_deviations(potential, dataset)
    return Deviations(
        energy=energy,
        energy_errors=evaluation.energy_errors_per_atom,
        forces=forces,
        forces_errors=evaluation.of(FORCES).errors,
        stress=stress,
        stress_errors=stress_errors(evaluation),
    )


def stress_errors(evaluation: Evaluation) -> Floats:
    """Of xx, yy, zz, yz, xz, xy, (S, 6), eV/angstrom^3; NaN where there is no label."""
    return np.asarray(full_3x3_to_voigt_6_stress(evaluation.of(STRESS).errors))


def standard_deviations(potential: Potential, dataset: Dataset) -> tuple[Floats, Floats, Floats]:
    """Standard deviations of energies per atom, forces and stress, as `Deviations` has them.

    Args:
        potential: with a posterior.
        dataset: structures, whose labels are not looked at.
    """
    made = [one for graph in graphs(potential, dataset) for one in uncertainties(potential, graph)]
    energies = [one.energy / len(one.energies) for one in made]
    stress = [np.full(6, np.nan) if one.stress is None else one.stress for one in made]
    return np.array(energies), np.concatenate([one.forces for one in made]), np.array(stress)


def judgements(of: Deviations) -> dict[str, Judgement]:
    """Judgements of energies per atom, forces and stress, by these names, where enough is labelled."""
    several = {
        "energy_per_atom": _judgement(of.energy[:, None], of.energy_errors[:, None]),
        "forces": _judgement(of.forces, of.forces_errors),
        "stress": _judgement(of.stress, of.stress_errors),
    }
    return {name: one for name, one in several.items() if one is not None}


def _judgement(deviation: Floats, errors: Floats) -> Judgement | None:
    """Of components, (rows, components)."""
    labelled = ~np.isnan(errors).any(axis=1)
    if labelled.sum() < FEWEST:
        return None
    size, error = deviation[labelled], np.abs(errors[labelled])
    return Judgement(
        mean_deviation=1000 * float(np.sqrt(np.mean(size**2))),
        rmse=1000 * float(np.sqrt(np.mean(error**2))),
        within_one=float(np.mean(error <= size)),
        within_two=float(np.mean(error <= 2 * size)),
        rank_correlation=float(spearmanr(np.linalg.norm(size, axis=1), np.linalg.norm(error, axis=1)).statistic),
    )
