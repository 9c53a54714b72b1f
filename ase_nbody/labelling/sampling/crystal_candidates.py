"""Candidates of the kinds that crystals have: normal modes, strains, vacancies and surfaces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from ase import Atoms
from ase.optimize import FIRE

from ase_nbody.labelling.sampling.crystals import strained, supercell, supercell_times, with_vacancies
from ase_nbody.labelling.sampling.kinds import Candidate, Generator
from ase_nbody.labelling.sampling.normal_modes import displaced_crystals, hessian, vibrations
from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.slabs import Face, faces, slab, with_cubic_cell
from ase_nbody.labelling.sampling.start import RelaxedStart

SURFACE_STEPS = 20
"""Steps of relaxations of slabs: the outer layers move, and what rebuilds a surface takes longer."""


def crystal_normal_modes(
    start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator
) -> Iterator[Candidate]:
    """Displacements along the modes of a supercell at its Gamma point, as many at each temperature."""
    times = supercell_times(start.minima[0], settings.supercell_atoms)
    whole = supercell(start.minima[0], settings.supercell_atoms)
    modes = vibrations(whole, hessian(whole, start.calculator, times))
    for temperature in settings.temperatures if len(modes[0]) else ():
        draws = displaced_crystals(whole, modes, temperature, generator)
        for displaced in islice(draws, -(-number // len(settings.temperatures))):
            yield Candidate(displaced, start.lowest_energy(displaced), None)


def strains(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """The crystal strained and sheared."""
    for _ in range(number):
        atoms = strained(start.minima[0], settings.strain, generator)
        yield Candidate(atoms, start.lowest_energy(atoms), None)


def vacancies(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """Supercells without one or two of their atoms."""
    whole = supercell(start.minima[0], settings.supercell_atoms)
    for _ in range(number if len(whole) > 1 else 0):
        atoms = with_vacancies(whole, settings.rattle, generator)
        yield Candidate(atoms, start.lowest_energy(atoms), None)


def surfaces(start: RelaxedStart, settings: SampleSettings, number: int, generator: Generator) -> Iterator[Candidate]:
    """Slabs of each face, relaxed and rattled; none of what is not periodic in three directions already."""
    if not start.minima[0].pbc.all():
        return
    crystal = with_cubic_cell(start.minima[0])
    chosen = faces(crystal)
    for face in chosen:
        yield from islice(_slabs(crystal, face, start, settings, generator), -(-number // len(chosen)))


def _slabs(
    crystal: Atoms, face: Face, start: RelaxedStart, settings: SampleSettings, generator: Generator
) -> Iterator[Candidate]:
    """Slabs of a face without end: one that is relaxed a little, then that and the one that was cut, both rattled.

    Energies are compared with that of the relaxed slab: a surface costs what the bonds that it breaks cost.
    """
    while True:
        cut = slab(crystal, face, settings.supercell_atoms, generator)
        moving = cut.copy()
        moving.calc = start.calculator
        with FIRE(moving, logfile=None, dt=0.1, maxstep=0.1) as optimisation:
            optimisation.run(fmax=settings.fmax, steps=SURFACE_STEPS)
        lowest = float(moving.get_potential_energy())
        name = cut.info["sampled_by"]
        relaxed = moved(cut, moving.positions, f"{name} relaxed")
        yield Candidate(relaxed, lowest, None)
        for source in (relaxed, cut, relaxed):
            width = settings.rattle * generator.uniform(0.2, 1.0)
            noise = width * generator.standard_normal((len(cut), 3))
            rattled = moved(source, source.positions + noise, f"{source.info['sampled_by']} rattle {width:.2f} Å")
            yield Candidate(rattled, lowest, None)
