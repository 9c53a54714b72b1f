"""How far a run is, and what came of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ase_nbody.labelling.labelled_files import LabelledFiles
from ase_nbody.labelling.references import LevelOfTheory

_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d+(\.\d+)?(e[-+]?\d+)?(?![\w])", re.IGNORECASE)
_LONGEST = 160  # letters of a reason in a table


@dataclass(frozen=True)
class LabelProgress:
    """How far a run is.

    Attributes:
        total: structures in the input.
        resumed: of these, those done before the run was interrupted.
        done: with those.
        failures: of the done, those without a label.
        computed: structures done since this start, each once.
        seconds: since this start.
    """

    total: int
    resumed: int
    done: int
    failures: int
    computed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Structures a second since this start."""
        return self.computed / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """At the rate of this start; None before its first structure."""
        done = self.done - self.resumed
        return None if done == 0 else (self.total - self.done) * self.seconds / done


@dataclass(frozen=True)
class LabelReport:
    """What came of a run.

    Attributes:
        level: of theory.
        n_structures: in the input.
        n_labels: in the output.
        failures: how many structures have no label, by reason.
        n_compared: structures whose energies were compared with forces and stress.
        progress: at the end.
        dropped: names in the input that are not in the output: other labels, and what a file cannot hold.
        files: where things are.
    """

    level: LevelOfTheory
    n_structures: int
    n_labels: int
    failures: Mapping[str, int]
    n_compared: int
    progress: LabelProgress
    dropped: tuple[str, ...]
    files: LabelledFiles

    @property
    def n_failures(self) -> int:
        """Structures without a label."""
        return self.n_structures - self.n_labels


def counted_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """How often there is each reason, the most frequent first; reasons that differ in numbers only are one.

    >>> counted_reasons(["took 3.5 s", "took 12 s", "not finite: energy"])
    {'took … s': 2, 'not finite: energy': 1}
    """
    shown: dict[str, list[str]] = {}
    for reason in reasons:
        shown.setdefault(_NUMBER.sub("…", reason), []).append(reason)
    words = {(kind if len(set(all_)) > 1 else all_[0])[:_LONGEST]: len(all_) for kind, all_ in shown.items()}
    return dict(Counter(words).most_common())
