"""Nudged elastic bands with one calculator for all images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.mep import NEB
from ase.utils.forcecurve import fit_images

from ase_nbody.cli.optimisation import relaxed
from ase_nbody.cli.output import new_figure, replaced, save_figure

# Climbing starts once the band is this many times looser than asked for (Henkelman et al. 2000,
# doi 10.1063/1.1329672, start it after some steps of a plain band).
LOOSER_BEFORE_CLIMBING = 5.0


@dataclass(frozen=True)
class PathSettings:
    """Settings of a band.

    Attributes:
        n_images: images with the two ends.
        fmax: largest force across the path at the end, eV/angstrom.
        steps: largest number of steps of each stage.
        climb: let the highest image climb to the saddle point.
        relax_ends: relax the two ends first, to fmax / 5.
    """

    n_images: int
    fmax: float
    steps: int
    climb: bool
    relax_ends: bool


def minimum_energy_path(initial: Atoms, final: Atoms, calculator: Calculator, settings: PathSettings) -> list[Atoms]:
    """Images from one structure to another, each with its energy and forces stored.

    The first guess interpolates distances (IDPP, Smidstrup et al. 2014, doi 10.1063/1.4878664). Molecules are turned
    onto each other, and periodic structures take the nearest images.

    Raises:
        ValueError: the ends are different atoms, or in different order, cell or periodicity; or fmax is not reached.
    """
    check_same_atoms(initial, final)
    images = [initial.copy() for _ in range(settings.n_images - 1)] + [final.copy()]
    for image in images:
        image.calc = calculator
    if settings.relax_ends:
        for end in (images[0], images[-1]):
            relaxed(end, "bfgs", settings.fmax / 5, settings.steps)
    free = not initial.pbc.any() and not initial.constraints
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent", remove_rotation_and_translation=free)
    band.interpolate("idpp", mic=bool(initial.pbc.any()), apply_constraint=True if initial.constraints else None)
    if settings.climb:
        relaxed(band, "fire", settings.fmax * LOOSER_BEFORE_CLIMBING, settings.steps)
        band.climb = True
    relaxed(band, "fire", settings.fmax, settings.steps)
    return [_stored(image) for image in images]


def check_same_atoms(initial: Atoms, final: Atoms) -> None:
    """Refuse ends that no path joins.

    Raises:
        ValueError: saying in what they differ.
    """
    if len(initial) != len(final):
        raise ValueError(f"the ends of the path have {len(initial)} and {len(final)} atoms; they must have the same")
    differing = np.flatnonzero(initial.numbers != final.numbers)
    if len(differing):
        i = differing[0]
        raise ValueError(
            f"atom {i} is {initial.symbols[i]} at one end of the path and {final.symbols[i]} at the other; put the "
            "atoms of both files in the same order"
        )
    if (initial.pbc != final.pbc).any() or not np.allclose(initial.cell, final.cell):
        raise ValueError("the ends of the path have different cells or periodicity; give both the same")


def barrier(path: Sequence[Atoms]) -> tuple[float, float]:
    """Energy of the highest image and of the last, both above the first, eV."""
    energies = np.array([image.get_potential_energy() for image in path])
    return float(energies.max() - energies[0]), float(energies[-1] - energies[0])


def write_path(path: Sequence[Atoms], output: Path) -> None:
    """Write the images, whole or not at all."""
    with replaced(output) as temporary:
        write(temporary, list(path))


def draw_path(path: Sequence[Atoms], plot: Path) -> bool:
    """Plot the energy along the path with a spline through energies and forces; False without matplotlib."""
    figure = new_figure(6.0, 4.0)
    if figure is None:
        return False
    curve = fit_images(list(path))
    axes = figure.subplots()
    axes.plot(curve.fit_path, curve.fit_energies, color="tab:blue")
    axes.plot(curve.path, curve.energies, "o", color="tab:blue")
    axes.set_xlabel("path (Å)")
    axes.set_ylabel("energy (eV)")
    axes.set_title(f"barrier {barrier(path)[0]:.3f} eV")
    save_figure(figure, plot)
    return True


def _stored(image: Atoms) -> Atoms:
    """A copy that keeps its energy and forces when the shared calculator moves on."""
    copy: Atoms = image.copy()
    copy.calc = SinglePointCalculator(copy, energy=image.get_potential_energy(), forces=image.get_forces())
    return copy
