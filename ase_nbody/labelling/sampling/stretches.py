"""Bonds stretched to and beyond breaking, rings opened, fragments far apart, and angles bent hard."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.placing import moved, turned, with_distances

Floats = NDArray[np.float64]
FACTORS = (
    *np.arange(0.80, 0.99, 0.05).tolist(),
    *np.arange(1.05, 2.01, 0.05).tolist(),
    *np.arange(2.1, 3.01, 0.15).tolist(),
)
"""Lengths of a bond in units of its length at the minimum: denser where it breaks."""
FAR = (5.0, 6.0, 8.0)
"""Lengths at which its fragments are alone, angstrom: the last ones are beyond the cutoff of most models."""
BENDS = (-50.0, -35.0, -20.0, 20.0, 35.0, 50.0)
"""Changes of angles, degrees."""
_NOISE = 0.03  # standard deviation of the displacements of all atoms besides, angstrom
_JITTER = 0.015  # half the width of what is added to a factor, so that scans of many bonds fill the range


def stretched_structures(
    minimum: Atoms, bonds: BondGraph, generator: np.random.Generator
) -> Iterator[tuple[Atoms, tuple[int, ...]]]:
    """Structures with one bond of each kind at several lengths, and the atoms to be held while others relax.

    Outside rings the smaller side moves rigidly along the bond. Within a ring the bond is opened, and the others keep
    their lengths; a ring opens as far as its other bonds reach. The atoms have a little noise besides.

    Args:
        minimum: the relaxed molecule.
        bonds: its bonds.
        generator: source of the noise.

    Returns:
        Structures; with each the two ends of an opened ring bond, or nothing.
    """
    symbols = minimum.get_chemical_symbols()
    for first, second in bonds.kinds_of_bonds():
        vector = minimum.positions[second] - minimum.positions[first]
        length = float(np.linalg.norm(vector))
        side = bonds.side(first, second)
        factors = np.array(FACTORS) + generator.uniform(-_JITTER, _JITTER, len(FACTORS))
        lengths = [*(factors * length), *(FAR if side is not None else ())]
        for target in lengths:
            if side is None:
                positions = _opened(minimum, bonds, (first, second), target)
            else:
                positions = minimum.positions.copy()
                positions[side] += vector * (target / length - 1)
            if positions is not None:
                noise = _NOISE * generator.standard_normal(positions.shape)
                name = f"stretch {symbols[first]}-{symbols[second]} {target:.2f}"
                yield moved(minimum, positions + noise, name), () if side is not None else (first, second)


def _opened(atoms: Atoms, bonds: BondGraph, bond: tuple[int, int], length: float) -> Floats | None:
    """Positions at which a bond of a ring has a length and the others keep theirs; None where they cannot."""
    pairs = bonds.pairs
    vectors = atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]]
    lengths = np.where((pairs == bond).all(axis=1), length, np.linalg.norm(vectors, axis=1))
    return with_distances(atoms.positions, pairs, lengths)


def bent_structures(minimum: Atoms, bonds: BondGraph, generator: np.random.Generator) -> Iterator[Atoms]:
    """Structures with one angle of each kind outside rings bent by up to 50 degrees, with a little noise.

    Args:
        minimum: the relaxed molecule.
        bonds: its bonds.
        generator: source of the noise and of the directions in which straight angles bend.
    """
    symbols = minimum.get_chemical_symbols()
    for i, j, k in _kinds_of_angles(bonds):
        side = bonds.side(j, i)
        if side is None:
            continue
        first, second = minimum.positions[i] - minimum.positions[j], minimum.positions[k] - minimum.positions[j]
        axis = np.cross(first, second)
        if np.linalg.norm(axis) < 0.05 * np.linalg.norm(first) * np.linalg.norm(second):
            axis = np.cross(first, generator.standard_normal(3))
        for change in BENDS:
            positions = turned(minimum.positions, side, minimum.positions[j], axis, change)
            positions += _NOISE * generator.standard_normal(positions.shape)
            bent = moved(minimum, positions, "")
            bent.info["sampled_by"] = f"bend {symbols[i]}-{symbols[j]}-{symbols[k]} {bent.get_angle(i, j, k):.0f}°"
            yield bent


def _kinds_of_angles(bonds: BondGraph) -> list[tuple[int, int, int]]:
    kinds: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    classes = bonds.classes
    for j, neighbours in enumerate(bonds.neighbours):
        for i in neighbours:
            for k in neighbours:
                if i != k:
                    kinds.setdefault((classes[i], classes[j], classes[k]), (i, j, k))
    return list(kinds.values())
