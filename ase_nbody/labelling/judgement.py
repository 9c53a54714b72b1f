"""Which structures can be labelled, and which labels are kept: finite, no net force, of a possible size."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ase_nbody.data.plausibility import IMPOSSIBLE_ENERGY, IMPOSSIBLE_FORCE, check_distances
from ase_nbody.labelling.checks import Checks, shape_problem
from ase_nbody.labelling.references import Failure, Label
from ase_nbody.structures import check_structure


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
        shape_problem(len(atoms), label)
        or _size_problem(len(atoms), label)
        or _net_force_problem(label, checks)
        or _spread_problem(label, checks)
    )
    return label if problem is None else Failure(problem)


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
