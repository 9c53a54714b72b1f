"""Errors of a potential on a dataset, in the units and names of the field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.data.dataset import Dataset
from ase_nbody.data.evaluation import Compared, Evaluation, evaluation_of
from ase_nbody.data.mean_errors import MILLI, MeanErrors, mean_absolute, root_mean_square
from ase_nbody.data.shifts import CompositionShift, composition_shifts, without_shift
from ase_nbody.envelope_check import EnvelopeCheck
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM, LABELLED, Property

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorReport:
    """Mean errors of all that a potential predicts and labels may be of.

    Energies are of whole structures and per atom. Errors without shift are those less the mean error per atom of their
    composition (proportions of the elements); structures that are alone in their composition have none and do not
    count.

    Attributes:
        n_structures: structures, labelled or not.
        n_compositions: compositions of the structures with an energy label.
        n_structures_without_shift: structures that the errors without shift count.
        errors: of each property.
    """

    n_structures: int
    n_compositions: int
    n_structures_without_shift: int
    errors: tuple[MeanErrors, ...]

    def of(self, kind: Property, *, without_shift: bool = False) -> MeanErrors:
        """Errors of one property, in its unit; None in it where nothing is labelled."""
        same = (e for e in self.errors if e.kind == kind and e.without_shift == without_shift)
        return next(same, MeanErrors(kind, without_shift=without_shift))

    def to_json_dict(self) -> dict[str, Any]:
        """The report as plain numbers, strings and dictionaries; errors in thousandths, with the unit in the name.

        "further" has the units of properties beside energies, forces and stress, where there are any.
        """
        counts = {name: value for name, value in vars(self).items() if name != "errors"}
        errors = {name: value for one in self.errors for name, value in one.to_json_dict().items()}
        further = {e.kind.name: e.kind.unit for e in self.errors if e.kind not in (*LABELLED, ENERGY_PER_ATOM)}
        return counts | errors | ({"further": further} if further else {})


def evaluate(
    potential: Potential, dataset: Dataset, *, batch_atoms: int = 500, check: EnvelopeCheck | None = None
) -> tuple[ErrorReport, Evaluation]:
    """Predictions of a potential for all structures of a dataset, and their errors.

    Args:
        potential: as `evaluation_of`.
        dataset: likewise.
        batch_atoms: likewise.
        check: likewise.

    Raises:
        ValueError: as `evaluation_of`.
    """
    evaluation = evaluation_of(potential, dataset, batch_atoms=batch_atoms, check=check)
    return error_report(evaluation), evaluation


def error_report(evaluation: Evaluation) -> ErrorReport:
    """Errors of predictions, over what is labelled."""
    shifts, n_compositions = _shifts(evaluation)
    rest = without_shift(evaluation.energy_errors_per_atom, shifts)  # (S,)
    others = (compared for compared in evaluation.compared if compared.kind != ENERGY)
    return ErrorReport(
        n_structures=len(evaluation.n_atoms),
        n_compositions=n_compositions,
        n_structures_without_shift=int((~np.isnan(rest)).sum()),
        errors=(
            _mean_errors(ENERGY, evaluation.of(ENERGY).errors),
            _mean_errors(ENERGY_PER_ATOM, evaluation.energy_errors_per_atom),
            _mean_errors(ENERGY, rest * evaluation.n_atoms, without_shift=True),
            _mean_errors(ENERGY_PER_ATOM, rest, without_shift=True),
            *(
                _mean_errors(compared.kind, compared.errors, by_element=_by_element(compared, evaluation))
                for compared in others
            ),
        ),
    )


def error_words(report: ErrorReport) -> str:
    """Errors of what is labelled, in words."""
    return "; ".join(_words(report))


def energy_shifts(evaluation: Evaluation) -> list[CompositionShift]:
    """The mean error of the energies of each composition that at least two structures have."""
    return _shifts(evaluation)[0]


def _shifts(evaluation: Evaluation) -> tuple[list[CompositionShift], int]:
    return composition_shifts(evaluation.energy_errors_per_atom, evaluation.n_atoms, evaluation.atomic_numbers)


def _mean_errors(
    kind: Property, errors: Floats, *, without_shift: bool = False, by_element: dict[str, float] | None = None
) -> MeanErrors:
    return MeanErrors(kind, mean_absolute(errors), root_mean_square(errors), without_shift, by_element or {})


def _by_element(compared: Compared, evaluation: Evaluation) -> dict[str, float]:
    """Mean absolute errors of a property of atoms, by chemical symbol; of structures, none."""
    if not compared.kind.per_atom:
        return {}
    numbers = evaluation.atomic_numbers
    maes = {chemical_symbols[z]: mean_absolute(compared.errors[numbers == z]) for z in np.unique(numbers)}
    return {symbol: mae for symbol, mae in maes.items() if mae is not None}


def _words(report: ErrorReport) -> Iterator[str]:
    whole, per_atom, rest = (
        report.of(ENERGY),
        report.of(ENERGY_PER_ATOM),
        report.of(ENERGY_PER_ATOM, without_shift=True),
    )
    if whole.mae is not None and per_atom.mae is not None:
        words = f"energy MAE {MILLI * whole.mae:.2f} {whole.unit}, {MILLI * per_atom.mae:.3f} {per_atom.unit}"
        yield words + ("" if rest.mae is None else f" ({MILLI * rest.mae:.3f} without shift)")
    for one in report.errors:
        if one.kind in (ENERGY, ENERGY_PER_ATOM) or one.mae is None or one.rmse is None:
            continue
        if one.kind.per_atom:
            yield f"{one.kind.name} MAE {MILLI * one.mae:.2f}, RMSE {MILLI * one.rmse:.2f} {one.unit}"
        else:
            yield f"{one.kind.name} MAE {MILLI * one.mae:.3f} {one.unit}"
