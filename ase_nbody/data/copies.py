"""Structures that are the same: what is held out must not be learnt from a copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.data.dataset import Dataset

# Decimals, angstrom: files of text keep eight, and no two structures of a simulation agree in six.
DECIMALS = 6


def copy_numbers(structures: Sequence[Atoms]) -> NDArray[np.int64]:
    """A number for each structure, (S,), the same for copies; counted from zero in the order of the first of each.

    Copies have the same elements, positions to a millionth of an angstrom, cell and periodic directions, in the same
    order. Labels do not matter.

    Example:
        >>> from ase.build import molecule
        >>> copy_numbers([molecule("H2O"), molecule("CH4"), molecule("H2O")]).tolist()
        [0, 1, 0]
    """
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(_key(atoms), len(first)) for atoms in structures], dtype=np.int64)


def learnt_words(test: Dataset, learnt: Dataset) -> str | None:
    """A sentence for the user where structures of a test are copies of what is learnt; None where there are none.

    Args:
        test: structures that are to show how good a model is.
        learnt: structures that it learns.
    """
    known = {_key(atoms) for atoms in learnt.structures}
    number = sum(_key(atoms) in known for atoms in test.structures)
    if not number:
        return None
    return (
        f"{test.source}: {number} of {len(test)} structures are copies of some in {learnt.source}, which is learnt: "
        "errors on them are no test; leave them out"
    )


def _key(atoms: Atoms) -> bytes:
    numbers = [np.round(array, DECIMALS) + 0.0 for array in (atoms.positions, atoms.cell.array)]  # no negative zeros
    return b"".join(array.tobytes() for array in (atoms.numbers, atoms.pbc, *numbers))
