"""Torsion scans: parts of a molecule turned about its bonds, rigidly, and relaxed with the torsion held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.placing import moved, turned

Floats = NDArray[np.float64]
_STRAIGHT = 170.0  # degrees; no torsion is defined along a straight angle


def rotatable_bonds(bonds: BondGraph, positions: Floats) -> list[tuple[int, int, int, int]]:
    """Torsions (i, j, k, l), one about each bond j-k outside rings that has a torsion at all; double bonds too.

    Args:
        bonds: of the molecule.
        positions: (N, 3), angstrom: no torsion is taken along a straight angle, as in alkynes.
    """
    torsions = []
    for j, k in bonds.pairs.tolist():
        side = bonds.side(j, k)
        i = _end(bonds, positions, j, k)
        l = _end(bonds, positions, k, j)  # noqa: E741
        if side is None or i is None or l is None:
            continue
        smaller = len(side) <= len(bonds.numbers) / 2
        torsions.append((i, j, k, l) if smaller else (l, k, j, i))  # what turns stands last
    return torsions


def _end(bonds: BondGraph, positions: Floats, atom: int, other: int) -> int | None:
    """The heaviest neighbour of an atom, besides another, that is not in line with both."""
    ends = [n for n in bonds.neighbours[atom] if n != other and _angle(positions, n, atom, other) < _STRAIGHT]
    return max(ends, key=lambda n: (bonds.numbers[n], -n), default=None)


def _angle(positions: Floats, i: int, j: int, k: int) -> float:
    a, b = positions[i] - positions[j], positions[k] - positions[j]
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def torsion_scan(atoms: Atoms, bonds: BondGraph, step: float) -> Iterator[tuple[Atoms, tuple[int, ...]]]:
    """Structures with one torsion changed by multiples of a step, and the atoms that define it.

    Args:
        atoms: where the scan starts; it is not scanned itself.
        bonds: of the molecule.
        step: degrees.
    """
    for torsion in rotatable_bonds(bonds, atoms.positions):
        for change in np.arange(step, 360.0 - 1e-6, step):
            yield _turned(atoms, bonds, torsion, float(change)), torsion


def torsion_combinations(
    atoms: Atoms, bonds: BondGraph, step: float, generator: np.random.Generator
) -> Iterator[tuple[Atoms, tuple[int, ...]]]:
    """Structures with all torsions changed at random, without end; none where there are fewer than two.

    Args:
        atoms: where the torsions start.
        bonds: of the molecule.
        step: degrees, whose multiples the changes are.
        generator: source of the changes.
    """
    torsions = rotatable_bonds(bonds, atoms.positions)
    while len(torsions) > 1:
        result = atoms
        for torsion in torsions:
            result = _turned(result, bonds, torsion, step * int(generator.integers(round(360 / step))))
        yield moved(result, result.positions, f"{len(torsions)} torsions"), torsions[0]


def _turned(atoms: Atoms, bonds: BondGraph, torsion: tuple[int, int, int, int], change: float) -> Atoms:
    """The side of the last atom turned about the bond between the second and the third."""
    _, j, k, _ = torsion
    side = bonds.side(j, k)
    assert side is not None  # rotatable_bonds leaves rings out
    axis = atoms.positions[k] - atoms.positions[j]
    result = moved(atoms, turned(atoms.positions, side, atoms.positions[k], axis, change), "")
    symbols = atoms.get_chemical_symbols()
    name = "-".join(f"{symbols[n]}{n}" for n in torsion)
    result.info["sampled_by"] = f"torsion {name} {result.get_dihedral(*torsion):.0f}°"
    return result
