"""A model with the dispersion of a functional added, as one ASE calculator."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Parameters, all_changes
from numpy.typing import NDArray

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.calculator_inputs import check_stress_is_defined
from ase_nbody.dispersion import (
    check_dispersion_elements,
    check_functional,
    dispersion_hessian,
    dispersion_results,
)
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.model_calculator import ModelCalculator
from ase_nbody.model_information import ModelInformation
from ase_nbody.potential import Potential
from ase_nbody.uncertainties import MEMBERS, Uncertainty

# Names of methods whose energies have dispersion: D2 to D4 as in PBE-D3(BJ), B97-D and ωB97X-D, functionals with
# nonlocal correlation, many-body and Tkatchenko-Scheffler corrections, composite and tight-binding methods, and
# correlated wave functions.
_WITH_DISPERSION = re.compile(
    r"(?:[-+]d[234]|-d|b97x?d[234]?|\bd[34])(?:bj|zero|m|h[45])?(?![a-z0-9])"
    r"|b97m|b97x-r?v(?![a-z])|vv10|vdw|\bmbd|\bxdm|[-+]ts(?![a-z0-9])"
    r"|[a-z0-9]-3c(?![a-z0-9])|xtb|ccsd|\bmp2|ani-1ccx",
    re.IGNORECASE,
)


class DispersionCalculator(ModelCalculator):
    """ASE calculator of a model and D3(BJ) dispersion: energy, free energy, forces and stress are their sums.

    Args:
        model: the calculator of the model; what it says of structures outside its training stays as it is.
        functional: whose parameters of D3(BJ) are taken, such as "PBE": the one that the model learnt.

    Attributes:
        model: as given.
        functional: as given.
        model_energy: the model's share of the energy of the last structure, eV; None before the first.
        dispersion_energy: that of the dispersion, eV.

    Raises:
        ValueError: the level of theory of the model has dispersion by its name, the functional has no parameters, or
            dftd3 is not installed.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012
    made_by = "with_dispersion(calculator, functional)"

    def __init__(self, model: NBodyCalculator, functional: str) -> None:
        check_has_no_dispersion(level_of_theory(model))
        check_functional(functional)
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.functional = functional
        self.model_energy: float | None = None
        self.dispersion_energy: float | None = None
        self.parameters = Parameters(**model.parameters, dispersion=functional)

    @property
    def information(self) -> ModelInformation | None:
        """The header of the model's file."""
        return self.model.information

    @property
    def potential(self) -> Potential:
        """That of the model."""
        return self.model.potential

    @property
    def dispersion_name(self) -> str:
        """What is added, in words."""
        return f"D3(BJ) of {self.functional}"

    @property
    def excursions(self) -> list[EnvelopeReport]:
        """The model's reports of structures outside its training."""
        return self.model.excursions

    def set_atoms(self, atoms: Atoms) -> None:
        """Called by `atoms.calc = ...`: refuses elements that the model does not know or D3 does not have.

        Raises:
            ValueError: as said.
        """
        self.model.set_atoms(atoms)
        check_dispersion_elements(atoms.numbers)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` with the sums of all properties that the structure has.

        Raises:
            PropertyNotImplementedError: the stress was asked for and is not defined; the other results are there.
            OutsideTrainingError, ValueError, CalculationFailed: as NBodyCalculator, and as dispersion_results.
        """
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise ValueError("there is no structure to calculate; give atoms")
        self.atoms, self.results = structure.copy(), {}
        self.model.get_property("energy", structure)
        dispersion = dispersion_results(structure, self.functional)
        self.results = {name: self.model.results[name] + share for name, share in dispersion.items()}
        self.model_energy, self.dispersion_energy = self.model.results["energy"], dispersion["energy"]
        if "stress" in properties:
            check_stress_is_defined(structure)

    def get_envelope(self, atoms: Atoms) -> EnvelopeReport:
        """Where a structure stands in what the model was trained on, by the model's own forces and energy."""
        return self.model.get_envelope(atoms)

    def get_hessian(self, atoms: Atoms) -> NDArray[np.float64]:
        """Second derivatives of the energy by positions, exact, (3N, 3N), eV/angstrom^2.

        Raises:
            ValueError, CalculationFailed: as NBodyCalculator and dispersion_results.
        """
        return self.model.get_hessian(atoms) + dispersion_hessian(atoms, self.functional)

    def get_uncertainty(self, atoms: Atoms, members: int = MEMBERS) -> Uncertainty:
        """Standard deviations of the model's own energy, forces and stress; dispersion has none."""
        return self.model.get_uncertainty(atoms, members)

    def dispersion_difference(self, first: Atoms, second: Atoms) -> float:
        """Dispersion energy of a second structure less that of a first, eV.

        Raises:
            ValueError, CalculationFailed: as dispersion_results.
        """
        energies = [dispersion_results(atoms, self.functional)["energy"] for atoms in (first, second)]
        return float(energies[1] - energies[0])

    def __repr__(self) -> str:
        return f"with_dispersion({self.model!r}, {self.functional!r})"


def with_dispersion(calculator: NBodyCalculator, functional: str) -> DispersionCalculator:
    """A calculator of a model with the D3(BJ) dispersion of a functional added.

    Models learn dispersion no further than their cutoff, and only where their labels have it: for layers and molecular
    crystals by a model of PBE, add that of PBE. Whether the labels of a model have dispersion is yours to know; it is
    refused where the name of its level of theory says so.

    Args:
        calculator: of the model.
        functional: whose parameters are taken, such as "PBE": the one that the model learnt.

    Raises:
        ValueError: the level of theory of the model has dispersion by its name, the functional has no parameters, or
            dftd3 is not installed.
    """
    return DispersionCalculator(calculator, functional)


def level_of_theory(calculator: NBodyCalculator) -> str | None:
    """Name of the level of theory that a calculator was made for; None where it is not known."""
    information = calculator.information
    chosen: str | None = calculator.parameters["level"]
    return chosen or (None if information is None else information.method)


def check_has_no_dispersion(method: str | None) -> None:
    """Refuse a level of theory that has dispersion by its name: it would be counted twice.

    Raises:
        ValueError: as said.
    """
    if method is not None and (name := _WITH_DISPERSION.search(method)):
        raise ValueError(
            f"the model's level of theory, {method}, has dispersion already ('{name[0]}'), and it would be counted "
            "twice; leave the dispersion out, or choose another --model or --level"
        )
