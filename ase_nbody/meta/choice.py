"""The choice among candidates of an adaptation by their held-out errors, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

from ase_nbody.meta.candidates import SCRATCH, START, AdaptationMethod
from ase_nbody.meta.held_out import Row
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.training.stopping import TrainingDivergedError

NEAR = 1.5
"""How much worse than the best a candidate that changes more may be in the comparison, to have more time too."""


class WorseModelError(ValueError):
    """An adaptation would be worse than what is there without it."""


class TooFewStepsError(ValueError):
    """A method was asked for that has no time to show anything."""


def worth_more_time(rows: Sequence[Row]) -> list[AdaptationMethod]:
    """Candidates that take steps: the best, those near it that change more, and scratch where it is better than that.

    Whatever changes more learns slower, so that it may lead in the end without leading after the short comparison. A
    closed form gains nothing from time. Where all had too few steps to be compared, it is the one that changes most.
    """
    trained = [row for row in rows if row.candidate.takes_steps and row.candidate is not SCRATCH]
    stepping = [row for row in trained if row.compared]
    if not stepping:
        return [row.candidate for row in trained[-1:]]
    leader = min(stepping, key=lambda row: row.score)
    larger = [row for row in stepping[stepping.index(leader) + 1 :] if row.score < NEAR * leader.score]
    scratch = [row for row in rows if row.candidate is SCRATCH and row.compared and row.score < leader.score]
    return [row.candidate for row in (leader, *larger[-1:], *scratch)]


def row_words(row: Row) -> str:
    """Errors of a row in words."""
    words = [
        f"{errors.kind.name} MAE {1000 * errors.mae:.{1 if errors.kind.per_atom else 2}f} {errors.unit}"
        for errors in row.errors
        if errors.mae is not None
    ]
    few = [] if row.compared else ["too few steps to be compared"]
    return ", ".join([*words, f"{row.seconds:.0f} s", *few])


def best_row(rows: Sequence[Row], among: Sequence[AdaptationMethod], settings: AdaptationSettings) -> Row:
    """What changes most, and longest, of the rows that may be taken and are not clearly worse than the best of them.

    Few held-out structures tell trainings apart by chance; on average more weights and more steps gain. Clearly worse
    is worse by more than the standard error of the difference. In the same way the choice falls on the start with new
    reference energies where that is not clearly worse than the best. What would be refused, see `refuse_worse`, is
    taken only where all would be.

    Args:
        rows: of all that was compared.
        among: candidates that may be taken, those that change more behind others.
        settings: of the adaptation.

    Raises:
        TooFewStepsError: none had steps enough to be compared, and no such is to be accepted.
        TrainingDivergedError: there is none.
    """
    known = [row for row in rows if row.candidate in among]
    compared = [row for row in known if row.compared]
    if known and not compared and not settings.accept_worse:
        raise TooFewStepsError(
            f"{known[-1].candidate.words}: so few steps in its part of {settings.minutes:g} minutes that its errors "
            "say nothing. Give more --minutes, or --steps; or take it nevertheless with --accept-worse"
        )
    known = compared or known
    if not known:
        raise TrainingDivergedError(
            f"{', '.join(candidate.words for candidate in among)}: diverged; lower --learning-rate, "
            "or leave out --method"
        )
    ceiling = min(row.score for row in _to_be_bettered(rows))
    good = [row for row in known if row.score <= ceiling] or known
    of_each = [[row for row in good if row.candidate is candidate] for candidate in among]
    longest = [max(_near_the_best(several), key=lambda row: row.steps) for several in of_each if several]
    near = _near_the_best(longest)
    return near[0] if near[0].candidate is START else near[-1]


def _to_be_bettered(rows: Sequence[Row]) -> list[Row]:
    """The start, and a training from scratch, the longer one."""
    scratch = [row for row in rows if row.candidate is SCRATCH and row.compared]
    return [rows[0], *scratch[-1:]]


def _near_the_best(rows: Sequence[Row]) -> list[Row]:
    """Those that are not clearly worse than the one with the lowest score, which is among them."""
    best = min(rows, key=lambda row: row.score)
    return [row for row in rows if not _clearly_worse(row, best)]


def _clearly_worse(row: Row, other: Row) -> bool:
    """Whether scores of the same structures are larger by more than the standard error of their mean difference."""
    differences = row.structure_scores - other.structure_scores
    if len(differences) < 2:
        return row.score > other.score
    return bool(differences.mean() > differences.std(ddof=1) / len(differences) ** 0.5)


def reason_of(rows: Sequence[Row], best: Row, settings: AdaptationSettings) -> str:
    """Why it was taken, one sentence."""
    if settings.method != "choose":
        return f"asked for; score {best.score:.1f} on held-out structures, the start has {rows[0].score:.1f}"
    others = [row for row in rows if row.compared and row.candidate not in (best.candidate, SCRATCH)]
    if not others:
        return f"the others had too few steps to be compared; score {best.score:.1f} on held-out structures"
    second = min(others, key=lambda row: row.score)
    if second.score < best.score:
        return (
            f"score {best.score:.1f} on held-out structures; {second.candidate.words} has {second.score:.1f}, which is "
            "no clear difference with so few of them"
        )
    return (
        f"lowest score on held-out structures, {best.score:.1f}; next is {second.candidate.words} with "
        f"{second.score:.1f}, the start has {rows[0].score:.1f}"
    )


def refuse_worse(rows: Sequence[Row], best: Row, settings: AdaptationSettings) -> None:
    """Refuse what is worse than the start or a training from scratch, unless it is to be accepted.

    Raises:
        WorseModelError: as said.
    """
    for other in _to_be_bettered(rows):
        if best.score > other.score and not settings.accept_worse:
            raise WorseModelError(
                f"{best.candidate.words} would be worse than {other.candidate.words}: held-out {row_words(best)}, "
                f"against {row_words(other)}. Give more --minutes or structures, another start, no --method, train "
                "from scratch (nbody train), or take it nevertheless with --accept-worse"
            )
