"""distill: rounds of training on a teacher's labels and of checking on the student's own dynamics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.distillation.one_round import Distillation
from ase_nbody.distillation.rounds import Round
from ase_nbody.distillation.settings import DistillationSettings
from ase_nbody.distillation.speed import Speed, milliseconds_per_step
from ase_nbody.distillation.structures import one_system, relaxed_minimum, timestep
from ase_nbody.distillation.student import Student, chosen_round, write_student
from ase_nbody.distillation.teacher import Teacher, read_teacher
from ase_nbody.distillation.working_folder import WorkingFolder
from ase_nbody.labelling.sampling.system import System
from ase_nbody.stopping import StopRequest
from ase_nbody.training.budget import Clock

_SPEED_SECONDS = 3.0  # for each of teacher and student


@dataclass(frozen=True)
class DistillationReport:
    """What a distillation gave.

    Attributes:
        output: the student's model file.
        folder: labels, students and states of all rounds.
        teacher: in words.
        rounds: all of them.
        chosen: the one whose student is written.
        speed: of student and teacher.
    """

    output: Path
    folder: Path
    teacher: str
    rounds: tuple[Round, ...]
    chosen: Round
    speed: Speed


def distill(
    structure: str,
    teacher: str,
    output: str | Path,
    *,
    settings: DistillationSettings | None = None,
    command: str | None = None,
    say: Callable[[str], None] = lambda text: None,
    stop: StopRequest | None = None,
) -> DistillationReport:
    """Make a small network for one system, a student, of a teacher that is slower.

    The teacher relaxes the system and samples it; the student learns that, runs dynamics by itself, and learns next
    the structures of these dynamics where it is furthest from the teacher or outside what it learnt. What is done is
    kept in a folder STEM.distill beside the output: the same call goes on after an interruption.

    Args:
        structure: file of any ASE format with one structure, "smiles:CCO", or a name that ASE knows, such as "Si".
        teacher: a shipped model, a model file, or what `ase_nbody.labelling.reference` takes.
        output: the student's model file, *.safetensors.
        settings: how; temperatures, budget and size.
        command: that asked for it, kept in the file.
        say: is told how far it is, and a line of each round.
        stop: once it is filled in, the run ends.

    Raises:
        ValueError: there is no such system or teacher, or the folder is of another distillation.
        FileExistsError: the output is there already.
        UnstableStudentError: the dynamics of all students was stopped; nothing is written.
        InaccurateStudentError: the best student is too far from the teacher; nothing is written.
        SimulationStoppedError, LabellingStoppedError, TrainingStoppedError: a stop was asked for.
    """
    chosen = settings or DistillationSettings()
    folder = WorkingFolder(Path(output))
    system = one_system(structure)
    reference = read_teacher(teacher, chosen.options, chosen.device)
    if system.geometries:
        reference = reference.for_structure(system.geometries[0])
    origin = _origin(system, reference, chosen)
    state = folder.begun(origin, (chosen.rounds, chosen.minutes), force=chosen.force)
    say(f"teacher {reference.words}{_options_words(reference)}; files in {folder.path}")
    clock = Clock(earlier=state.seconds)
    distillation = Distillation(folder, system, reference, chosen, state, clock, say, stop or StopRequest())
    rounds = distillation.run()
    best = chosen_round(rounds, accept_worse=chosen.accept_worse)
    speed = _speed(folder, best, reference, chosen)
    student = Student(system, reference, chosen, rounds, best, speed)
    write_student(student, folder.student(best.number), folder.output, command)
    return DistillationReport(folder.output, folder.path, reference.words, tuple(rounds), best, speed)


def _options_words(teacher: Teacher) -> str:
    given = {name: value for name, value in teacher.options.items() if name != "device"}
    return f" with {', '.join(f'{name}={value}' for name, value in given.items())}" if given else ""


def _origin(system: System, teacher: Teacher, settings: DistillationSettings) -> dict[str, Any]:
    """What decides a distillation, as JSON values: another system, teacher or setting makes another."""
    digest = sha256(system.smiles.encode())
    for atoms in system.geometries:
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            digest.update(array.tobytes())
    return {
        "system": system.name,
        "geometry": digest.hexdigest(),
        "teacher": teacher.spec,
        "teacher_level": str(teacher.level),
        **settings.origin(),
    }


def _speed(folder: WorkingFolder, best: Round, teacher: Teacher, settings: DistillationSettings) -> Speed:
    """Both in dynamics of the structure that the student's own dynamics began with."""
    start = relaxed_minimum(folder.sample, settings.supercell_atoms)
    student = NBodyCalculator(folder.student(best.number), device=settings.device, dtype="float32", outside="ignore")
    milliseconds = [
        milliseconds_per_step(calculator, start, settings.temperatures[0], timestep([start]), _SPEED_SECONDS)
        for calculator in (student, teacher.fast_calculator())
    ]
    return Speed(len(start), *milliseconds)
