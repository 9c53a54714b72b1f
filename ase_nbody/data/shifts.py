"""Shifts: the part of the errors of energies that is one constant for each composition.

Reference energies that the training did not determine, or of another method, move all energies of a composition alike
and leave forces and energy differences within it as they are.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Root mean square of the shifts per atom, eV, from which they are worth a word: what electronic-structure calculations
# are usually converged to.
NOTICEABLE = 1e-4
# Most of an error is shift where errors without it are smaller by this factor: then 3/4 of the mean square error is.
MOSTLY = 2.0
NAMED = 3  # compositions that a sentence names


@dataclass(frozen=True)
class CompositionShift:
    """The mean error of the energies of one composition, that is, of one proportion of the elements.

    Attributes:
        formula: of the structures if all have the same, else the smallest formula of these proportions.
        structures: which they are, indices (n,), n at least 2.
        shift: mean error per atom, prediction - label, eV.
        rest: root mean square of the errors per atom without the shift, eV.
    """

    formula: str
    structures: NDArray[np.int64]
    shift: float
    rest: float


def composition_shifts(
    errors: Floats, n_atoms: NDArray[np.int64], atomic_numbers: NDArray[np.int64]
) -> tuple[list[CompositionShift], int]:
    """Shift of each composition that at least two structures have, and how many compositions there are in all.

    Args:
        errors: of energies per atom, prediction - label, (S,), eV; structures with NaN are left out.
        n_atoms: atoms of each structure, (S,).
        atomic_numbers: of all structures one after the other, (N,).
    """
    groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    counts = [_counts(numbers) for numbers in np.split(atomic_numbers, np.cumsum(n_atoms)[:-1])]
    for i in np.flatnonzero(~np.isnan(errors)).tolist():
        divisor = math.gcd(*counts[i].values())
        groups[tuple((z, n // divisor) for z, n in counts[i].items())].append(i)
    shifts = [
        CompositionShift(
            formula=_formula([counts[i] for i in group], dict(proportions)),
            structures=np.array(group),
            shift=float(errors[group].mean()),
            rest=float(errors[group].std()),
        )
        for proportions, group in groups.items()
        if len(group) > 1
    ]
    return shifts, len(groups)


def without_shift(errors: Floats, shifts: Sequence[CompositionShift]) -> Floats:
    """Errors per atom less the shift of their composition, (S,), eV; NaN for structures that have none."""
    rest = np.full_like(errors, np.nan)
    for shift in shifts:
        rest[shift.structures] = errors[shift.structures] - shift.shift
    return rest


def shift_words(shifts: Sequence[CompositionShift]) -> str | None:
    """A sentence where most of the error of energies is shift; None elsewhere."""
    square = sum(len(s.structures) * s.shift**2 for s in shifts)
    rest = sum(len(s.structures) * s.rest**2 for s in shifts)
    n = sum(len(s.structures) for s in shifts)
    if not shifts or square < n * NOTICEABLE**2 or square + rest < MOSTLY**2 * rest:
        return None
    largest = sorted(shifts, key=lambda s: -abs(s.shift))
    words = ", ".join(f"{s.formula} {1000 * s.shift:+.2f} meV/atom" for s in largest[:NAMED])
    more = f" and {len(shifts) - NAMED} more" if len(shifts) > NAMED else ""
    return (
        f"most of the error of the energies is a shift, one constant for each composition ({words}{more}): reference "
        "energies that do not belong to these structures make such shifts; forces, and energy differences within a "
        "composition, are free of them"
    )


def _counts(atomic_numbers: NDArray[np.int64]) -> dict[int, int]:
    elements, counts = np.unique(atomic_numbers, return_counts=True)
    return dict(zip(elements.tolist(), counts.tolist(), strict=True))


def _formula(several: Sequence[dict[int, int]], proportions: dict[int, int]) -> str:
    counts = several[0] if all(one == several[0] for one in several) else proportions
    return str(Formula.from_dict({chemical_symbols[z]: n for z, n in counts.items()}).convert("hill"))
