"""What processes compute: labels of some structures, and whether energies fit forces where that is looked at."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from ase import Atoms

from ase_nbody.labelling.checks import Checks, inconsistency
from ase_nbody.labelling.journal import JournalEntry, seen_by_reference
from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.pool import ProcessFailure, outcomes
from ase_nbody.labelling.references import Failure, Label, Reference
from ase_nbody.stopping import StopRequest

# Energies and forces are compared for one structure in a thousand and at least five; with the label that is five
# calculations: two for the forces, two for the stress.
ONE_IN, AT_LEAST, _CALCULATIONS = 1000, 5, 5


@dataclass(frozen=True)
class LabelTask:
    """Structures that are labelled together.

    Attributes:
        numbers: of the structures in the input.
        structures: as the reference is given them.
        checks: with which energies are compared with forces; None: they are not.
    """

    numbers: tuple[int, ...]
    structures: tuple[Atoms, ...]
    checks: Checks | None = None

    @property
    def calculations(self) -> int:
        """How many it takes at most."""
        return len(self.structures) * (1 if self.checks is None else _CALCULATIONS)

    def singles(self) -> list[LabelTask]:
        """One task for each structure."""
        return [LabelTask((n,), (a,), self.checks) for n, a in zip(self.numbers, self.structures, strict=True)]


class ReferenceCall:
    """A function of tasks that makes its reference in the process that calls it: calculators cannot be pickled.

    Args:
        spec: name of the reference.
        options: of the reference.
    """

    def __init__(self, spec: str, options: Mapping[str, str]) -> None:
        self.spec, self.options = spec, tuple(sorted(options.items()))

    def prepare(self) -> None:
        """Make the reference, once for all tasks of a process."""
        _reference(self.spec, self.options)

    def __call__(self, task: LabelTask) -> list[JournalEntry]:
        """What the journal is to hold of each structure."""
        chosen = _reference(self.spec, self.options)
        labels = chosen.label(task.structures)
        return [JournalEntry(x, _looked_at(a, x, chosen, task)) for a, x in zip(task.structures, labels, strict=True)]


def tasks_of(
    structures: Sequence[Atoms], numbers: Sequence[int], batch_size: int, checks: Checks
) -> Iterator[LabelTask]:
    """Tasks for some structures: first those that are looked at twice, spread over all, then the others in order.

    Args:
        structures: of the input.
        numbers: of those that have no label yet.
        batch_size: structures of a task.
        checks: what is checked.
    """
    count = min(max(AT_LEAST, len(numbers) // ONE_IN), len(numbers)) if checks.consistency else 0
    sample = [numbers[i * len(numbers) // count] for i in range(count)]
    for n in sample:
        yield LabelTask((n,), (seen_by_reference(structures[n]),), checks)
    rest = sorted(set(numbers) - set(sample))
    for start in range(0, len(rest), batch_size):
        batch = tuple(rest[start : start + batch_size])
        yield LabelTask(batch, tuple(seen_by_reference(structures[n]) for n in batch))


def computed(
    tasks: Iterable[LabelTask], call: ReferenceCall, *, processes: int, time_limit: float | None, stop: StopRequest
) -> Generator[tuple[LabelTask, list[JournalEntry]]]:
    """Tasks with what came of them, in no order; those of several structures that fail are tried one by one at the end.

    Args:
        tasks: read lazily.
        call: computes them.
        processes: how many at most.
        time_limit: for a structure, seconds.
        stop: ends it early.

    Raises:
        WorkerStartError: the reference cannot be made in a process.
    """

    def limit(task: LabelTask) -> float:
        return (time_limit or math.inf) * task.calculations

    while True:
        given: dict[int, LabelTask] = {}
        again: list[LabelTask] = []
        results = outcomes(
            call, _noted(tasks, given),
            processes=processes, time_limit=limit, initializer=call.prepare, stop=stop,
        )  # fmt: skip
        with closing(results):
            for number, outcome in results:
                task = given.pop(number)
                if not isinstance(outcome, ProcessFailure):
                    yield task, outcome
                elif len(task.numbers) == 1:
                    yield task, [JournalEntry(Failure(outcome.reason))]
                else:
                    again += task.singles()
        if not again:
            return
        tasks = again


def _noted(tasks: Iterable[LabelTask], given: dict[int, LabelTask]) -> Iterator[LabelTask]:
    for number, task in enumerate(tasks):
        given[number] = task
        yield task


def _looked_at(atoms: Atoms, outcome: object, chosen: Reference, task: LabelTask) -> str | None:
    if task.checks is None or not isinstance(outcome, Label):
        return None
    return inconsistency(atoms, outcome, chosen, task.checks)


@cache
def _reference(spec: str, options: tuple[tuple[str, str], ...]) -> Reference:
    return reference(spec, dict(options))
