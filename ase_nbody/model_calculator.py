"""ModelCalculator: what all calculators of this package keep of ASE's manners."""

from __future__ import annotations

from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorSetupError, all_changes

from ase_nbody.structures import changed_parts


class ModelCalculator(Calculator):
    """An ASE calculator whose parameters are given when it is made, and whose results are of one structure exactly.

    It is abstract: the classes below it calculate.

    Attributes:
        made_by: what makes another one, in words.
    """

    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012
    made_by: ClassVar[str]

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Nothing can be set.

        Raises:
            CalculatorSetupError: anything was given.
        """
        if kwargs:
            raise CalculatorSetupError(f"{sorted(kwargs)} cannot be set; make another one: {self.made_by}")
        return {}

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the structure of the results, in any digit: `tol` is ASE's, and everything counts here."""
        return list(all_changes) if self.atoms is None else changed_parts(self.atoms, atoms)

    def _get_name(self) -> str:
        return "nbody"
