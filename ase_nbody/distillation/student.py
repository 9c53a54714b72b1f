"""The student that is written: the best of all rounds, with a card that says whose student it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ase_nbody.distillation.refusals import LARGEST_ERROR, InaccurateStudentError, UnstableStudentError
from ase_nbody.distillation.rounds import Round, best_round
from ase_nbody.distillation.settings import DistillationSettings
from ase_nbody.distillation.speed import Speed
from ase_nbody.distillation.teacher import Teacher
from ase_nbody.labelling.sampling.system import System
from ase_nbody.model_file import load_model, save_model

OWN_DYNAMICS = "test on its own dynamics"
"""Name of the errors beside the teacher in a student's file."""


def chosen_round(rounds: Sequence[Round], *, accept_worse: bool) -> Round:
    """The best round, where its student may be written.

    Args:
        rounds: all of them.
        accept_worse: whatever its forces are.

    Raises:
        UnstableStudentError: the dynamics of every student was stopped.
        InaccurateStudentError: the forces of the best are too far from the teacher's.
    """
    best = best_round(rounds)
    if best is None:
        raise UnstableStudentError(
            f"the student's own dynamics was stopped in every round, in the last one since {rounds[-1].failure}. "
            "Nothing is written, and the labels are kept; give more --minutes, --rounds or --structures, a lower "
            "--temperature, or another --seed"
        )
    if best.relative_error > LARGEST_ERROR and not accept_worse:
        raise InaccurateStudentError(
            f"the student's forces are off by {best.error:.1f} meV/Å on its own dynamics, {best.relative_error:.0%} of "
            f"the teacher's mean force component; allowed are {LARGEST_ERROR:.0%}. Nothing is written, and the labels "
            "are kept; give more --minutes and --rounds to go on, or more --structures or a larger --preset with "
            "--force, or take it as it is with --accept-worse"
        )
    return best


@dataclass(frozen=True)
class Student:
    """What a student's file says of it.

    Attributes:
        system: what it is a student for.
        teacher: whose labels it learnt.
        settings: temperatures.
        rounds: all of them.
        best: the one whose network it is.
        speed: of both.
    """

    system: System
    teacher: Teacher
    settings: DistillationSettings
    rounds: Sequence[Round]
    best: Round
    speed: Speed

    @property
    def purpose(self) -> str:
        """In words."""
        kelvin = " and ".join(f"{temperature:g} K" for temperature in self.settings.temperatures)
        return f"{self.system.name} at {kelvin}, in place of its teacher {self.teacher.words}"

    def record(self) -> dict[str, Any]:
        """What the file keeps, as JSON values."""
        teacher, speed = self.teacher, self.speed
        return {
            "teacher": teacher.words,
            "reference": teacher.spec,
            "options": dict(teacher.options),
            "level_of_theory": {**vars(teacher.level), "settings": dict(teacher.level.settings)},
            "system": self.system.name,
            "temperatures": list(self.settings.temperatures),
            "relative_force_error": self.best.relative_error,
            "rounds": [row.model_dump(mode="json") for row in self.rounds],
            "chosen_round": self.best.number,
            "labels": self.rounds[-1].n_labels,
            "seconds": self.rounds[-1].seconds,
            "ms_per_step": {"atoms": speed.n_atoms, "student": speed.student, "teacher": speed.teacher},
        }


def write_student(student: Student, trained: Path, output: Path, command: str | None) -> None:
    """Write a student as a model file of its own.

    Args:
        student: what is said of it.
        trained: its file in the working folder.
        output: file to write; one that is there is replaced.
        command: that asked for it.
    """
    potential, information = load_model(trained, dtype=torch.float32)
    name = student.system.name
    written = information.model_copy(
        update={
            "name": output.stem,
            "method": f"student of {student.teacher.words}",
            "licence": student.teacher.licence,
            "purpose": student.purpose,
            "not_for": f"anything but {name} at up to these temperatures and small strains, with all of its atoms; and "
            "its teacher's errors are its own",
            "errors": {**information.errors, OWN_DYNAMICS: student.best.errors},
            "training": {**information.training, "command": command, "distillation": student.record()},
        }
    )
    save_model(output, potential, written, force=True)
