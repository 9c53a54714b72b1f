"""The kinds of structures: which a system has, their shares, and the candidates of each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import TypeAlias, TypeVar

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.optimize import FIRE
from numpy.typing import NDArray

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.crystal_candidates import crystal_normal_modes, strains, surfaces, vacancies
from ase_nbody.labelling.sampling.crystals import supercell
from ase_nbody.labelling.sampling.dimers import donor_hydrogens, pair_positions, split
from ase_nbody.labelling.sampling.dynamics import watched_frames
from ase_nbody.labelling.sampling.kinds import Candidate, Generator, Kind
from ase_nbody.labelling.sampling.normal_modes import displaced_structures, hessian, vibrations
from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.start import RelaxedStart
from ase_nbody.labelling.sampling.stretches import bent_structures, stretched_structures
from ase_nbody.labelling.sampling.torsions import torsion_combinations, torsion_scan

Indices: TypeAlias = NDArray[np.intp]
T = TypeVar("T")
HELD_STEPS = 6
"""Steps of relaxations with a torsion or a bond held: enough to take the strain out, not to end in one minimum."""


def _conformers(
    start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator
) -> Iterator[Candidate]:
    for atoms in (*start.minima, *start.unrelaxed):
        yield Candidate(atoms, start.lowest_energy(atoms), start.bonds)


def _dynamics(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """Frames at each temperature, from one conformer after the other."""
    minima = cycle(start.minima if start.bonds is not None else _supercells(start, settings))
    n_frames = -(-number // len(settings.temperatures))
    runs = [(t, part) for t in settings.temperatures for part in _parts(n_frames, len(start.minima)) if part]
    for temperature, frames in runs:
        atoms = next(minima)
        for frame in watched_frames(atoms, start.calculator, temperature, frames, settings, generator).frames:
            yield Candidate(frame, start.lowest_energy(frame), start.bonds)


def _parts(number: int, parts: int) -> list[int]:
    """A number divided as equally as whole numbers can be."""
    return [number // parts + (n < number % parts) for n in range(parts)]


def _normal_modes(
    start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator
) -> Iterator[Candidate]:
    atoms, bonds = start.minima[0], _bonds(start)
    modes = vibrations(atoms, hessian(atoms, start.calculator))
    if not len(modes[0]):
        return
    for temperature in settings.temperatures:
        draws = displaced_structures(atoms, bonds, modes, temperature, generator)
        for displaced in islice(draws, -(-number // len(settings.temperatures))):
            yield Candidate(displaced, start.energies[0], bonds)


def _torsions(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """Rigid scans, then as many structures relaxed with the torsion held; combinations where there is room."""
    bonds = _bonds(start)
    scans = [item for atoms in start.minima for item in torsion_scan(atoms, bonds, settings.torsion_step)]
    chosen = _some(scans, number // 2, generator)
    combinations = torsion_combinations(start.minima[0], bonds, settings.torsion_step, generator)
    chosen += islice(combinations, number // 2 - len(chosen))
    for turned, torsion in chosen:
        yield Candidate(turned, start.energies[0], bonds)
        yield Candidate(_relaxed_while_held(turned, torsion, start), start.energies[0], bonds)


def _stretches(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """Three quarters stretched bonds, one quarter bent angles."""
    atoms, bonds = start.minima[0], _bonds(start)
    for stretched, ends in _some(list(stretched_structures(atoms, bonds, generator)), 3 * number // 4, generator):
        relaxed = _relaxed_while_held(stretched, ends, start) if ends else stretched
        yield Candidate(relaxed, start.energies[0], None)
    for bent in _some(list(bent_structures(atoms, bonds, generator)), number // 4, generator):
        yield Candidate(bent, start.energies[0], bonds)


def _rattle(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    sources = cycle(start.minima if start.bonds is not None else (*start.minima, *_supercells(start, settings)))
    for atoms in islice(sources, number if len(start.minima[0]) > 1 or start.bonds is None else 0):
        width = settings.rattle * generator.uniform(0.2, 1.0)
        noise = width * generator.standard_normal((len(atoms), 3))
        rattled = moved(atoms, atoms.positions + noise, f"rattle {width:.2f} Å")
        yield Candidate(rattled, start.lowest_energy(rattled), start.bonds)


def _dimers(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """The molecules of a system placed anew; a single molecule with itself and its partners in turn."""
    divisions = list(split(start.minima[0], _bonds(start)))
    if divisions:
        for division in islice(cycle(divisions), number):
            yield _placed_anew(start, division, generator)
    else:
        for other in islice(cycle((start, *start.partners)), number):
            yield _pair(start, other, generator)


def _placed_anew(start: RelaxedStart, division: tuple[Indices, Indices], generator: Generator) -> Candidate:
    """One molecule of a system placed anew beside the others."""
    atoms, bonds = start.minima[int(generator.integers(len(start.minima)))], _bonds(start)
    (fixed, fixed_donors), (moving, moving_donors) = (_part(atoms, bonds, chosen) for chosen in division)
    positions, closest = pair_positions(fixed, moving, (fixed_donors, moving_donors), generator)
    placed = atoms.positions.copy()
    placed[np.concatenate(division)] = positions
    return Candidate(moved(atoms, placed, f"dimer {closest:.2f} Å"), start.energies[0], bonds)


def _part(atoms: Atoms, bonds: BondGraph, chosen: Indices) -> tuple[Atoms, list[tuple[int, int]]]:
    """Some molecules of a structure, and their donors of hydrogen bonds."""
    number = {int(atom): n for n, atom in enumerate(chosen)}
    donors = [(number[d], number[h]) for d, h in donor_hydrogens(bonds) if d in number]
    return atoms[chosen], donors


def _pair(start: RelaxedStart, other: RelaxedStart, generator: Generator) -> Candidate:
    atoms = start.minima[int(generator.integers(len(start.minima)))]
    partner = other.minima[int(generator.integers(len(other.minima)))]
    donors = donor_hydrogens(_bonds(start)), donor_hydrogens(_bonds(other))
    positions, closest = pair_positions(atoms, partner, donors, generator)
    pair = moved(atoms + partner, positions, f"dimer with {other.name} {closest:.2f} Å")
    pair.info |= {
        "charge": atoms.info["charge"] + partner.info["charge"],
        # Spins of two radicals are parallel: this far apart that has the energy of the lowest state nearly, and is what
        # one determinant can describe; with paired electrons two CH3 at 3.5 angstrom come out 0.5 eV too high.
        "multiplicity": atoms.info["multiplicity"] + partner.info["multiplicity"] - 1,
    }
    shifted = _bonds(other).pairs + len(atoms)
    bonds = BondGraph(pair.numbers, np.concatenate([_bonds(start).pairs, shifted]))
    return Candidate(pair, start.energies[0] + other.energies[0], bonds)


def _supercells(start: RelaxedStart, settings: SampleSettings) -> tuple[Atoms, ...]:
    return tuple(supercell(atoms, settings.supercell_atoms) for atoms in start.minima)


def _bonds(start: RelaxedStart) -> BondGraph:
    assert start.bonds is not None  # kinds of molecules are asked of molecules only
    return start.bonds


def _some(items: list[T], number: int, generator: Generator) -> list[T]:
    """At most so many, drawn at random, in the order they had."""
    if len(items) <= number:
        return items
    return [items[n] for n in np.sort(generator.choice(len(items), number, replace=False))]


def _relaxed_while_held(atoms: Atoms, held: tuple[int, ...], start: RelaxedStart) -> Atoms:
    """Some steps downhill with the atoms of a torsion or the ends of a bond where they are."""
    moving = atoms.copy()
    moving.calc = start.calculator
    moving.set_constraint(FixAtoms(held))
    with FIRE(moving, logfile=None, dt=0.1, maxstep=0.1) as optimisation:
        optimisation.run(fmax=0.1, steps=HELD_STEPS)
    return moved(atoms, moving.positions, f"{atoms.info['sampled_by']} relaxed")


MOLECULES = {
    "conformers": Kind(0.05, 1.0, _conformers),
    "md": Kind(0.25, 1.3, _dynamics),
    "normal-modes": Kind(0.15, 2.0, _normal_modes),
    "torsions": Kind(0.15, 2.0, _torsions),
    "stretches": Kind(0.25, 3.0, _stretches, breaks_bonds=True),
    "rattle": Kind(0.05, 2.0, _rattle),
    "dimers": Kind(0.10, 2.0, _dimers),
}
CRYSTALS = {
    "conformers": Kind(0.02, 1.0, _conformers),
    "md": Kind(0.30, 1.2, _dynamics),
    "normal-modes": Kind(0.08, 1.5, crystal_normal_modes),
    "rattle": Kind(0.10, 1.5, _rattle),
    "strains": Kind(0.25, 1.5, strains),
    "vacancies": Kind(0.15, 1.2, vacancies),
    "surfaces": Kind(0.10, 1.5, surfaces),
}


def kinds_of(start: RelaxedStart, settings: SampleSettings) -> dict[str, Kind]:
    """The kinds of structures that are wanted of a system and that it has, by name.

    Args:
        start: a molecule or crystal.
        settings: the kinds that are wanted.
    """
    there = CRYSTALS if start.bonds is None else MOLECULES
    return {name: there[name] for name in settings.kinds if name in there}
