"""ReferenceCalculator: a reference as an ASE calculator that follows the charge and spin of each structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from ase_nbody.labelling.references import Failure, Reference


class ReferenceCalculator(Calculator):
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
        exact = reference.calculator()
        if hasattr(exact, "get_hessian"):
            self.get_hessian = exact.get_hessian

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
