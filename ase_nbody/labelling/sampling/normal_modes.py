"""Thermal displacements along the normal modes of a minimum."""

from __future__ import annotations

from collections.abc import Iterator

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
HBAR = units._hbar * units.J * units.second
"""eV times ASE's unit of time."""


def hessian(atoms: Atoms, calculator: BaseCalculator) -> Floats:
    """Second derivatives of the energy by positions, (3N, 3N), eV/angstrom^2.

    Exact where the calculator has `get_hessian`, as NBodyCalculator does; else central differences of forces.

    Args:
        atoms: a structure; it is not changed.
        calculator: evaluated 6N times for the differences.
    """
    if hasattr(calculator, "get_hessian"):
        exact: Floats = calculator.get_hessian(atoms)
        return exact
    displaced = atoms.copy()
    displaced.calc = calculator
    rows = []
    for component in np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3):
        displaced.positions = atoms.positions + DISPLACEMENT * component
        forward = displaced.get_forces()
        displaced.positions = atoms.positions - DISPLACEMENT * component
        rows.append((displaced.get_forces() - forward).ravel() / (2 * DISPLACEMENT))
    matrix = np.array(rows)
    symmetric: Floats = 0.5 * (matrix + matrix.T)
    return symmetric


def vibrations(atoms: Atoms, second_derivatives: Floats) -> tuple[Floats, Floats]:
    """Energies and modes of a molecule's vibrations, without the motions of the whole.

    Args:
        atoms: a structure without periodicity.
        second_derivatives: (3N, 3N), eV/angstrom^2.

    Returns:
        hbar times the angular frequency, (V,), eV, negative for negative curvature; mass-weighted orthonormal modes
        as rows, (V, 3N). V is 3N - 6, 3N - 5 for linear molecules and 0 for an atom.
    """
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))  # (3N,)
    inner = _inner_space(atoms)  # (V, 3N)
    curvatures, vectors = np.linalg.eigh(inner @ (second_derivatives / np.outer(roots, roots)) @ inner.T)
    return HBAR * np.sign(curvatures) * np.sqrt(np.abs(curvatures)), vectors.T @ inner


def _inner_space(atoms: Atoms) -> Floats:
    """Orthonormal mass-weighted directions at right angles to translations and rotations, as rows, (V, 3N)."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    r = atoms.positions - atoms.get_center_of_mass()
    whole = [np.broadcast_to(axis, r.shape) for axis in np.eye(3)] + [np.cross(axis, r) for axis in np.eye(3)]
    weighted = np.array([(roots * motion).ravel() for motion in whole])  # (6, 3N)
    _, sizes, directions = np.linalg.svd(weighted)
    rank = int(np.sum(sizes > 1e-6 * sizes.max()))
    inner: Floats = directions[rank:]
    return inner


def amplitudes(energies: Floats, temperature: float) -> Floats:
    """Standard deviations of mass-weighted normal coordinates of quantum oscillators, (V,), angstrom amu^(1/2).

    <Q^2> = hbar / (2 omega) coth(hbar omega / 2 kT): the zero-point motion when cold, kT / omega^2 when hot.

    Args:
        energies: hbar omega, (V,), eV; those below 100 cm^-1 count as that.
        temperature: K.
    """
    quanta = np.maximum(energies, SOFTEST)
    deviations: Floats = np.sqrt(HBAR**2 / (2 * quanta) / np.tanh(quanta / (2 * units.kB * temperature)))
    return deviations


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
    energies, vectors = modes
    deviations = amplitudes(energies, temperature)
    roots = np.sqrt(atoms.get_masses())[:, None]
    vectors_of_bonds = atoms.positions[bonds.pairs[:, 0]] - atoms.positions[bonds.pairs[:, 1]]  # (B, 3)
    lengths = np.linalg.norm(vectors_of_bonds, axis=1)
    while True:
        coordinates = deviations * generator.standard_normal(len(deviations))
        displacements = (coordinates @ vectors).reshape(-1, 3) / roots
        change = displacements[bonds.pairs[:, 0]] - displacements[bonds.pairs[:, 1]]
        targets = lengths + np.einsum("bx,bx->b", change, vectors_of_bonds) / lengths
        straight = atoms.positions + displacements
        positions = with_distances(straight, bonds.pairs, targets)
        yield moved(atoms, straight if positions is None else positions, f"normal modes {temperature:g} K")
