"""Pairs of molecules at several distances and orientations, hydrogen bonds among them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.data import vdw_alvarez
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from ase_nbody.labelling.sampling.bonds import BondGraph

Floats = NDArray[np.float64]
CLOSEST, FARTHEST = 0.62, 1.7
"""Of the closest contact, in units of the sum of van der Waals radii (Alvarez 2013, doi 10.1039/c3dt50599e); a hydrogen
bond is at 0.7."""
HYDROGEN_BOND = 1.5, 2.6
"""Lengths of H...acceptor, angstrom: from below a short strong one to a weak one."""
POLAR = (7, 8, 9, 16, 17)
"""Donors of hydrogen bonds, where they have a hydrogen, and acceptors: N, O, F, S, Cl."""
_BEND = 20.0  # degrees between the donor's bond and the hydrogen bond, about
_FREE = 0.75  # other contacts of a hydrogen bond, in units of van der Waals radii, or wider
_TRIALS = 30
_NOISE = 0.03  # standard deviation of displacements, angstrom
_GRID = np.arange(20.0, -0.01, -0.02)  # angstrom between the centres, from outside


def pair_positions(
    first: Atoms,
    second: Atoms,
    donors: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    generator: np.random.Generator,
) -> tuple[Floats, float]:
    """Positions of both molecules, (N1 + N2, 3), and the closest distance between them, angstrom.

    In one half of the cases a hydrogen bond where there can be one; else any orientation and direction.

    Args:
        first: stays where it is, but for a little noise.
        second: is turned and moved.
        donors: pairs (donor, hydrogen) of each.
        generator: source of the numbers.
    """
    a = first.positions + _NOISE * generator.standard_normal(first.positions.shape)
    b = second.positions + _NOISE * generator.standard_normal(second.positions.shape)
    placed = None
    if generator.random() < 0.5:
        placed = _hydrogen_bonded((a, first.numbers), (b, second.numbers), donors, generator)
    if placed is None:
        placed = _in_contact((a, first.numbers), (b, second.numbers), generator)
    return np.concatenate([a, placed]), float(cdist(a, placed).min())


def donor_hydrogens(bonds: BondGraph) -> list[tuple[int, int]]:
    """Pairs (donor, hydrogen) of atoms that can give a hydrogen bond."""
    return [
        (atom, other)
        for atom, neighbours in enumerate(bonds.neighbours)
        for other in neighbours
        if bonds.numbers[atom] in POLAR and bonds.numbers[other] == 1
    ]


def _in_contact(
    first: tuple[Floats, NDArray[np.int64]], second: tuple[Floats, NDArray[np.int64]], generator: np.random.Generator
) -> Floats:
    """The second molecule at any orientation, in any direction, moved in until the closest contact is as drawn."""
    (a, numbers_a), (b, numbers_b) = first, second
    turned = Rotation.random(random_state=generator).apply(b - b.mean(axis=0))
    direction = generator.standard_normal(3)
    direction /= np.linalg.norm(direction)
    wanted = CLOSEST + (FARTHEST - CLOSEST) * generator.random() ** 2  # more of the close ones
    radii = _van_der_waals(numbers_a)[:, None] + _van_der_waals(numbers_b)
    vectors = a.mean(axis=0) + turned - a[:, None]  # (N1, N2, 3)
    squares, along = np.einsum("abx,abx->ab", vectors, vectors), vectors @ direction
    ratios = np.sqrt(squares + 2 * _GRID[:, None, None] * along + _GRID[:, None, None] ** 2) / radii
    inside = np.flatnonzero(ratios.min(axis=(1, 2)) < wanted)
    distance = _GRID[inside[0] - 1] if len(inside) and inside[0] else _GRID[0]
    placed: Floats = a.mean(axis=0) + turned + distance * direction
    return placed


def _hydrogen_bonded(
    first: tuple[Floats, NDArray[np.int64]],
    second: tuple[Floats, NDArray[np.int64]],
    donors: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    generator: np.random.Generator,
) -> Floats | None:
    """The second molecule with a hydrogen bond to the first, either way; None where there can be none."""
    (a, numbers_a), (b, numbers_b) = first, second
    acceptors = [np.flatnonzero(np.isin(numbers, POLAR)) for numbers in (numbers_a, numbers_b)]
    ways = [way for way in (0, 1) if donors[way] and len(acceptors[1 - way])]
    if not ways:
        return None
    way = ways[int(generator.integers(len(ways)))]
    donor, hydrogen = donors[way][int(generator.integers(len(donors[way])))]
    acceptor = int(generator.choice(acceptors[1 - way]))
    length = generator.uniform(*HYDROGEN_BOND)
    fixed, anchor, hinge = (a, hydrogen, acceptor) if way == 0 else (a, acceptor, hydrogen)
    radii = _van_der_waals(numbers_a)[:, None] + _van_der_waals(numbers_b)
    for _ in range(_TRIALS):
        turned = Rotation.random(random_state=generator).apply(b)
        donor_bond = a[hydrogen] - a[donor] if way == 0 else turned[donor] - turned[hydrogen]
        direction = _near(donor_bond, generator)
        placed: Floats = turned - turned[hinge] + fixed[anchor] + length * direction
        ratios = cdist(a, placed) / radii
        ratios[anchor, hinge] = np.inf
        if ratios.min() > _FREE:
            return placed
    return None


def _near(vector: Floats, generator: np.random.Generator) -> Floats:
    """A unit vector some 20 degrees from a vector."""
    unit = vector / np.linalg.norm(vector) + np.radians(_BEND) / np.sqrt(2) * generator.standard_normal(3)
    near: Floats = unit / np.linalg.norm(unit)
    return near


def _van_der_waals(numbers: NDArray[np.int64]) -> Floats:
    radii: Floats = np.nan_to_num(vdw_alvarez.vdw_radii[numbers], nan=2.0)
    return radii


def split(atoms: Atoms, bonds: BondGraph) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Each molecule of a structure and the rest, as indices; nothing where it is one molecule."""
    for molecule in np.unique(bonds.molecules)[1:]:
        inside = bonds.molecules == molecule
        yield np.flatnonzero(~inside), np.flatnonzero(inside)
