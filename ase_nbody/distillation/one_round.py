"""Distillation: the stages of all rounds, each skipped where its files are there already."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic

import numpy as np
from ase import Atoms
from rich.console import Console

from ase_nbody.data.reading import read_structures
from ase_nbody.devices import torch_device
from ase_nbody.distillation.growth import VALIDATION, Disagreement, disagreement, learnable, picked, validation_numbers
from ase_nbody.distillation.rounds import Round, is_last, training_minutes
from ase_nbody.distillation.settings import DistillationSettings
from ase_nbody.distillation.structures import relaxed_minimum, write_own_dynamics, write_sample
from ase_nbody.distillation.teacher import Teacher
from ase_nbody.distillation.working_folder import DistillationState, WorkingFolder
from ase_nbody.labelling.labelled_files import write_frames
from ase_nbody.labelling.labels import LabelSettings, label
from ase_nbody.labelling.sampling.system import System
from ase_nbody.stopping import StopRequest
from ase_nbody.training.budget import Clock
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings, training_settings

CHECKED = 60
"""Structures of the last check, after which nothing is learnt: the error of the forces is known to some per cent."""
FEWEST = 4
"""Labelled structures of the first sample: fewer are those of an atom or of a teacher that fails."""
SURPLUS = 2
"""Structures of the own dynamics that are labelled for each that is learnt; the smaller errors teach little."""
_CHECKPOINT_SECONDS = 20.0
_LOG_WIDTH = 160


@dataclass
class Distillation:
    """A distillation that is on.

    Attributes:
        folder: its files.
        system: what the student is for.
        teacher: gives labels.
        settings: how.
        state: how far it is.
        clock: time spent, counted on from earlier starts.
        say: takes a line on the progress.
        stop: once it is filled in, stages end.
    """

    folder: WorkingFolder
    system: System
    teacher: Teacher
    settings: DistillationSettings
    state: DistillationState
    clock: Clock
    say: Callable[[str], None]
    stop: StopRequest

    def run(self) -> Sequence[Round]:
        """Rounds until one was the last.

        Raises:
            ValueError: the system cannot be sampled, or nothing labelled.
            SimulationStoppedError, LabellingStoppedError, TrainingStoppedError: a stop was asked for.
        """
        try:
            if not self.folder.train(0).exists():
                self._first_structures()
            while not self.state.is_done:
                self._round(len(self.state.rounds))
        finally:
            self._keep(seconds=self.clock.seconds())
        return self.state.rounds

    def _keep(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)
        self.folder.save(self.state)

    def _first_structures(self) -> None:
        """Sample and label what is learnt before the student has dynamics of its own."""
        if not self.folder.sample.exists():
            self.say(f"{self.settings.first_structures} structures are sampled with the teacher")
            write_sample(self.system, self.teacher, self.settings, self.folder.sample, self.stop)
        frames = self._labelled(self.folder.sample, self.folder.labelled_sample)
        if len(frames) < FEWEST:
            raise ValueError(
                f"{self.system.name} gives {len(frames)} structures that the teacher labels, and a student needs "
                f"{FEWEST}; look at {self.folder.path}, and give more --structures with --force"
            )
        aside = validation_numbers(len(frames), np.random.default_rng([self.settings.seed, 0]))
        write_frames([frames[n] for n in aside], self.folder.valid(0), {})
        write_frames([f for n, f in enumerate(frames) if n not in aside], self.folder.train(0), {})

    def _round(self, number: int) -> None:
        """Train a student, and see how far it is from the teacher on its own dynamics."""
        if not self.folder.train(number).exists():
            self._grow(number)
        left = inf if self.settings.epochs else 60.0 * self.settings.minutes - self.clock.seconds()
        last = is_last(self.state.rounds, self.settings.rounds, self.settings.minutes, left)
        if self.state.round_minutes is None and not self.settings.epochs:
            minutes = training_minutes(self.state.rounds, self.settings.rounds, self.settings.minutes, left)
            self._keep(round_minutes=minutes, seconds=self.clock.seconds())
        n_train = len(read_structures(self.folder.train(number)))
        self.say(f"round {number + 1}: training on {n_train} structures{self._time_words()}")
        self._train(number)
        begin = monotonic()
        frames, compared = self._check(number, last)
        done = Round(
            number=number,
            n_train=n_train,
            n_labels=len(frames) + (self.state.rounds[-1].n_labels if number else self._n_first()),
            seconds=self.clock.seconds(),
            check_seconds=monotonic() - begin,
            errors=compared.report.to_json_dict(),
            mean_force=1000.0 * compared.mean_force,
            n_outside=len(compared.outside),
            failure="; ".join(json.loads(self.folder.dynamics_end(number).read_text(encoding="utf-8"))),
            last=last,
        )
        self._keep(rounds=(*self.state.rounds, done), round_minutes=None, seconds=done.seconds)
        self.say(str(done))

    def _time_words(self) -> str:
        if self.settings.epochs:
            return f", {self.settings.epochs} epochs"
        return f" for {self.state.round_minutes:.1f} min"

    def _n_first(self) -> int:
        return len(read_structures(self.folder.labelled_sample))

    def _train(self, number: int) -> None:
        """Train the student of a round, on from that of the round before."""
        output = self.folder.student(number)
        if output.exists():
            return
        settings = self.settings
        begin: dict[str, object] = {"start": str(self.folder.student(number - 1))}
        if not number:
            begin = {"preset": settings.preset, "model": settings.model}
        budget = {"minutes": self.state.round_minutes, "epochs": settings.epochs}
        files = {"data": self.folder.train(number), "valid": self.folder.valid(number), "output": output}
        common = {"seed": settings.seed, "device": settings.device, "checkpoint_seconds": _CHECKPOINT_SECONDS}
        training: TrainingSettings = training_settings({**begin, **budget, **files, **common})
        with self.folder.log.open("a", encoding="utf-8") as log:
            train(training, console=Console(file=log, width=_LOG_WIDTH), stop=self.stop)

    def _check(self, number: int, last: bool) -> tuple[list[Atoms], Disagreement]:
        """Labelled structures of a student's own dynamics, and how far it is from them."""
        student, frames = self.folder.student(number), self.folder.dynamics(number)
        if not frames.exists():
            wanted = int(SURPLUS * self.settings.grown_structures / (1 - VALIDATION))
            n_frames = CHECKED if last or not wanted else wanted
            start = relaxed_minimum(self.folder.sample, self.settings.supercell_atoms)
            files = frames, self.folder.dynamics_end(number)
            write_own_dynamics(student, start, self.settings, number, n_frames, files, self.stop)
        labelled = self._labelled(frames, self.folder.labelled_dynamics(number))
        return labelled, disagreement(student, labelled, self.settings.device)

    def _grow(self, number: int) -> None:
        """Add to what was learnt before the structures of the last own dynamics with the largest disagreement."""
        before = number - 1
        frames = read_structures(self.folder.labelled_dynamics(before))
        compared = disagreement(self.folder.student(before), frames, self.settings.device)
        known = read_structures(self.folder.labelled_sample)
        good = learnable(frames, min(atoms.get_potential_energy() / len(atoms) for atoms in known))
        generator = np.random.default_rng([self.settings.seed, number])
        aside = [good[n] for n in validation_numbers(len(good), generator)]
        others = [n for n in good if n not in aside]
        chosen = picked(compared, others, self.settings.grown_structures)
        for numbers, file in ((aside, self.folder.valid), (chosen, self.folder.train)):  # train last: then all is there
            write_frames([*read_structures(file(before)), *(frames[n] for n in numbers)], file(number), {})

    def _labelled(self, structures: Path, output: Path) -> list[Atoms]:
        """Structures of a file with labels of the teacher; those that it fails on are left out.

        Raises:
            ValueError: it fails on all.
        """
        if not output.exists():
            on_gpu = self.teacher.is_model and torch_device(self.settings.device).type == "cuda"
            labelling = LabelSettings(
                options=self.teacher.options, processes=1 if on_gpu else self.settings.processes, force=True
            )
            report = label(read_structures(structures), self.teacher.spec, output, settings=labelling, stop=self.stop)
            if not report.n_labels:
                reasons = "; ".join(report.failures)
                raise ValueError(f"the teacher {self.teacher.words} labels none of {structures}: {reasons}")
        return read_structures(output)
