"""WorkingFolder: the files of a distillation beside its output, from which a stopped one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ase_nbody.distillation.rounds import Round
from ase_nbody.files import replaced
from ase_nbody.model_information import SUFFIX


class DistillationState(BaseModel):
    """How far a distillation is.

    Attributes:
        origin: what decides it, JSON values by name.
        overwrites: it was begun with leave to overwrite the output.
        budget: largest number of rounds, and minutes.
        seconds: spent in all starts together.
        round_minutes: of the training that is on; None where none is.
        rounds: that are done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: dict[str, Any]
    overwrites: bool
    budget: tuple[int, float]
    seconds: float = 0.0
    round_minutes: float | None = None
    rounds: tuple[Round, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether no round is to come."""
        return bool(self.rounds) and self.rounds[-1].last

    def with_budget(self, rounds: int, minutes: float) -> DistillationState:
        """The same with another budget: where it is larger, what was the last round was not."""
        done = self.rounds
        if done and (rounds > self.budget[0] or minutes > self.budget[1]):
            done = (*done[:-1], done[-1].model_copy(update={"last": False}))
        return self.model_copy(update={"budget": (rounds, minutes), "rounds": done})


class WorkingFolder:
    """Names of files: STEM.distill/ beside STEM.safetensors.

    Args:
        output: the student's model file.

    Raises:
        ValueError: the output does not end in .safetensors.
    """

    def __init__(self, output: Path) -> None:
        if output.suffix != SUFFIX:
            raise ValueError(f"the output is a model file and must end in {SUFFIX}, not '{output}'")
        self.output = output
        self.path = output.with_suffix(".distill")

    @property
    def sample(self) -> Path:
        """Structures around the start, without labels."""
        return self.path / "sample.xyz"

    @property
    def labelled_sample(self) -> Path:
        """The same with labels."""
        return self.path / "sample-labelled.xyz"

    @property
    def log(self) -> Path:
        """What the trainings say."""
        return self.path / "training.log"

    def train(self, number: int) -> Path:
        """Structures that the student of a round learns."""
        return self.path / f"train-{number}.xyz"

    def valid(self, number: int) -> Path:
        """Structures that choose its weights."""
        return self.path / f"valid-{number}.xyz"

    def student(self, number: int) -> Path:
        """The student of a round."""
        return self.path / f"student-{number}{SUFFIX}"

    def dynamics(self, number: int) -> Path:
        """Frames of its own dynamics."""
        return self.path / f"dynamics-{number}.xyz"

    def dynamics_end(self, number: int) -> Path:
        """Why that ended before its time, JSON."""
        return self.path / f"dynamics-{number}-end.json"

    def labelled_dynamics(self, number: int) -> Path:
        """The frames with labels of the teacher."""
        return self.path / f"dynamics-{number}-labelled.xyz"

    def begun(self, origin: Mapping[str, Any], budget: tuple[int, float], *, force: bool) -> DistillationState:
        """The state of the distillation that is there, or of a new one.

        Args:
            origin: what decides it, JSON values by name.
            budget: largest number of rounds, and minutes.
            force: start afresh.

        Raises:
            FileExistsError: the output, or something else in place of the folder, is there already.
            ValueError: the folder is of another distillation, or its state cannot be read.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is no folder, and one of this name is needed; choose another output")
        if force and self._state.exists():
            rmtree(self.path)
        new = DistillationState(origin=dict(origin), overwrites=force, budget=budget)
        state = self._read() if self._state.exists() else new
        if self.output.exists() and not state.overwrites:
            raise FileExistsError(
                f"{self.output} is there already; give another --output, or --force to start afresh and overwrite it"
            )
        now = json.loads(json.dumps(dict(origin)))
        differing = [f"{n} was {state.origin.get(n)!r}, now {now[n]!r}" for n in now if state.origin.get(n) != now[n]]
        if self._state.exists() and differing:
            raise ValueError(
                f"{self.path} is of another distillation: {'; '.join(differing)}. Give the same to go on with it, "
                "choose another --output, or start afresh with --force"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        state = state.with_budget(*budget)
        self.save(state)
        return state

    def save(self, state: DistillationState) -> None:
        """Write a state, whole or not at all."""
        with replaced(self._state) as temporary:
            temporary.write_text(state.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @property
    def _state(self) -> Path:
        return self.path / "state.json"

    def _read(self) -> DistillationState:
        try:
            return DistillationState.model_validate_json(self._state.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ValueError(f"{self._state} cannot be read ({error}); start afresh with --force") from None
