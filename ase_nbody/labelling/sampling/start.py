"""RelaxedStart: the relaxed structures of a system, from which others are sampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph, bond_graph, reaction
from ase_nbody.labelling.sampling.distances import are_one, interatomic_distances
from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.smiles import embedding
from ase_nbody.labelling.sampling.system import System
from ase_nbody.simulation.errors import NotConvergedError, UnstableOptimisationError
from ase_nbody.simulation.relaxation import OptimisationSettings, relaxed, with_cell

RELAXATION_STEPS = 200
_COLD = 0.3  # eV/angstrom; molecules held by soft contacts take hundreds of steps below
_STRESS_STEPS = 60


@dataclass(frozen=True, eq=False)
class RelaxedStart:
    """The relaxed structures of a system.

    Attributes:
        name: of the system.
        minima: relaxed conformers, lowest energy first, or the one crystal; charge and multiplicity in info.
        energies: of the minima, eV, (M,).
        unrelaxed: conformers as they were given or embedded, bonds as in the minima.
        bonds: of a molecule; None for a crystal.
        calculator: what relaxed them, with no structure of its own.
        notes: what a user should know of the relaxation.
        partners: molecules that dimers are made with besides the molecule itself.
    """

    name: str
    minima: tuple[Atoms, ...]
    energies: tuple[float, ...]
    unrelaxed: tuple[Atoms, ...]
    bonds: BondGraph | None
    calculator: BaseCalculator
    notes: tuple[str, ...] = ()
    partners: tuple[RelaxedStart, ...] = ()

    def lowest_energy(self, atoms: Atoms) -> float:
        """Energy of so many atoms at the lowest minimum, eV."""
        return self.energies[0] * len(atoms) / len(self.minima[0])


def relaxed_start(
    system: System, calculator: BaseCalculator, settings: SampleSettings, generator: np.random.Generator
) -> RelaxedStart:
    """Relax the conformers of a molecule, each as long as it keeps its bonds, or a crystal with its cell.

    Args:
        system: what to relax.
        calculator: of energy and forces.
        settings: number of conformers and largest force.
        generator: source of the seed of embeddings.

    Raises:
        ValueError: no geometry can be made, a molecule reacts while it relaxes, or the relaxation ends nowhere.
    """
    geometries, bonds = _geometries(system, settings, generator)
    minima: list[tuple[float, Atoms]] = []
    unrelaxed, lost, notes = [], [], []
    for geometry in geometries:
        try:
            atoms, note = _relaxed(geometry, calculator, settings)
        except (UnstableOptimisationError, NotConvergedError) as error:
            lost.append(str(error))
            continue
        change = None if bonds is None else reaction(bonds, atoms)
        if change is not None:
            lost.append(f"it reacts while it relaxes: {change}")
            continue
        notes += [note] if note else []
        unrelaxed.append(moved(geometry, geometry.positions, "conformer, unrelaxed"))
        minima.append((float(atoms.get_potential_energy()), moved(atoms, atoms.positions, "minimum")))
    if not minima:
        raise ValueError(lost[0])
    if lost:
        notes.append(f"{len(lost)} of {len(geometries)} conformers left out: {lost[0]}")
    chosen = _distinct(minima, settings)
    energies = tuple(energy for energy, _ in chosen)
    frames = tuple(atoms for _, atoms in chosen)
    return RelaxedStart(system.name, frames, energies, tuple(unrelaxed), bonds, calculator, tuple(dict.fromkeys(notes)))


def _geometries(
    system: System, settings: SampleSettings, generator: np.random.Generator
) -> tuple[list[Atoms], BondGraph | None]:
    """Conformers with charge and multiplicity in info, and the bonds that they have."""
    bonds: BondGraph | None
    if system.smiles:
        embedded = embedding(system.smiles, 2 * settings.conformers, generator)
        frames, bonds = list(embedded.conformers), embedded.bonds
        change = reaction(bonds, frames[0])
        if change is not None:
            raise ValueError(f"the embedding is not what the SMILES says: {change}")
    else:
        frames = [atoms.copy() for atoms in system.geometries]
        bonds = None if frames[0].pbc.any() else bond_graph(frames[0])
    for atoms in frames:
        atoms.info = _info(system, atoms)
    return frames, bonds


def _info(system: System, atoms: Atoms) -> dict[str, object]:
    charge = atoms.info.get("charge", 0) if system.charge is None else system.charge
    info: dict[str, object] = {"name": system.name, "charge": int(charge)}
    if system.family:
        info["family"] = system.family
    if not atoms.pbc.any():
        lowest = 1 + (int(atoms.numbers.sum()) - int(charge)) % 2
        given = atoms.info.get("multiplicity", lowest) if system.multiplicity is None else system.multiplicity
        info["multiplicity"] = int(given)
    return info


def _relaxed(geometry: Atoms, calculator: BaseCalculator, settings: SampleSettings) -> tuple[Atoms, str]:
    """A relaxed copy with the calculator, and a note where it is not quite relaxed."""
    atoms = geometry.copy()
    atoms.calc = calculator
    if len(atoms) == 1 and not atoms.pbc.any():
        return atoms, ""
    atoms.get_forces()
    cell = atoms.pbc.all() and "stress" in calculator.results  # a reference has a stress, or it has none
    target = with_cell(atoms, 0.0) if cell else atoms
    optimisation = OptimisationSettings("bfgs", settings.fmax, _STRESS_STEPS if cell else RELAXATION_STEPS)
    try:
        relaxed(target, optimisation)
    except NotConvergedError:
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        if force > _COLD:
            raise
        return atoms, f"relaxed to {force:.2f} eV/Å only"
    return atoms, ""


def _distinct(minima: list[tuple[float, Atoms]], settings: SampleSettings) -> list[tuple[float, Atoms]]:
    """Minima, lowest first, without those that are one, as many as wanted."""
    kept: list[tuple[float, Atoms]] = []
    known: list[NDArray[np.float64]] = []
    for energy, atoms in sorted(minima, key=lambda pair: pair[0]):
        distances = interatomic_distances(atoms)
        if len(kept) < settings.conformers and not are_one(distances, known, settings.resolution):
            kept.append((energy, atoms))
            known.append(distances)
    return kept
