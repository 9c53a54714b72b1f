"""Whether relaxations and bands stay physical: energies that end somewhere, forces that shrink, whole molecules."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.mep import NEB
from ase.neighborlist import neighbor_list

from ase_nbody.simulation.errors import UnstableOptimisationError
from ase_nbody.simulation.fragments import Fragments
from ase_nbody.simulation.watchdog import force_limit, stored

# More than atoms gain from being bonded: tungsten, the most cohesive element, has 8.9 eV.
LARGEST_FALL = 10.0
# Forces beyond the limit are an explosion when they are this many times the smallest that there were.
_GROWTH = 10.0
# Distance in units of the sum of covalent radii: starts below may release any energy, and no minimum lies so deep.
_OVERLAP = 0.8
_COLLAPSED = 0.5
_FALL_OF_COLLAPSE = 1.0  # eV/atom: distances are looked at beyond
_BOND_FACTOR = 2.0  # less than in dynamics, where bonds vibrate
_ADVICE = (
    "The model has no minimum here: see whether it was trained for such structures (nbody info MODEL), or start from "
    "a better structure"
)


class OptimisationWatchdog(ABC):
    """Looks at every step of an optimisation."""

    def __init__(self) -> None:
        self._good: list[Atoms] = []

    def __call__(self, step: int) -> None:
        """Look at the step.

        Raises:
            UnstableOptimisationError: it is not physical.
        """
        reason = self.reason()
        if reason is not None:
            raise self.error(step, reason)
        self._good = self.structures()

    def error(self, step: int, reason: str) -> UnstableOptimisationError:
        """The error that ends the optimisation, with the structures as they are and the last good ones."""
        return UnstableOptimisationError(step, reason, self.structures(), self._good, _ADVICE)

    @abstractmethod
    def reason(self) -> str | None:
        """What is wrong, in words; None where all is right."""

    @abstractmethod
    def structures(self) -> list[Atoms]:
        """Copies of the structures as they are."""


class ForceCheck:
    """Whether largest forces stay below a limit, or, after starts above it, below 10 times the smallest so far."""

    def __init__(self, limit: float, source: str) -> None:
        self._limit = limit
        self._source = source
        self._smallest = np.inf

    def reason(self, force: float) -> str | None:
        """What is wrong with a largest force, eV/angstrom, in words; None where it is right."""
        self._smallest = min(self._smallest, force)
        if force <= max(self._limit, _GROWTH * self._smallest):
            return None
        return (
            f"the largest force grew from {self._smallest:.3g} to {force:.3g} eV/Å, above the limit of "
            f"{self._limit:.3g} eV/Å ({self._source})"
        )


class RelaxationWatchdog(OptimisationWatchdog):
    """Stops relaxations whose energy falls without end, whose atoms collapse or fly apart, or whose forces explode.

    Args:
        atoms: structure with its calculator, at the start.
    """

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        self._atoms = atoms
        self._forces = ForceCheck(*force_limit(atoms, None))
        self._fragments = Fragments(atoms, _BOND_FACTOR)
        self._start_ratio = closest_ratio(atoms)
        self._start_energy = np.inf

    def reason(self) -> str | None:
        """What is wrong with the structure as it is."""
        energy = float(self._atoms.get_potential_energy())
        self._start_energy = energy if np.isinf(self._start_energy) else self._start_energy
        force = float(np.linalg.norm(self._atoms.get_forces(), axis=1).max())
        if not np.isfinite([energy, force, self._atoms.positions.sum(), self._atoms.cell.array.sum()]).all():
            return "positions, energy or forces are not finite"
        return self._fall(energy) or self._forces.reason(force) or self._fragments.reason(self._atoms.positions)

    def structures(self) -> list[Atoms]:
        """A copy of the structure."""
        return [stored(self._atoms)]

    def _fall(self, energy: float) -> str | None:
        if self._start_ratio < _OVERLAP:
            # Atoms that overlap release what they have; the fall is counted from where they are apart.
            self._start_ratio, self._start_energy = closest_ratio(self._atoms), energy
        fall = (self._start_energy - energy) / len(self._atoms)
        if fall > LARGEST_FALL:
            return f"the energy fell by {fall:.3g} eV/atom, more than the {LARGEST_FALL:g} that bonds give"
        if fall > _FALL_OF_COLLAPSE and (ratio := closest_ratio(self._atoms)) < _COLLAPSED:
            return f"atoms collapsed to {ratio:.2f} times the sum of their covalent radii"
        return None


class BandWatchdog(OptimisationWatchdog):
    """Stops bands with energies far below their ends, forces that explode, or values that are not finite.

    Args:
        band: at the start.
    """

    def __init__(self, band: NEB) -> None:
        super().__init__()
        self._band = band
        self._forces = ForceCheck(*force_limit(band.images[0], None))

    def reason(self) -> str | None:
        """What is wrong with the band as it is."""
        energies, forces = np.asarray(self._band.energies), np.asarray(self._band.real_forces)[1:-1]
        force = float(np.linalg.norm(forces, axis=2).max())
        if not np.isfinite([force, *energies]).all():
            return "energies or forces of images are not finite"
        fall = (min(energies[0], energies[-1]) - energies[1:-1].min()) / self._band.natoms
        if fall > LARGEST_FALL:
            image = 1 + int(energies[1:-1].argmin())
            return (
                f"image {image} lies {fall:.3g} eV/atom below the ends, more than the {LARGEST_FALL:g} that bonds give"
            )
        return self._forces.reason(force)

    def structures(self) -> list[Atoms]:
        """Copies of the images, without energies: a calculator may be shared."""
        return [image.copy() for image in self._band.images]


def closest_ratio(atoms: Atoms) -> float:
    """Smallest distance in units of the sum of covalent radii, below 0.8; infinite where no atoms are so near."""
    cutoffs = _OVERLAP * covalent_radii[atoms.numbers]
    first, second, distances = neighbor_list("ijd", atoms, cutoffs)
    sums = covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]]
    return float((distances / sums).min(initial=np.inf))
