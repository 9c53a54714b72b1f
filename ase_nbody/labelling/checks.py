"""What labels must satisfy: finite, no net force, of a possible size, and energies that fit forces and stress."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ase_nbody.data.plausibility import IMPOSSIBLE_ENERGY, IMPOSSIBLE_FORCE, check_distances
from ase_nbody.labelling.references import Failure, Label, Reference
from ase_nbody.structures import check_structure

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


def structure_problem(atoms: Atoms) -> str | None:
    """Why a structure cannot be labelled, in words; None where it can be tried."""
    try:
        check_structure(atoms)
        check_distances(atoms)
    except ValueError as error:
        return str(error)
    return None


def judged(atoms: Atoms, label: Label, checks: Checks) -> Label | Failure:
    """The label, or what is wrong with it.

    Args:
        atoms: its structure, N atoms.
        label: from a reference.
        checks: what is allowed.

    Raises:
        ValueError: a spread is to be checked, and the reference gives none.
    """
    problem = (
        _shape_problem(len(atoms), label)
        or _size_problem(len(atoms), label)
        or _net_force_problem(label, checks)
        or _spread_problem(label, checks)
    )
    return label if problem is None else Failure(problem)


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
    if _shape_problem(len(atoms), label) is not None:
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


def _shape_problem(n_atoms: int, label: Label) -> str | None:
    if label.forces.shape != (n_atoms, 3) or (label.stress is not None and label.stress.shape != (6,)):
        shape = None if label.stress is None else label.stress.shape
        return f"forces have shape {label.forces.shape} and the stress {shape}; expected are ({n_atoms}, 3) and (6,)"
    values = [np.array([label.energy]), label.forces, *([] if label.stress is None else [label.stress])]
    for name, array in zip(("energy", "forces", "stress"), values, strict=False):
        if not np.isfinite(array).all():
            return f"not finite: {name}"
    return None


def _size_problem(n_atoms: int, label: Label) -> str | None:
    if (largest := float(np.linalg.norm(label.forces, axis=1).max())) > IMPOSSIBLE_FORCE:
        return f"a force of {largest:.3g} eV/angstrom; more than {IMPOSSIBLE_FORCE:g} is no force"
    if abs(label.energy) > IMPOSSIBLE_ENERGY * n_atoms:
        return f"an energy of {label.energy:.3g} eV; more than {IMPOSSIBLE_ENERGY:g} per atom is no energy"
    return None


def _net_force_problem(label: Label, checks: Checks) -> str | None:
    net_force = float(np.linalg.norm(label.forces.sum(axis=0)))
    if net_force <= checks.net_force:
        return None
    return f"the forces sum to {net_force:.3g} eV/angstrom, and not to zero within {checks.net_force:g}"


def _spread_problem(label: Label, checks: Checks) -> str | None:
    if checks.drop_spread is None:
        return None
    if "forces_spread" not in label.extra_arrays:
        raise ValueError("this reference gives no spread to drop labels by; that is for committees such as ani:ANI-1x")
    spread = np.asarray(label.extra_arrays["forces_spread"]).reshape(len(label.forces), -1)  # (N, 1 or 3)
    largest = 1000 * float(np.linalg.norm(spread, axis=1).max())
    if largest <= checks.drop_spread:
        return None
    return f"the committee disagrees by {largest:.0f} meV/angstrom on the force on an atom"
