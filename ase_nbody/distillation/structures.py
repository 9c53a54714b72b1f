"""What a student learns first, and where it goes by itself: the teacher's sample, and the student's own dynamics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.data.reading import read_structures
from ase_nbody.distillation.settings import DistillationSettings
from ase_nbody.distillation.teacher import Teacher
from ase_nbody.files import replaced
from ase_nbody.labelling.labelled_files import write_frames
from ase_nbody.labelling.sampling.crystals import strained, supercell
from ase_nbody.labelling.sampling.dynamics import WatchedFrames, watched_frames
from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.labelling.sampling.sample import sample
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.system import System
from ase_nbody.labelling.sampling.systems import read_systems
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest

KINDS = ("conformers", "md", "torsions", "rattle", "strains")
"""Kinds of the sample: what a system meets at its temperatures, without broken bonds, vacancies and surfaces."""
STRAIN = 0.05
"""Largest strain of the sample: thermal expansion and some GPa."""
OWN_STRAIN = 0.02
"""Largest strain of half of a crystal's own dynamics, so that its stress is learnt where it is hot as well."""
_SAMPLE_INTERVAL = 10.0  # fs between frames of the teacher's dynamics, which is dear; the student's own comes after


def one_system(structure: str) -> System:
    """The system of a name, a file or a SMILES.

    Raises:
        ValueError: there is no such system, or there are several.
    """
    systems = read_systems([structure])
    if len(systems) > 1:
        raise ValueError(
            f"{structure} gives {len(systems)} systems, and a student is of one; give a file with one structure"
        )
    return systems[0]


def write_sample(
    system: System, teacher: Teacher, settings: DistillationSettings, output: Path, stop: StopRequest
) -> None:
    """Sample a system with the teacher: its minimum first, then dynamics, displacements, strains or torsions.

    Args:
        system: what is sampled.
        teacher: guides it.
        settings: number of structures, temperatures and seed.
        output: structures, extended XYZ.
        stop: ends it early.

    Raises:
        ValueError: it cannot be sampled.
        SimulationStoppedError: a stop was asked for.
    """
    kinds = SampleSettings(
        number=settings.first_structures,
        kinds=KINDS,
        temperatures=settings.temperatures,
        frame_interval=_SAMPLE_INTERVAL,
        timestep=timestep(system.geometries),
        strain=STRAIN,
        supercell_atoms=settings.supercell_atoms,
        resolution=0.0,
    )
    report = sample(
        [system], output, teacher.spec,
        options=teacher.fast_options, settings=kinds, seed=settings.seed, time_limit=None, force=True, stop=stop,
    )  # fmt: skip
    if report.output is None:
        raise ValueError(f"{system.name} cannot be sampled with {teacher.words}: {report.failed.get(system.name)}")


def relaxed_minimum(sample_file: Path, most_atoms: int) -> Atoms:
    """The relaxed structure of a sample; of a crystal a supercell.

    Args:
        sample_file: written by `write_sample`.
        most_atoms: of the supercell.
    """
    minimum = next(atoms for atoms in read_structures(sample_file) if atoms.info["sampled_by"] == "minimum")
    return supercell(minimum, most_atoms) if minimum.pbc.any() else minimum


def write_own_dynamics(
    student: Path,
    start: Atoms,
    settings: DistillationSettings,
    number: int,
    n_frames: int,
    files: tuple[Path, Path],
    stop: StopRequest,
) -> None:
    """Dynamics of a student at each temperature; half of that of a crystal in a strained cell.

    Where the watchdog ends it, the last good structure and the one that failed are among the frames.

    Args:
        student: its model file.
        start: relaxed by the teacher.
        settings: temperatures, time, seed and device.
        number: of the round.
        n_frames: of all dynamics together.
        files: frames, and why dynamics ended before its time, a JSON list of sentences.
        stop: ends it early.

    Raises:
        SimulationStoppedError: a stop was asked for.
    """
    generator = np.random.default_rng([settings.seed, number])
    cells = [start, strained(start, OWN_STRAIN, generator)] if start.pbc.any() else [start]
    runs = [(temperature, atoms) for temperature in settings.temperatures for atoms in cells]
    each = -(-n_frames // len(runs))
    interval = 1000.0 * settings.picoseconds / len(cells) / each
    sampling = SampleSettings(frame_interval=interval, timestep=timestep([start]))
    calculator = NBodyCalculator(student, device=settings.device, dtype="float32", outside="ignore")
    frames: list[Atoms] = []
    failures: list[str] = []
    for temperature, atoms in runs:
        if stop.signal:
            raise SimulationStoppedError(stop.signal)
        watched = watched_frames(atoms, calculator, temperature, each, sampling, generator)
        frames += [*watched.frames, *_last_structures(watched)]
        if watched.failure is not None:
            failures.append(f"at {temperature:g} K {watched.failure.reason} (step {watched.failure.step})")
    with replaced(files[1]) as temporary:
        temporary.write_text(json.dumps(failures) + "\n", encoding="utf-8")
    write_frames(frames, files[0], {})


def _last_structures(watched: WatchedFrames) -> list[Atoms]:
    """What the watchdog saw last, without what cannot be written."""
    if watched.failure is None:
        return []
    several = [*watched.failure.last_good, *watched.failure.failed]
    return [moved(a, a.positions, "md, stopped") for a in several if np.isfinite(a.positions).all()]


def timestep(structures: Sequence[Atoms]) -> float:
    """Femtoseconds: shorter where there may be hydrogen."""
    return 1.0 if structures and 1 not in structures[0].numbers else 0.5
