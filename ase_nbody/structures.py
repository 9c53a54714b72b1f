"""Structures that have an energy, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

_SMALLEST_HEIGHT = 0.1  # angstrom between opposite faces of the reduced cell; real crystals have > 1
_LARGEST_DEFECT = 2.0  # product of lengths over volume; a reduced cell has at most the root of 2 (Minkowski)
_NAMED_ATOMS = 5  # atoms listed in an error message


def check_structure(atoms: Atoms, elements: Sequence[str] | None = None) -> None:
    """Refuse structures that have no energy.

    Args:
        atoms: the structure; it is only read.
        elements: chemical symbols a model knows, or None to accept every element.

    Raises:
        ValueError: there is no atom, a position or the cell is not finite, the cell is degenerate along the
            directions with pbc, or an element is not among `elements`.
    """
    if len(atoms) == 0:
        raise ValueError("the structure has no atoms; an energy needs at least one")
    if elements is not None:
        _check_elements(atoms.numbers, elements)
    _check_positions(atoms.positions)
    _check_cell(atoms.cell.array, atoms.pbc)


def batches_of_structures(structures: Sequence[Atoms], most_atoms: int) -> Iterator[list[int]]:
    """Numbers of structures, in their order, in batches of at most so many atoms or of one structure."""
    batch: list[int] = []
    n_atoms = 0
    for number, atoms in enumerate(structures):
        if batch and n_atoms + len(atoms) > most_atoms:
            yield batch
            batch, n_atoms = [], 0
        batch.append(number)
        n_atoms += len(atoms)
    if batch:
        yield batch


def changed_parts(before: Atoms, after: Atoms) -> list[str]:
    """ASE's names of what an energy depends on and what differs, exactly; cheaper than ASE's own comparison.

    Args:
        before: a structure.
        after: another.
    """
    pairs = {
        "positions": (before.positions, after.positions),
        "numbers": (before.numbers, after.numbers),
        "cell": (before.cell.array, after.cell.array),
        "pbc": (before.pbc, after.pbc),
    }
    return [name for name, (old, new) in pairs.items() if not np.array_equal(old, new)]


def cell_frame(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The cell with unit vectors normal to the periodic ones, and to each other, in place of the others, (3, 3)."""
    frame = cell.copy()
    frame[~pbc] = np.linalg.svd(cell[pbc])[2][pbc.sum() :] if pbc.any() else np.eye(3)
    return frame


def cell_heights(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances between opposite faces of a cell, (3,), angstrom; zeros where it is singular."""
    if np.linalg.det(cell) == 0:
        return np.zeros(3)
    heights: NDArray[np.float64] = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return heights


def reduced_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """The same lattice by short vectors: a skewed cell Minkowski-reduced, any other as it is.

    Args:
        cell: rows, (3, 3), angstrom; those with pbc are not singular.
        pbc: (3,); the other rows are not used, and stay.

    Returns:
        The cell, (3, 3), and the whole numbers U, (3, 3), that make it: U @ cell. Shifts S of it are S @ U of `cell`.
    """
    periodic = cell[pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    volume = np.sqrt(np.abs(np.linalg.det(periodic @ periodic.T)))
    if lengths.prod() <= _LARGEST_DEFECT * volume:
        return cell, np.eye(3, dtype=np.int64)
    # ASE compares lengths with an absolute tolerance, hence the unit.
    whole = minkowski_reduce(cell_frame(cell, pbc) / lengths.max(), pbc)[1]
    return np.where(pbc[:, None], whole @ cell, cell), whole


def _check_elements(numbers: NDArray[np.int64], elements: Sequence[str]) -> None:
    unknown = [chemical_symbols[n] for n in np.bincount(numbers).nonzero()[0] if chemical_symbols[n] not in elements]
    if unknown:
        what = "element {} is" if len(unknown) == 1 else "elements {} are"
        names = what.format(", ".join(f"'{symbol}'" for symbol in unknown))
        known = ", ".join(elements)
        raise ValueError(
            f"{names} not in this model ({known}); choose another model (nbody models) or train one "
            "(nbody train --data FILE)"
        )


def _check_positions(positions: NDArray[np.float64]) -> None:
    if np.isfinite(positions).all():
        return
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    shown = "; ".join(f"atom {n}: {positions[n].tolist()}" for n in bad[:_NAMED_ATOMS])
    more = f"; and {len(bad) - _NAMED_ATOMS} more" if len(bad) > _NAMED_ATOMS else ""
    raise ValueError(
        f"positions are not finite ({shown}{more}); "
        "look at the step before: the time step may be too long or atoms may overlap"
    )


def _check_cell(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> None:
    if not np.isfinite(cell).all():
        raise ValueError(f"the cell is not finite: {cell.tolist()}; set atoms.cell to numbers in angstrom")
    if not pbc.any():
        return
    height = _smallest_height(cell, pbc)
    if height < _SMALLEST_HEIGHT:
        raise ValueError(
            f"the cell {cell.tolist()} is degenerate along its periodic directions (pbc={pbc.tolist()}): "
            f"opposite faces are {height:.3g} angstrom apart and must be at least {_SMALLEST_HEIGHT}; "
            "give a full cell, or switch pbc off where there is none, such as atoms.pbc = False for a molecule"
        )


def _smallest_height(cell: NDArray[np.float64], pbc: NDArray[np.bool_]) -> float:
    """Of the cell along its directions with pbc, reduced where it is skewed; zero if it is singular."""
    frame = cell_frame(cell, pbc)
    smallest = cell_heights(frame)[pbc].min()
    if smallest < _SMALLEST_HEIGHT and np.linalg.matrix_rank(frame) == 3:
        smallest = cell_heights(cell_frame(reduced_cell(cell, pbc)[0], pbc))[pbc].min()
    return float(smallest)
