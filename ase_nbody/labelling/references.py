"""References: what gives structures their labels, and its level of theory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculationFailed, Calculator, all_changes
from numpy.typing import NDArray

from ase_nbody.data.labels import has_stress
from ase_nbody.labelling.electrons import ElectronicState, ElectronsCalculator, electronic_state
from ase_nbody.structures import check_structure


@dataclass(frozen=True)
class LevelOfTheory:
    """What labels were computed with.

    Attributes:
        method: such as "GFN2-xTB" or "PBE/def2-svp".
        program: such as "tblite".
        version: of the program.
        settings: all else that decides the numbers, as JSON values by name.
    """

    method: str
    program: str
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Method and program in words."""
        return f"{self.method} ({self.program} {self.version})"


@dataclass(frozen=True)
class Label:
    """What a reference says about a structure of N atoms.

    Attributes:
        energy: that the forces are the derivative of, eV.
        forces: (N, 3), eV/angstrom.
        stress: (6,), ASE's Voigt order and sign, eV/angstrom^3; None where there is none.
        extra_info: more on the structure by name.
        extra_arrays: more on its atoms by name, (N, ...).
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None
    extra_info: Mapping[str, float | str] = field(default_factory=dict)
    extra_arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a structure has no label.

    Attributes:
        reason: in words.
    """

    reason: str


class Reference(ABC):
    """What gives structures their labels."""

    @property
    @abstractmethod
    def level(self) -> LevelOfTheory:
        """What the labels are computed with."""

    @property
    def batch_size(self) -> int:
        """How many structures are best labelled together."""
        return 1

    @abstractmethod
    def label(self, structures: Sequence[Atoms]) -> list[Label | Failure]:
        """Labels in the order of the structures; a structure that fails costs the others nothing."""

    def hessian(self) -> Callable[[Atoms], NDArray[np.float64]] | None:
        """What gives exact second derivatives of a structure, (3N, 3N), eV/angstrom^2, where there is such a thing."""
        return None

    def calculator(self) -> ReferenceCalculator:
        """A calculator of ASE that gives the same energies and forces, with the charge and spin of each structure."""
        return ReferenceCalculator(self)


class ReferenceCalculator(ElectronsCalculator):
    """What a reference says about structures, charge and multiplicity read from their info.

    It has `get_hessian` where the calculator of the reference has it.

    Args:
        reference: gives the labels; a structure that it refuses raises CalculationFailed.
    """

    implemented_properties: list[str] = [  # noqa: RUF012 - as ASE declares it
        "energy",
        "free_energy",
        "forces",
        "stress",
    ]

    def __init__(self, reference: Reference) -> None:
        Calculator.__init__(self)
        self._reference = reference
        if (hessian := reference.hessian()) is not None:
            self.get_hessian = hessian

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill in the results for a structure; without a stress where the reference has none.

        Raises:
            CalculationFailed: the reference gives no label; with its reason.
        """
        Calculator.calculate(self, atoms, properties, system_changes)
        (label,) = self._reference.label([] if self.atoms is None else [self.atoms])
        if isinstance(label, Failure):
            raise CalculationFailed(label.reason)
        results: dict[str, Any] = {"energy": label.energy, "free_energy": label.energy, "forces": label.forces}
        self.results = results if label.stress is None else {**results, "stress": label.stress}


class CalculatorReference(Reference):
    """A reference made of any ASE calculator.

    A calculator is reset before each structure, so that labels do not depend on those before. One that would write its
    files into the working folder gets a folder of its own: processes would read each other's files.

    Args:
        calculator_factory: makes a calculator for a charge and a spin.
        level: what it computes.
    """

    def __init__(self, calculator_factory: Callable[[ElectronicState], BaseCalculator], level: LevelOfTheory) -> None:
        self._factory = calculator_factory
        self._level = level
        self._calculators: dict[ElectronicState, BaseCalculator] = {}

    @property
    def level(self) -> LevelOfTheory:
        """What the labels are computed with."""
        return self._level

    def label(self, structures: Sequence[Atoms]) -> list[Label | Failure]:
        """Labels in the order of the structures; a structure that fails costs the others nothing."""
        return [self._label(atoms) for atoms in structures]

    def hessian(self) -> Callable[[Atoms], NDArray[np.float64]] | None:
        """That of the calculator for neutral structures without unpaired electrons, where it has one."""
        return getattr(self._made(ElectronicState(0, 1, 1)), "get_hessian", None)

    @cached_property
    def _folder(self) -> str:
        folder = mkdtemp(prefix="nbody-")
        finalize(self, rmtree, folder, ignore_errors=True)
        return folder

    def _made(self, state: ElectronicState) -> BaseCalculator:
        calculator = self._factory(state)
        if str(getattr(calculator, "directory", None)) in (".", ""):
            calculator.directory = self._folder  # type: ignore[attr-defined]
        return calculator

    def _label(self, atoms: Atoms) -> Label | Failure:
        try:
            check_structure(atoms)
            state = electronic_state(atoms)
            if state not in self._calculators:
                self._calculators[state] = self._made(state)
            calculator = self._calculators[state]
            if hasattr(calculator, "reset"):
                calculator.reset()
            return calculated_label(atoms, calculator)
        except Exception as error:  # calculators raise errors of every kind
            self._calculators.clear()  # what a failed calculation leaves behind is not known
            return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


def calculated_label(atoms: Atoms, calculator: BaseCalculator) -> Label:
    """The label that an ASE calculator gives; the energy is its free energy where it has one, as forces belong to it.

    Args:
        atoms: the structure; it is only read.
        calculator: of ASE.

    Raises:
        Exception: of any kind, from the calculator.
    """
    structure = atoms.copy()
    structure.calc = calculator
    properties = getattr(calculator, "implemented_properties", ())
    forces = np.array(calculator.get_property("forces", structure), dtype=np.float64)  # (N, 3)
    has_free = "free_energy" in properties
    energy = float(calculator.get_property("free_energy" if has_free else "energy", structure))
    stress = None
    if "stress" in properties and has_stress(atoms):
        stress = np.array(calculator.get_property("stress", structure), dtype=np.float64)  # (6,)
    return Label(energy, forces, stress)


def ase_reference(calculator_factory: Callable[[], BaseCalculator], level: LevelOfTheory) -> CalculatorReference:
    """A reference made of an ASE calculator that knows neither charge nor spin; such structures are refused.

    Args:
        calculator_factory: makes the calculator.
        level: what it computes.
    """

    def ordinary(state: ElectronicState) -> BaseCalculator:
        if not state.is_ordinary:
            raise ValueError(
                f"{level.method} knows neither charge nor spin (charge {state.charge}, multiplicity "
                f"{state.multiplicity} of the structure's info)"
            )
        return calculator_factory()

    return CalculatorReference(ordinary, level)
