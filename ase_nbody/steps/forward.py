"""Steps done with torch: the meaning of a description, which foldings and compiled programs must keep."""

from __future__ import annotations

from torch import Tensor

from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Description


def forward(description: Description, atoms: StepAtoms) -> Tensor:
    """Energies of the atoms by all steps, (N,)."""
    for step in description.steps:
        step.forward(atoms)
    return atoms.energies
