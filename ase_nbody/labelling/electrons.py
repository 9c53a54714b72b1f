"""Electrons of a structure: its charge and its multiplicity, and calculators that notice when these change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class ElectronicState:
    """Charge and spin of a structure.

    Attributes:
        charge: in units of e.
        multiplicity: 2S + 1.
        lowest_multiplicity: that the number of electrons allows: 1 or 2.
    """

    charge: int
    multiplicity: int
    lowest_multiplicity: int

    @property
    def is_ordinary(self) -> bool:
        """Whether it is what a method without charge and spin describes."""
        return self.charge == 0 and self.multiplicity == self.lowest_multiplicity


def electronic_state(atoms: Atoms) -> ElectronicState:
    """Charge and multiplicity from a structure's info; 0 and the lowest possible where they are not given.

    Raises:
        ValueError: they are no whole numbers, or the number of electrons does not allow the multiplicity.
    """
    charge = _whole(atoms.info.get("charge", 0), "charge")
    electrons = int(atoms.numbers.sum()) - charge
    lowest = 1 + electrons % 2
    multiplicity = _whole(atoms.info.get("multiplicity", lowest), "multiplicity")
    if electrons < 0 or multiplicity < 1 or (multiplicity - lowest) % 2 or multiplicity > electrons + 1:
        raise ValueError(f"{electrons} electrons (charge {charge}) cannot have multiplicity {multiplicity}")
    return ElectronicState(charge, multiplicity, lowest)


class ElectronsCalculator(Calculator):
    """Base of calculators that read charge and multiplicity from a structure's info, which ASE's comparison ignores."""

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What of a structure changed since the last calculation; "info" where charge or multiplicity did."""
        changes: list[str] = Calculator.check_state(self, atoms, tol=tol)
        same = self.atoms is not None and _given(self.atoms) == _given(atoms)
        return changes if same else [*changes, "info"]


def _given(atoms: Atoms) -> tuple[Any, Any]:
    return atoms.info.get("charge"), atoms.info.get("multiplicity")


def _whole(value: Any, name: str) -> int:
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf" or number != np.round(number):
        raise ValueError(f"the {name} of the structure's info is {value!r}; a whole number is expected")
    return int(number)
