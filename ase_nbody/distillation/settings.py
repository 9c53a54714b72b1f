"""DistillationSettings: what decides how a student is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ase_nbody.labelling.labels import available_cores

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DistillationSettings(BaseModel):
    """How a student is made of a teacher.

    Attributes:
        options: of the teacher, by name.
        temperatures: of all dynamics, K.
        minutes: budget on the wall clock for everything.
        epochs: passes over the data in each round, in place of the clock.
        structures: that the student learns, at most; a quarter of them are sampled with the teacher, the others come
            from the student's own dynamics.
        rounds: of training and checking, at most.
        picoseconds: the student's own dynamics in each round and at each temperature.
        supercell_atoms: crystals are repeated until they are 8 angstrom wide or would have more atoms than this.
        preset: size of the student.
        model: settings of its architecture in place of the preset's.
        seed: of all numbers.
        device: of teacher and student, where the teacher is a model.
        processes: that label, one thread each.
        accept_worse: write a student also where its forces are too far from the teacher's.
        force: start afresh and overwrite what is there.

    Raises:
        ValueError: a number is out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: Mapping[str, str] = Field(default_factory=dict)
    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1)] = (300.0,)
    minutes: Positive = 30.0
    epochs: int | None = Field(default=None, ge=1)
    structures: int = Field(default=1000, ge=20)
    rounds: int = Field(default=4, ge=1)
    picoseconds: Positive = 5.0
    supercell_atoms: int = Field(default=64, ge=1)
    preset: Literal["small", "medium", "large"] = "small"
    model: Mapping[str, Any] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: int = Field(default_factory=available_cores, ge=1)
    accept_worse: bool = False
    force: bool = False

    @property
    def first_structures(self) -> int:
        """Structures that are sampled with the teacher."""
        return self.structures if self.rounds == 1 else self.structures // 4

    @property
    def grown_structures(self) -> int:
        """Structures that each further round may add."""
        return 0 if self.rounds == 1 else (self.structures - self.first_structures) // (self.rounds - 1)

    def origin(self) -> dict[str, Any]:
        """What must stay the same when a run goes on, as JSON values: all but the budget and how it is computed."""
        free = {"minutes", "rounds", "device", "processes", "accept_worse", "force"}
        return self.model_dump(mode="json", exclude=free)
