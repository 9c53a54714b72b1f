"""MeanErrors: how far predictions of one property are from their labels, and its unit in words and in names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_nbody.predictions import Property

MILLI = 1e3


@dataclass(frozen=True)
class MeanErrors:
    """Errors of one property over all that is labelled, vectors and matrices by component; None where nothing is.

    Attributes:
        kind: what they are of.
        mae: mean absolute error, in its unit.
        rmse: root mean square error, likewise.
        without_shift: of energies less the mean error per atom of their composition.
        mae_by_element: of properties of atoms, by chemical symbol.
    """

    kind: Property
    mae: float | None = None
    rmse: float | None = None
    without_shift: bool = False
    mae_by_element: Mapping[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What errors are shown in, a thousandth of the unit, such as "meV/Å"."""
        return f"m{shown(self.kind.unit)}"

    def to_json_dict(self) -> dict[str, Any]:
        """The errors in thousandths of the unit, by names that have it, such as "forces_mae_mev_per_angstrom"."""
        errors: dict[str, Any] = {
            self.name_of(error): None if value is None else MILLI * value
            for error, value in (("rmse", self.rmse), ("mae", self.mae))
        }
        if self.kind.per_atom:
            errors[f"{self.kind.name}_mae_by_element"] = {s: MILLI * mae for s, mae in self.mae_by_element.items()}
        return errors

    def name_of(self, error: str) -> str:
        """What the "mae" or "rmse" is called in `to_json_dict`."""
        end = "_without_shift" if self.without_shift else ""
        return f"{self.kind.name}_{error}_{name_of_unit(self.kind.unit)}{end}"


def mean_absolute(errors: NDArray[np.float64]) -> float | None:
    """Mean size of errors, of any shape, NaN where there is no label; None where there is none at all."""
    labelled = errors[~np.isnan(errors)]
    return float(np.mean(np.abs(labelled))) if labelled.size else None


def root_mean_square(errors: NDArray[np.float64]) -> float | None:
    """Root of the mean square, likewise."""
    labelled = errors[~np.isnan(errors)]
    return float(np.sqrt(np.mean(labelled**2))) if labelled.size else None


def shown(unit: str) -> str:
    """A unit as it is shown.

    >>> shown("eV/angstrom^3"), shown("e angstrom")
    ('eV/Å³', 'e Å')
    """
    return unit.replace("angstrom", "Å").replace("^2", "²").replace("^3", "³")


def name_of_unit(unit: str) -> str:
    """A thousandth of a unit, as it stands in names.

    >>> name_of_unit("eV/angstrom^3"), name_of_unit("e angstrom")
    ('mev_per_cubic_angstrom', 'me_angstrom')
    """
    words = f"m{unit}".lower().replace("/", " per ")
    words = re.sub(r"(\w+)\^2", r"square \1", re.sub(r"(\w+)\^3", r"cubic \1", words))
    return "_".join(re.findall(r"\w+", words))
