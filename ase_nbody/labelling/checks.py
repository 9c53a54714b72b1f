"""What labels must satisfy, and whether energies fit forces and stress, which the processes that compute look at."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ase_nbody.labelling.references import Failure, Label, Reference

# Of the differences: angstrom in all coordinates together, and strain. Energies converged to 1e-6 eV then say forces to
# 1e-4 eV/angstrom, and the curvature of a bond (180 eV/angstrom^3) adds 1e-3.
_STEP, _STRAIN = 5e-3, 1e-3
# Smaller forces and stresses give no direction, eV/angstrom and eV/angstrom^3.
_SMALL = 1e-6


class Checks(BaseModel):
    """What labels are checked for.

    Attributes:
        net_force: largest sum of the forces, eV/angstrom. The grid of a DFT program leaves some meV/angstrom.
        drop_spread: largest disagreement of a committee on the force on an atom, meV/angstrom; None: any. For
            ANI-1x the largest of a structure of small molecules (H2O to C6H6, dynamics by GFN2-xTB) is in the median
            300 at minima, 400 at 300 K and 500 at 1000 K, and in a tenth of them more than 500, 800 and 1200.
        consistency: compare energies with forces and stress on a sample of the structures.
        force_error: what these may differ by along the direction of the forces, eV/angstrom, and a hundredth of them.
        stress_error: likewise along a strain, eV per atom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    net_force: float = Field(default=0.05, gt=0)
    drop_spread: float | None = Field(default=None, gt=0)
    consistency: bool = True
    force_error: float = Field(default=0.02, gt=0)
    stress_error: float = Field(default=0.02, gt=0)


class InconsistentLabelsError(RuntimeError):
    """Energies of a reference are not what its forces or stress are the derivative of."""


def inconsistency(atoms: Atoms, label: Label, reference: Reference, checks: Checks) -> str | None:
    """How energies differ from what forces and stress say, in words; "" where they agree, None where it is not known.

    Central differences of the energy along the direction of the forces, and along a strain in the direction of the
    stress: dE/ds = -F.d and dE/de = V stress:S.

    Args:
        atoms: a structure.
        label: of the structure by the reference.
        reference: what gives energies.
        checks: what is allowed.
    """
    if shape_problem(len(atoms), label) is not None:
        return None
    words = _force_words(atoms, label, reference, checks)
    if words == "" and label.stress is not None:
        words = _stress_words(atoms, label, label.stress, reference, checks)
    return words


def _force_words(atoms: Atoms, label: Label, reference: Reference, checks: Checks) -> str | None:
    direction = _direction(label.forces, np.eye(len(atoms), 3))  # (N, 3)
    moved = []
    for sign in (1, -1):
        structure = atoms.copy()
        structure.positions += sign * _STEP * direction
        moved.append(structure)
    difference = _energy_difference(moved, reference)
    if difference is None:
        return None
    slope, expected = difference / (2 * _STEP), -float((label.forces * direction).sum())
    if abs(slope - expected) <= checks.force_error + 0.01 * abs(expected):
        return ""
    return (
        f"along the direction of the forces the energy changes by {slope:.4f} eV/angstrom, and the forces say "
        f"{expected:.4f}"
    )


def _stress_words(
    atoms: Atoms, label: Label, voigt: NDArray[np.float64], reference: Reference, checks: Checks
) -> str | None:
    stress = np.asarray(voigt_6_to_full_3x3_stress(voigt))
    direction = _direction(stress, np.eye(3))  # (3, 3)
    strained = []
    for sign in (1, -1):
        structure = atoms.copy()
        structure.set_cell(atoms.cell.array @ (np.eye(3) + sign * _STRAIN * direction), scale_atoms=True)
        strained.append(structure)
    difference = _energy_difference(strained, reference)
    if difference is None:
        return None
    slope, expected = difference / (2 * _STRAIN), float(atoms.get_volume() * (stress * direction).sum())
    if abs(slope - expected) <= checks.stress_error * len(atoms) + 0.02 * abs(expected):
        return ""
    return f"with a strain along the stress the energy changes by {slope:.4f} eV, and the stress says {expected:.4f}"


def _energy_difference(pair: list[Atoms], reference: Reference) -> float | None:
    plus, minus = reference.label(pair)
    if isinstance(plus, Failure) or isinstance(minus, Failure):
        return None
    return plus.energy - minus.energy


def _direction(values: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """A unit vector along the values, or along others where these are too small."""
    chosen = values if np.linalg.norm(values) > _SMALL else otherwise
    direction: NDArray[np.float64] = chosen / np.linalg.norm(chosen)
    return direction


def shape_problem(n_atoms: int, label: Label) -> str | None:
    """What is wrong with the shapes of a label of so many atoms, or which numbers are not finite; None: nothing."""
    if label.forces.shape != (n_atoms, 3) or (label.stress is not None and label.stress.shape != (6,)):
        shape = None if label.stress is None else label.stress.shape
        return f"forces have shape {label.forces.shape} and the stress {shape}; expected are ({n_atoms}, 3) and (6,)"
    values = [np.array([label.energy]), label.forces, *([] if label.stress is None else [label.stress])]
    for name, array in zip(("energy", "forces", "stress"), values, strict=False):
        if not np.isfinite(array).all():
            return f"not finite: {name}"
    return None
