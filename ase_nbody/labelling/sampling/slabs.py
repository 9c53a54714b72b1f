"""Slabs with low-index faces, cut from crystals."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from ase import Atoms
from ase.build import make_supercell, surface
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.crystals import supercell
from ase_nbody.labelling.sampling.placing import moved

Face: TypeAlias = tuple[int, int, int]
FACES: tuple[Face, ...] = ((1, 1, 1), (1, 1, 0), (1, 0, 0))
"""Miller indices of the faces that are cut of cubic crystals."""
THICKNESS = 7.0
"""Of a slab at least, angstrom, as long as it has not too many atoms."""
VACUUM = 6.0
"""On either side of a slab, angstrom."""
_TOLERANCE = 0.02
# Cosines of the angles between the vectors of primitive cells, all three equal and of equal lengths, and how the cubic
# cell is made of them.
_CUBIC = {
    0.5: ((-1, 1, 1), (1, -1, 1), (1, 1, -1)),  # face-centred
    -1 / 3: ((0, 1, 1), (1, 0, 1), (1, 1, 0)),  # body-centred
}


def with_cubic_cell(crystal: Atoms) -> Atoms:
    """A crystal with the cubic cell that Miller indices are meant for, where its own is the primitive cell of it.

    That is done for fcc and bcc lattices; other cells stay as they are.

    Args:
        crystal: periodic in three directions.
    """
    lengths = np.linalg.norm(crystal.cell.array, axis=1)
    cosines = (crystal.cell.array @ crystal.cell.array.T / np.outer(lengths, lengths))[np.triu_indices(3, k=1)]
    for cosine, matrix in _CUBIC.items():
        if np.ptp(lengths) < _TOLERANCE * lengths.mean() and np.abs(cosines - cosine).max() < _TOLERANCE:
            cubic: Atoms = make_supercell(crystal, np.array(matrix))
            cubic.info = dict(crystal.info)
            return cubic
    return crystal


def faces(crystal: Atoms) -> tuple[Face, ...]:
    """The faces that are cut of a crystal: of one that is not cubic the basal plane too."""
    lengths, angles = crystal.cell.lengths(), crystal.cell.angles()
    is_cubic = np.ptp(lengths) < _TOLERANCE * lengths.mean() and np.abs(angles - 90.0).max() < 1.0
    return FACES if is_cubic else (*FACES, (0, 0, 1))


def slab(crystal: Atoms, face: Face, most_atoms: int, generator: np.random.Generator) -> Atoms:
    """A slab with vacuum on both sides, periodic along its face, repeated there until it is 8 angstrom wide or full.

    The plane of the cut is drawn at random: crystals end in different ways.

    Args:
        crystal: periodic in three directions.
        face: Miller indices, for the cell of the crystal.
        most_atoms: not to be exceeded; a layer of the crystal's cell may.
        generator: source of the plane.
    """
    shifted = crystal.copy()
    shifted.set_constraint()
    shifted.positions += generator.uniform(size=3) @ crystal.cell.array
    shifted.wrap()
    layers = min(int(np.ceil(THICKNESS / _spacing(crystal, face))), max(most_atoms // len(crystal), 1))
    cut = surface(shifted, face, layers, vacuum=VACUUM)
    cut.info = dict(crystal.info)
    wide = supercell(cut, most_atoms)
    return moved(wide, wide.positions, f"surface {''.join(map(str, face))}")


def _spacing(crystal: Atoms, face: Face) -> float:
    """Distance between equal planes of a face, angstrom."""
    normal: NDArray[np.float64] = np.linalg.inv(crystal.cell.array) @ np.array(face)  # of the reciprocal lattice
    return float(1.0 / np.linalg.norm(normal))
