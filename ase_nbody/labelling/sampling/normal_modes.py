"""Thermal displacements along the normal modes of a minimum, of molecules and of supercells of crystals."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.placing import moved, with_distances

Floats = NDArray[np.float64]
DISPLACEMENT = 0.01
"""Of finite differences, angstrom."""
SOFTEST = 100 * units.invcm
"""Softer modes, and those of negative curvature, get the amplitudes of this one, eV: torsions are no springs."""
SOFTEST_OF_CRYSTALS = 25 * units.invcm
"""Likewise for crystals, eV: where acoustic modes of lead end in a cell of 8 angstrom; its neighbours move together."""
HBAR = units._hbar * units.J * units.second
"""eV times ASE's unit of time."""


def hessian(atoms: Atoms, calculator: BaseCalculator, times: tuple[int, int, int] = (1, 1, 1)) -> Floats:
    """Second derivatives of the energy by positions, (3N, 3N), eV/angstrom^2.

    Exact where the calculator has `get_hessian`, as NBodyCalculator does; else central differences of forces.

    Args:
        atoms: a structure; it is not changed.
        calculator: evaluated six times for each atom of a cell for the differences.
        times: how often a cell of n atoms is repeated in the structure, as by ASE's `repeat`: only the first n atoms
            are displaced, the others follow by translation.
    """
    if hasattr(calculator, "get_hessian"):
        exact: Floats = calculator.get_hessian(atoms)
        return exact
    n = len(atoms) // prod(times)
    rows = _force_differences(atoms, calculator, n).reshape(n, 3, *times, n, 3)
    images = [np.roll(rows, image, axis=(2, 3, 4)) for image in np.ndindex(times)]
    matrix = np.array(images).reshape(3 * len(atoms), -1)
    symmetric: Floats = 0.5 * (matrix + matrix.T)
    return symmetric


def _force_differences(atoms: Atoms, calculator: BaseCalculator, n: int) -> Floats:
    """Minus the derivatives of the forces by the positions of the first n atoms, (3n, 3N), eV/angstrom^2."""
    displaced = atoms.copy()
    displaced.calc = calculator
    rows = []
    for component in np.eye(3 * n, 3 * len(atoms)).reshape(-1, len(atoms), 3):
        displaced.positions = atoms.positions + DISPLACEMENT * component
        forward = displaced.get_forces()
        displaced.positions = atoms.positions - DISPLACEMENT * component
        rows.append((displaced.get_forces() - forward).ravel() / (2 * DISPLACEMENT))
    return np.array(rows)


def vibrations(atoms: Atoms, second_derivatives: Floats) -> tuple[Floats, Floats]:
    """Energies and modes of vibrations, without the motions of the whole: a crystal's do not include rotations.

    Args:
        atoms: a molecule, or a crystal whose modes are those at the Gamma point of its cell.
        second_derivatives: (3N, 3N), eV/angstrom^2.

    Returns:
        hbar times the angular frequency, (V,), eV, negative for negative curvature; mass-weighted orthonormal modes
        as rows, (V, 3N). V is 3N - 6, 3N - 5 for linear molecules, 0 for an atom and 3N - 3 for crystals.
    """
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))  # (3N,)
    inner = _inner_space(atoms)  # (V, 3N)
    curvatures, vectors = np.linalg.eigh(inner @ (second_derivatives / np.outer(roots, roots)) @ inner.T)
    return HBAR * np.sign(curvatures) * np.sqrt(np.abs(curvatures)), vectors.T @ inner


def _inner_space(atoms: Atoms) -> Floats:
    """Orthonormal mass-weighted directions at right angles to translations and rotations, as rows, (V, 3N)."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    r = atoms.positions - atoms.get_center_of_mass()
    turns = [] if atoms.pbc.any() else [np.cross(axis, r) for axis in np.eye(3)]
    whole = [np.broadcast_to(axis, r.shape) for axis in np.eye(3)] + turns
    weighted = np.array([(roots * motion).ravel() for motion in whole])  # (6 or 3, 3N)
    _, sizes, directions = np.linalg.svd(weighted)
    rank = int(np.sum(sizes > 1e-6 * sizes.max()))
    inner: Floats = directions[rank:]
    return inner


def amplitudes(energies: Floats, temperature: float, softest: float) -> Floats:
    """Standard deviations of mass-weighted normal coordinates of quantum oscillators, (V,), angstrom amu^(1/2).

    <Q^2> = hbar / (2 omega) coth(hbar omega / 2 kT): the zero-point motion when cold, kT / omega^2 when hot.

    Args:
        energies: hbar omega, (V,), eV.
        temperature: K.
        softest: smaller energies, and negative ones, count as this one, eV.
    """
    quanta = np.maximum(energies, softest)
    deviations: Floats = np.sqrt(HBAR**2 / (2 * quanta) / np.tanh(quanta / (2 * units.kB * temperature)))
    return deviations


def _displacements(
    atoms: Atoms, modes: tuple[Floats, Floats], temperature: float, softest: float, generator: np.random.Generator
) -> Iterator[Floats]:
    """Displacements of atoms drawn from the harmonic quantum ensemble, (N, 3), angstrom, without end."""
    energies, vectors = modes
    deviations = amplitudes(energies, temperature, softest)
    roots = np.sqrt(atoms.get_masses())[:, None]
    while True:
        coordinates = deviations * generator.standard_normal(len(deviations))
        yield (coordinates @ vectors).reshape(-1, 3) / roots


def displaced_crystals(
    atoms: Atoms, modes: tuple[Floats, Floats], temperature: float, generator: np.random.Generator
) -> Iterator[Atoms]:
    """Supercells drawn from the harmonic quantum ensemble of their Gamma point, without end.

    Args:
        atoms: the supercell at its minimum.
        modes: energies and modes as `vibrations` gives them.
        temperature: K.
        generator: source of the numbers.
    """
    for displacements in _displacements(atoms, modes, temperature, SOFTEST_OF_CRYSTALS, generator):
        yield moved(atoms, atoms.positions + displacements, f"normal modes {temperature:g} K")


def displaced_structures(
    atoms: Atoms, bonds: BondGraph, modes: tuple[Floats, Floats], temperature: float, generator: np.random.Generator
) -> Iterator[Atoms]:
    """Structures drawn from the harmonic quantum ensemble, without end.

    Straight displacements along torsions would stretch bonds; every bond is set to the length that it has to first
    order.

    Args:
        atoms: the minimum.
        bonds: of the molecule.
        modes: energies and modes as `vibrations` gives them.
        temperature: K.
        generator: source of the numbers.
    """
    vectors_of_bonds = atoms.positions[bonds.pairs[:, 0]] - atoms.positions[bonds.pairs[:, 1]]  # (B, 3)
    lengths = np.linalg.norm(vectors_of_bonds, axis=1)
    for displacements in _displacements(atoms, modes, temperature, SOFTEST, generator):
        change = displacements[bonds.pairs[:, 0]] - displacements[bonds.pairs[:, 1]]
        targets = lengths + np.einsum("bx,bx->b", change, vectors_of_bonds) / lengths
        straight = atoms.positions + displacements
        positions = with_distances(straight, bonds.pairs, targets)
        yield moved(atoms, straight if positions is None else positions, f"normal modes {temperature:g} K")
