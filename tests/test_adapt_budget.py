"""The budget of an adaptation, on a clock that tests move: it holds, and what had too little of it is not ranked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from adaptation import dataset_of, start_potential, teacher_of

from ase_nbody.meta import closed_form
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.candidates import SCRATCH, candidates
from ase_nbody.meta.choice import TooFewStepsError, worth_more_time
from ase_nbody.meta.closed_form import SlowClosedFormError, with_linear_errors
from ase_nbody.meta.fitting import prepared
from ase_nbody.meta.held_out import Row
from ase_nbody.meta.settings import AdaptationSettings

N = 20  # structures: one fold of 4, and 4 blocks of the closed form


@dataclass
class Clock:
    """A machine on which reading the time takes so many seconds, and steps thus take them."""

    tick: float
    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += self.tick
        return self.seconds


def adapted(clock: Clock, minutes: float, **more: Any) -> tuple[Adaptation, list[str]]:
    start, lines = start_potential(), []
    settings = AdaptationSettings(**{"minutes": minutes, "batch_size": 4, **more})
    return adapt(start, dataset_of(teacher_of(start), N), settings, lines.append, clock), lines


def slow_blocks(monkeypatch: pytest.MonkeyPatch, clock: Clock, seconds: float) -> None:
    """Each block of the closed form takes so long; the first, which compiles, three times as long."""
    blocks = closed_form.blocks_of_errors

    def slow(*arguments: Any) -> Any:
        for number, block in enumerate(blocks(*arguments)):
            clock.seconds += seconds if number else 3 * seconds
            yield block

    monkeypatch.setattr(closed_form, "blocks_of_errors", slow)


def test_a_slow_closed_form_is_left_out_and_the_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.25)
    slow_blocks(monkeypatch, clock, 1.0)
    found, lines = adapted(clock, 0.5)
    (told,) = [line for line in lines if "left out" in line]
    assert told.startswith("readouts, closed form: left out; the closed form would take 7") and "has 6 s" in told
    assert "readout" not in [row.candidate.name for row in found.rows]
    assert found.seconds == pytest.approx(clock.seconds, abs=0.5)
    assert 24 < clock.seconds < 1.07 * 30


def test_a_closed_form_in_time_is_made_once_for_the_comparison_and_the_last_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(0.5)
    slow_blocks(monkeypatch, clock, 2.0)
    found, _ = adapted(clock, 1.0, method="readout")
    assert found.chosen.candidate.name == "readout"
    assert 12 < clock.seconds < 30  # 3 + 1 + 1 + 1 blocks of 2 s, and the training from scratch


def test_a_closed_form_that_is_asked_for_and_too_slow_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.01)
    slow_blocks(monkeypatch, clock, 30.0)
    with pytest.raises(TooFewStepsError, match=r"would take 360 s here, and has 42 s .* give --minutes 9, or another"):
        adapted(clock, 1.0, method="readout")


def test_the_first_block_alone_which_compiles_stops_nothing_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    start, clock = start_potential(), Clock(0.0)
    data = dataset_of(start, N)
    start.network.float()
    structures = prepared(data, start)
    slow_blocks(monkeypatch, clock, 1.0)
    assert len(with_linear_errors(structures, start, 6.5, clock).linear) == N
    clock.seconds = 0.0
    with pytest.raises(SlowClosedFormError):
        with_linear_errors(structures, start, 5.5, clock)
    assert clock.seconds == 4.0  # the second block told


def test_candidates_with_too_few_steps_are_not_ranked() -> None:
    """A dozen steps are not two passes over sixteen structures in pairs; all weights then get a time that is enough."""
    found, lines = adapted(Clock(1 / 3), 1.0, batch_size=2)
    few = [row.candidate.name for row in found.rows if not row.compared]
    assert few == ["radial", "low-rank", "all", "scratch"] and "too few steps to be compared" in "".join(lines)
    assert found.rows[-1].candidate.name == "all" and found.rows[-1].compared
    assert found.chosen.compared


def test_a_method_that_is_asked_for_with_no_time_is_refused_by_name() -> None:
    with pytest.raises(TooFewStepsError, match=r"all weights: so few steps .* 0.1 minutes .* --accept-worse"):
        adapted(Clock(2.0), 0.1, method="all")
    found, _ = adapted(Clock(2.0), 0.1, method="all", accept_worse=True)
    assert found.chosen.candidate.name == "all" and not found.chosen.compared


def test_what_could_not_be_compared_gets_the_time_only_where_nothing_could() -> None:
    known = {**candidates(start_potential()), "scratch": SCRATCH}
    report: Any = None
    none = np.zeros(0)
    few = {n: Row(known[n], report, 10.0, 0, 1.0, None, none, compared=False) for n in ("radial", "all", "scratch")}
    radial = Row(known["radial"], report, 20.0, 1, 1.0, None, none)
    assert worth_more_time([few["radial"], few["all"], few["scratch"]]) == [known["all"]]
    assert worth_more_time([radial, few["all"], few["scratch"]]) == [known["radial"]]
