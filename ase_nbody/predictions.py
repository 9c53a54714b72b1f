"""What potentials predict: an open list of described properties; Prediction and Targets hold values of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # descriptions are read without torch
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Property:
    """A kind of quantity that is predicted.

    Attributes:
        name: in ASE's results.
        unit: in words, such as "eV/angstrom"; without a prefix, as errors are shown in thousandths.
        per_atom: one value for each atom; else for each structure.
        shape: of one value, such as (3,) for a vector; () for a number.
        parity: 1 where the mirror image of a structure has the same values, -1 where they have the other sign.
        extensive: the value of a structure is n times as large in a cell n times as large; else it is the same. That
            of an atom is the same in any case.
        always: every structure has it, so that values that are not finite are errors; else NaN says that a structure
            has none.
        voigt: ASE has these symmetric (3, 3) as xx, yy, zz, yz, xz, xy.
        rounding: labels that were written with other numbers of digits differ by less, in the unit.
    """

    name: str
    unit: str
    per_atom: bool
    shape: tuple[int, ...] = ()
    parity: int = 1
    extensive: bool = False
    always: bool = True
    voigt: bool = False
    rounding: float = 1e-3


ENERGY = Property("energy", "eV", per_atom=False, extensive=True)
ENERGIES = Property("energies", "eV", per_atom=True)
FORCES = Property("forces", "eV/angstrom", per_atom=True, shape=(3,), parity=-1)
STRESS = Property("stress", "eV/angstrom^3", per_atom=False, shape=(3, 3), always=False, voigt=True, rounding=1e-5)

OF_EVERY_POTENTIAL = (ENERGY, ENERGIES, FORCES, STRESS)
"""What every potential predicts; terms may predict more."""
LABELLED = (ENERGY, FORCES, STRESS)
"""Of these, what labels are of: how an energy is shared among the atoms is a model's own."""
ENERGY_PER_ATOM = Property("energy", "eV/atom", per_atom=False)
"""What errors of energies are also given of."""


@dataclass(frozen=True)
class Predicted:
    """A property and its values in a batch.

    Attributes:
        property: what it is.
        values: (N, *shape) for a property of atoms, (B, *shape) for one of structures.
    """

    property: Property
    values: Tensor


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a batch.

    Attributes:
        energy: (B,) float64, eV.
        energies: energy of each atom, reference energy included, (N,) float64, eV.
        forces: (N, 3), eV/angstrom.
        stress: (B, 3, 3), eV/angstrom^3, ASE's sign; NaN where `stress_is_defined` is not.
        further: what terms predict beside these.
        features: that the network reads its energies out of, (N, F), where they were asked for and cost nothing.
    """

    energy: Tensor
    energies: Tensor
    forces: Tensor
    stress: Tensor
    further: tuple[Predicted, ...] = ()
    features: Tensor | None = None

    @property
    def predicted(self) -> tuple[Predicted, ...]:
        """Everything that is predicted, with its description."""
        values = (self.energy, self.energies, self.forces, self.stress)
        return (*map(Predicted, OF_EVERY_POTENTIAL, values), *self.further)

    def of(self, kind: Property) -> Tensor:
        """Values of one property.

        Raises:
            ValueError: it is not predicted.
        """
        for predicted in self.predicted:
            if predicted.property == kind:
                return predicted.values
        raise ValueError(f"no {kind.name} is predicted; there are {', '.join(p.property.name for p in self.predicted)}")


@dataclass(frozen=True)
class Targets:
    """Reference labels of a batch.

    Attributes:
        labels: (N, *shape) of properties of atoms and (B, *shape) of structures, energies in float64; NaN where a
            structure has none. What the whole batch lacks may be left out.
    """

    labels: Mapping[Property, Tensor]

    def to(self, device: torch.device | str) -> Targets:
        """The same labels on another device."""
        return Targets({kind: values.to(device) for kind, values in self.labels.items()})
