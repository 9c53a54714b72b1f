"""Modes of negative curvature: whether a stationary point is a minimum, a saddle point or of higher order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from ase import Atoms, units
from numpy.typing import NDArray

SMALLEST_IMAGINARY = 10.0
"""Imaginary wavenumbers below this, cm^-1, do not count: forces that are not quite zero give the softest modes such."""


@dataclass(frozen=True)
class ImaginaryModes:
    """Modes along which the energy falls on both sides, the steepest first.

    Attributes:
        wavenumbers: of the imaginary frequencies, (M,), cm^-1.
        displacements: of the atoms, each with its longest as 1, (M, N, 3).
    """

    wavenumbers: NDArray[np.float64]
    displacements: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.wavenumbers)


def imaginary_modes(atoms: Atoms, hessian: NDArray[np.float64]) -> ImaginaryModes:
    """Harmonic modes with imaginary frequencies, within constraints and without motions of the whole.

    Args:
        atoms: structure, its masses and constraints.
        hessian: second derivatives of the energy, (3N, 3N), eV/angstrom^2.
    """
    masses = np.repeat(atoms.get_masses(), 3)  # (3N,)
    basis = allowed_displacements(atoms)  # (3N, F)
    if basis.shape[1] == 0:
        return ImaginaryModes(np.empty(0), np.empty((0, len(atoms), 3)))
    symmetric = 0.5 * (hessian + hessian.T)
    squares, modes = scipy.linalg.eigh(basis.T @ symmetric @ basis, basis.T @ (masses[:, None] * basis))
    # hbar omega in eV, of omega^2 in eV / angstrom^2 / u
    quantum = units._hbar * 1e10 / np.sqrt(units._e * units._amu)
    wavenumbers = quantum * np.sqrt(np.maximum(-squares, 0.0)) / units.invcm
    chosen = np.flatnonzero(wavenumbers > SMALLEST_IMAGINARY)
    displacements = (basis @ modes[:, chosen]).T.reshape(len(chosen), len(atoms), 3)
    displacements /= np.linalg.norm(displacements, axis=2).max(axis=1, initial=0.0)[:, None, None]
    return ImaginaryModes(wavenumbers[chosen], displacements)


def allowed_displacements(atoms: Atoms) -> NDArray[np.float64]:
    """Displacements that change the shape and that constraints allow, F orthonormal columns, (3N, F).

    Constraints are asked what they leave of a force along each coordinate. Without constraints translations of the
    whole are left out, and its rotations where there is no periodicity, mass-weighted (Eckart frame).
    """
    n = 3 * len(atoms)
    if atoms.constraints:
        projector = np.empty((n, n))
        for row in range(n):
            force = np.zeros((len(atoms), 3))
            force.flat[row] = 1.0
            for constraint in atoms.constraints:
                constraint.adjust_forces(atoms, force)
            projector[row] = force.ravel()
        values, vectors = np.linalg.eigh(0.5 * (projector + projector.T))
        return np.asarray(vectors[:, values > 0.5])
    axes = np.eye(3)
    rigid = [np.broadcast_to(axis, (len(atoms), 3)) for axis in axes]
    if not atoms.pbc.any():
        rigid += [np.cross(axis, atoms.positions - atoms.get_center_of_mass()) for axis in axes]
    motions = np.reshape(rigid, (-1, n)) * np.repeat(atoms.get_masses(), 3)
    return np.asarray(scipy.linalg.null_space(motions, rcond=1e-8))


def across(modes: ImaginaryModes, images: Sequence[Atoms], highest: int) -> NDArray[np.float64]:
    """Displacements of the imaginary mode that is least along the path, (N, 3).

    Args:
        modes: of the highest image, two at least.
        images: the path.
        highest: number of the highest image, which is not an end.
    """
    tangent = (images[highest + 1].positions - images[highest - 1].positions).ravel()
    flat = modes.displacements.reshape(len(modes), -1)
    overlaps = np.abs(flat @ tangent) / np.linalg.norm(flat, axis=1)
    return np.asarray(modes.displacements[int(overlaps.argmin())])


def pushed_out(images: Sequence[Atoms], displacement: NDArray[np.float64], distance: float) -> list[Atoms]:
    """A path moved aside between its ends, most where it is highest.

    Args:
        images: the path, with energies.
        displacement: direction, the longest vector of an atom 1, (N, 3).
        distance: way of that atom in the highest image, angstrom.
    """
    energies = np.array([image.get_potential_energy() for image in images])
    heights = energies - np.linspace(energies[0], energies[-1], len(energies))
    weights = np.clip(heights / heights.max(), 0.0, 1.0)
    weights[[0, -1]] = 0.0
    moved = [image.copy() for image in images]
    for image, weight in zip(moved, weights, strict=True):
        image.set_positions(image.positions + weight * distance * displacement)
    return moved
