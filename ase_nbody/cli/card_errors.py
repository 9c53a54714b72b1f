"""Errors of models in the tables of cards: their columns and rows, from the reports in model files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_nbody.model_information import ModelInformation

ERRORS = {
    "structures": ("n_structures", "d"),
    "energy MAE, meV": ("energy_mae_mev", ".2f"),
    "energy MAE, meV/atom": ("energy_mae_mev_per_atom", ".3f"),
    "energy RMSE, meV/atom": ("energy_rmse_mev_per_atom", ".3f"),
    "forces MAE, meV/Å": ("forces_mae_mev_per_angstrom", ".2f"),
    "forces RMSE, meV/Å": ("forces_rmse_mev_per_angstrom", ".2f"),
    "stress MAE, meV/Å³": ("stress_mae_mev_per_cubic_angstrom", ".3f"),
    "stress RMSE, meV/Å³": ("stress_rmse_mev_per_cubic_angstrom", ".3f"),
}
"""Columns of tables of errors of energies, forces and stress: name in a report and format of each."""

IN_BRIEF = ("energy MAE, meV/atom", "energy RMSE, meV/atom", "forces MAE, meV/Å", "forces RMSE, meV/Å")
"""Columns of the table of models."""


def error_columns(information: ModelInformation) -> dict[str, tuple[str, str]]:
    """Columns of errors that are known, as `ERRORS` has them; what is predicted beside energies comes last."""
    reports = information.errors.values()
    units = {name: unit for report in reports for name, unit in report.get("further", {}).items()}
    columns = ERRORS | {head: (name, ".3f") for head, name in _further_columns(units)}
    return {
        head: (name, form) for head, (name, form) in columns.items() if any(r.get(name) is not None for r in reports)
    }


def _further_columns(units: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from ase_nbody.data.mean_errors import name_of_unit, shown

    for name, unit in units.items():
        for error in ("MAE", "RMSE"):
            yield f"{name} {error}, m{shown(unit)}", f"{name}_{error.lower()}_{name_of_unit(unit)}"


def error_rows(information: ModelInformation, columns: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """Name of each set and its errors in some columns."""
    for key, report in information.errors.items():
        name = "validation" if key == "valid" else key
        yield name, *(error_cell(report, *column) for column in columns.values())


def error_cell(report: Mapping[str, Any], name: str, form: str) -> str:
    """An error of a report by its name there, in a format; a dash where there is none."""
    return "–" if report.get(name) is None else format(report[name], form)
