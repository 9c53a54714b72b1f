"""Nudged elastic bands with one calculator for all images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB

from ase_nbody.simulation.relaxation import Observer, OptimisationSettings, relaxed

# Climbing starts once the band is this many times looser than asked for (Henkelman et al. 2000,
# doi 10.1063/1.1329672, start it after some steps of a plain band).
LOOSER_BEFORE_CLIMBING = 5.0
# Ends are one structure where no atom is farther away than this, angstrom: as given, and once relaxed to fmax / 5.
SAME_AS_GIVEN = 0.01
SAME_AS_RELAXED = 0.05


@dataclass(frozen=True)
class BandSettings:
    """Settings of a band.

    Attributes:
        fmax: largest force across the path at the end, eV/angstrom.
        steps: largest number of steps of each stage.
        climb: let the highest image climb to the saddle point.
        watchdog: stop bands that fall without end or explode.
    """

    fmax: float
    steps: int
    climb: bool
    watchdog: bool = True


def relax_ends(
    ends: tuple[Atoms, Atoms], calculator: Calculator, settings: BandSettings, observer: Observer | None = None
) -> None:
    """Relax the two ends of a path to fmax / 5; they are moved along.

    Raises:
        NotConvergedError, UnstableOptimisationError: as `relaxed`.
        ValueError: both ends relax to one structure.
    """
    optimisation = OptimisationSettings("bfgs", settings.fmax / 5, settings.steps, settings.watchdog)
    for end in ends:
        end.calc = calculator
        relaxed(end, optimisation, observer=observer)
    if largest_difference(*ends) < SAME_AS_RELAXED:
        raise ValueError(
            "both ends of the path relax to the same structure, so no barrier is between them; give ends in two "
            "minima, or --keep-ends"
        )


def interpolated(initial: Atoms, final: Atoms, n_images: int) -> list[Atoms]:
    """A first guess of a path that interpolates distances (IDPP, Smidstrup et al. 2014, doi 10.1063/1.4878664).

    Molecules are turned onto each other, and periodic structures take the nearest images.

    Args:
        initial: first image.
        final: last image, the same atoms in the same order.
        n_images: number of images with the two ends, three at least.

    Raises:
        ValueError: as check_ends.
    """
    check_ends(initial, final)
    images = [initial.copy() for _ in range(n_images - 1)] + [final.copy()]
    band = NEB(images, remove_rotation_and_translation=_free(initial), method="improvedtangent")
    band.interpolate("idpp", mic=bool(initial.pbc.any()), apply_constraint=True if initial.constraints else None)
    for image in images:
        image.calc = None
    return images


def optimise_band(
    images: list[Atoms], calculator: Calculator, settings: BandSettings, observer: Observer | None = None
) -> None:
    """Move the images between the ends to the minimum-energy path, the highest to the saddle point where it climbs.

    Args:
        images: the path; moved along, and given the calculator.
        calculator: one for all images.
        settings: largest force, number of steps, climbing.
        observer: is told of every step.

    Raises:
        NotConvergedError: fmax is not reached within the steps of a stage.
        UnstableOptimisationError: images fall without end or explode.
    """
    for image in images:
        image.calc = calculator
    free = _free(images[0])
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent", remove_rotation_and_translation=free)
    stages = [settings.fmax]
    if settings.climb:
        stages.insert(0, settings.fmax * LOOSER_BEFORE_CLIMBING)
    for number, fmax in enumerate(stages):
        band.climb = settings.climb and number == 1
        relaxed(band, OptimisationSettings("fire", fmax, settings.steps, settings.watchdog), observer=observer)


def check_ends(initial: Atoms, final: Atoms) -> None:
    """Refuse ends that no path joins.

    Raises:
        ValueError: saying in what they differ, or that they do not.
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
    if (difference := largest_difference(initial, final)) < SAME_AS_GIVEN:
        raise ValueError(
            f"the ends of the path are the same structure: no atom moves more than {difference:.2g} Å; give two "
            "different ones"
        )


def largest_difference(first: Atoms, second: Atoms) -> float:
    """Largest distance of an atom between two structures of the same atoms in the same order, angstrom.

    Molecules without constraints are turned and moved onto each other first; in periodic structures the nearest
    images are taken, and without constraints the mean translation is left out.
    """
    moved = second.copy()
    if _free(first):
        minimize_rotation_and_translation(first, moved)
    vectors = moved.positions - first.positions
    if first.pbc.any():
        vectors = find_mic(vectors, first.cell, first.pbc)[0]
        if not first.constraints:
            vectors = vectors - vectors.mean(axis=0)
    return float(np.linalg.norm(vectors, axis=1).max())


def barrier(path: Sequence[Atoms]) -> tuple[float, float]:
    """Energy of the highest image and of the last, both above the first, eV."""
    energies = np.array([image.get_potential_energy() for image in path])
    return float(energies.max() - energies[0]), float(energies[-1] - energies[0])


def highest_image(path: Sequence[Atoms]) -> int:
    """Number of the image with the highest energy."""
    return int(np.argmax([image.get_potential_energy() for image in path]))


def with_results(images: Sequence[Atoms], calculator: Calculator) -> list[Atoms]:
    """Copies of images that keep their energy and forces when the shared calculator moves on."""
    copies = []
    for image in images:
        copy: Atoms = image.copy()
        copy.calc = calculator
        results = {"energy": copy.get_potential_energy(), "forces": copy.get_forces(apply_constraint=False)}
        copy.calc = SinglePointCalculator(copy, **results)
        copies.append(copy)
    return copies


def _free(atoms: Atoms) -> bool:
    """Whether a structure may be turned and moved."""
    return not atoms.pbc.any() and not atoms.constraints
