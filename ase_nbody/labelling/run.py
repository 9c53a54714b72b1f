"""One start of a run: what is done, what is left, and how labels are received."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ase_nbody.labelling.checks import Checks, InconsistentLabelsError
from ase_nbody.labelling.inputs import Inputs
from ase_nbody.labelling.journal import Journal, JournalEntry
from ase_nbody.labelling.judgement import judged
from ase_nbody.labelling.references import Failure, Label
from ase_nbody.labelling.report import LabelProgress
from ase_nbody.labelling.tasks import AT_LEAST, LabelTask

Observer = Callable[[LabelProgress], None]


class Run:
    """Structures whose labels come into a journal.

    Args:
        inputs: the structures.
        journal: of this run.
        checks: what labels must satisfy.
        observer: is told how far it is.

    Raises:
        InconsistentLabelsError: the energies that the journal has seen do not fit the forces.
    """

    def __init__(self, inputs: Inputs, journal: Journal, checks: Checks, observer: Observer) -> None:
        self._inputs, self._journal, self._checks, self._observer = inputs, journal, checks, observer
        self._looks = journal.consistency()
        self._start = time.perf_counter()
        done = journal.hashes()
        self.todo = sorted(n for key, n in inputs.distinct.items() if key not in done)
        self._resumed = self._done = inputs.count(done)
        self._failed, self._computed = len(inputs.problems), 0
        observer(self.progress)
        self._check_looks()

    @property
    def progress(self) -> LabelProgress:
        """How far it is."""
        return LabelProgress(
            total=len(self._inputs.structures),
            resumed=self._resumed,
            done=self._done + len(self._inputs.problems),
            failures=self._failed,
            computed=self._computed,
            seconds=time.perf_counter() - self._start,
        )

    @property
    def n_compared(self) -> int:
        """Structures whose energies were compared with forces and stress."""
        return len(self._looks)

    def receive(self, task: LabelTask, entries: Sequence[JournalEntry]) -> None:
        """Write what came of a task to the journal, and see whether it is what it should be.

        Raises:
            InconsistentLabelsError: most energies that were compared with forces do not fit them.
            ValueError: a spread is to be checked, and the reference gives none.
        """
        keys = [self._inputs.hashes[n] for n in task.numbers]
        self._journal.add(zip(keys, entries, strict=True))
        for n, key, entry in zip(task.numbers, keys, entries, strict=True):
            count = self._inputs.count([key])
            self._done += count
            self._computed += 1
            self._failed += count * isinstance(self.outcome(n, entry), Failure)
            if entry.consistency is not None:
                self._looks.append(entry.consistency)
        self._observer(self.progress)
        if task.checks is not None:
            self._check_looks()

    def outcome(self, number: int, entry: JournalEntry | None = None) -> Label | Failure:
        """Label of a structure that is done, or why it has none.

        Args:
            number: of the structure.
            entry: of the journal; looked up if not given.
        """
        if number in self._inputs.problems:
            return Failure(self._inputs.problems[number])
        entry = self._journal.entry(self._inputs.hashes[number]) if entry is None else entry
        if isinstance(entry.outcome, Failure):
            return entry.outcome
        if self._checks.consistency and entry.consistency:
            return Failure(f"energy and forces are not consistent: {entry.consistency}")
        return judged(self._inputs.structures[number], entry.outcome, self._checks)

    def _check_looks(self) -> None:
        """Stop where most energies that were looked at are wrong; a single one may be a jump between two states."""
        wrong = [words for words in self._looks if words]
        enough = len(self._looks) >= min(AT_LEAST, len(self._inputs.distinct))
        if self._checks.consistency and enough and 2 * len(wrong) > len(self._looks):
            raise InconsistentLabelsError(
                f"energies and forces of this reference are not consistent in {len(wrong)} of {len(self._looks)} "
                f"structures; of the first {wrong[0]}. Look at its units and settings. What was computed is kept, and "
                "goes on with --no-consistency (Checks(consistency=False))"
            )
