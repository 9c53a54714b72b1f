"""Parts of an adaptation: what moves and what does not, ranks, symmetry, folds, reference energies, and the choice."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from adaptation import crystals_of, dataset_of, forces_of, frames_of, start_potential, teacher_of
from ase import Atoms
from ase.build import molecule
from pair_term import LennardJones, LennardJonesSettings

from ase_nbody import NBodyCalculator
from ase_nbody.data import labelled_dataset, samples
from ase_nbody.data.dataset import LabelWarning
from ase_nbody.meta.adapt import _Search, adapt
from ase_nbody.meta.candidates import SCRATCH, AdaptationMethod, AdaptationTask, candidates
from ase_nbody.meta.choice import WorseModelError, best_row, reason_of, worth_more_time
from ase_nbody.meta.closed_form import with_linear_errors
from ase_nbody.meta.fitting import Fit, prepared
from ase_nbody.meta.groups import only_trained, parameter_groups
from ase_nbody.meta.held_out import Row, common_steps, folds, score_of
from ase_nbody.meta.optimizers import LowRank, TowardsStart, of_rank
from ase_nbody.meta.references import with_reference_energies
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.training.budget import StepBudget

NONE = np.zeros(0)


def silent(words: str) -> None:
    """Nothing is printed."""


def fitted(name: str, **more: Any) -> tuple[Any, Any]:
    """A small start in float32, and what a candidate makes of it in ten steps."""
    start = start_potential()
    data = dataset_of(teacher_of(start), 6)
    start.network.float()
    settings = AdaptationSettings(**more)
    structures = with_linear_errors(prepared(data, start), start, math.inf, time.monotonic)
    fit = candidates(start)[name].fitted(AdaptationTask(start, structures, None, StepBudget(10), settings))
    return start, fit


@pytest.mark.parametrize(("name", "group"), [("readout",) * 2, ("radial",) * 2, ("low-rank", "mixing"), ("all",) * 2])
def test_only_the_parameters_of_a_candidate_move(name: str, group: str) -> None:
    start, fit = fitted(name)
    after = dict(fit.referenced.potential.network.named_parameters())
    moved = {name for name, before in start.network.named_parameters() if not torch.equal(before, after[name])}
    expected = set(parameter_groups(start.network)[group])
    idle = {name for name in expected if name.startswith("gates.1.own")}  # the last level's states are not used
    assert moved == expected - idle and len(idle) <= 2


def test_groups_are_all_parameters_once() -> None:
    network = start_potential().network
    groups = parameter_groups(network)
    assert set(groups["all"]) == {name for name, _ in network.named_parameters()}
    assert len({*groups["readout"], *groups["radial"], *groups["mixing"]}) == sum(
        len(groups[name]) for name in ("readout", "radial", "mixing")
    )
    with only_trained(network, groups["readout"]):
        assert {name for name, p in network.named_parameters() if p.requires_grad} == set(groups["readout"])
    assert all(p.requires_grad for p in network.parameters())
    with pytest.raises(ValueError, match="no parameters nothing"), only_trained(network, ["nothing"]):
        pass


@pytest.mark.parametrize("rank", [1, 3])
def test_updates_have_the_rank(rank: int) -> None:
    start, fit = fitted("low-rank", rank=rank, learning_rate=0.05, decay=0.0)
    pairs = zip(start.network.mixing_matrices(), fit.referenced.potential.network.mixing_matrices(), strict=True)
    ranks = {int(torch.linalg.matrix_rank((after - before).detach().double(), rtol=1e-3)) for before, after in pairs}
    assert max(ranks) == rank


def test_a_low_rank_step_is_that_of_autograd_by_the_factors() -> None:
    matrix, data = torch.nn.Parameter(torch.randn(6, 4, dtype=torch.float64)), torch.randn(5, 6, dtype=torch.float64)
    start = matrix.detach().clone()
    adapters = LowRank([matrix], 2, 0.1, 0.5, generator=torch.Generator().manual_seed(3))
    a, b = (factor.clone().requires_grad_() for factor in adapters._factors[0])
    inner = torch.optim.AdamW([a, b], lr=0.1, weight_decay=0.5)
    assert (start + a @ b).equal(start)
    for _ in range(3):
        for values, optimizer in ((matrix, adapters), (start + a @ b, inner)):
            optimizer.zero_grad()
            (data @ values).tanh().square().sum().backward()
            optimizer.step()
        torch.testing.assert_close(matrix.detach(), (start + a @ b).detach(), rtol=0, atol=1e-12)


def test_a_cut_to_a_rank_is_the_nearest() -> None:
    start = torch.randn(6, 5, dtype=torch.float64)
    update = torch.randn(6, 2, dtype=torch.float64) @ torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(of_rank([start + update], [start], 2)[0], start + update)
    singular = torch.linalg.svdvals(update)
    (cut,) = of_rank([start + update], [start], 1)
    assert (cut - start - update).norm().item() == pytest.approx(singular[1].item())


def test_the_decay_goes_towards_the_start() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    decay = TowardsStart([parameter], 0.5, 0.4)
    with torch.no_grad():
        parameter += 1.0
    decay.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([1.8, 2.8]))


def test_a_stronger_decay_stays_nearer() -> None:
    distances = []
    for decay in (0.0, 30.0):
        start, fit = fitted("all", decay=decay)
        pairs = zip(start.network.parameters(), fit.referenced.potential.network.parameters(), strict=True)
        distances.append(sum(float((a - b).square().sum().detach()) for a, b in pairs))
    assert distances[1] < 0.8 * distances[0]


@pytest.mark.parametrize("name", ["low-rank", "readout"])
def test_an_adapted_potential_is_equivariant(name: str) -> None:
    own = fitted(name)[1].referenced.potential
    own.network.double()
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=9)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Atoms(atoms.numbers, atoms.positions @ rotation.T)
    expected = forces_of(own, [atoms]) @ torch.from_numpy(rotation.T)
    torch.testing.assert_close(forces_of(own, [turned]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "number", "held"), [(50, 1, 10), (10, 3, 2), (5, 3, 1), (2, 2, 1)])
def test_folds_are_disjoint(n: int, number: int, held: int) -> None:
    parts = folds([Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(n)], AdaptationSettings())
    assert len(parts) == number and {len(part.held_out) for part in parts} == {held}
    assert len({i for part in parts for i in part.held_out}) == number * held
    assert all(sorted(part.learnt + part.held_out) == list(range(n)) for part in parts)


def test_reference_energies_take_up_the_shift_of_one_composition() -> None:
    start = start_potential()
    teacher = teacher_of(start, readouts=1.0, others=0.0)
    data = dataset_of(teacher, 4)
    found = with_reference_energies(start, data, samples(data, start.cutoff))
    shift = {e: found.potential.reference_energies[e] - start.reference_energies[e] for e in start.elements}
    assert 6 * shift["H"] + 2 * shift["C"] + shift["O"] == pytest.approx(-27.0, abs=1e-6)
    assert found.undetermined == ("H", "C", "O") and "in the proportions of the start" in found.source


def test_reference_energies_of_several_compositions_are_found() -> None:
    start = start_potential()
    teacher = teacher_of(start, readouts=1.0, others=0.0)
    frames = [*frames_of(teacher, 1), *frames_of(teacher, 1, "H2O"), *frames_of(teacher, 1, "CH4")]
    data = labelled_dataset([*frames, *crystals_of(teacher, 1)])
    found = with_reference_energies(start, data, samples(data, start.cutoff))
    assert found.potential.reference_energies == pytest.approx(teacher.reference_energies, abs=1e-6)
    assert found.undetermined == ()


def test_elements_without_structures_keep_their_energies() -> None:
    start = start_potential((*("H", "C", "O"), "N"))
    data = dataset_of(teacher_of(start), 3)
    found = with_reference_energies(start, data, samples(data, start.cutoff))
    assert found.potential.reference_energies["N"] == start.reference_energies["N"]
    assert "N: kept from the start" in found.source


def test_another_level_is_learnt_better_than_from_scratch_and_the_start_stays() -> None:
    start = start_potential()
    before = {name: parameter.clone() for name, parameter in start.network.named_parameters()}
    lines: list[str] = []
    settings = AdaptationSettings(steps=60)
    found = adapt(start, dataset_of(teacher_of(start), 20), settings, lines.append)
    scores = {row.candidate.name: row.score for row in found.rows}
    assert list(scores) == ["start", "readout", "radial", "low-rank", "all", "scratch"]
    assert found.chosen.score == min(scores.values()) < 0.5 * min(scores["start"], scores["scratch"])
    assert found.n_held_out == (4, 1)
    unseen = dataset_of(teacher_of(start), 5, seed=90)
    wanted = torch.from_numpy(np.concatenate([labels.forces for labels in unseen.labels]))
    error = (forces_of(found.referenced.potential, unseen.structures).double() - wanted).abs().mean()
    assert error < 0.5 * (forces_of(start, unseen.structures) - wanted).abs().mean()
    assert all(torch.equal(parameter, before[name]) for name, parameter in start.network.named_parameters())
    assert [line.partition(":")[0] for line in lines][-1] == "chosen"


def test_a_model_that_would_be_worse_is_refused() -> None:
    """Forces of the start are a hundred times too large, and other reference energies do not mend them."""
    data = dataset_of(start_potential(), 6)
    start = start_potential()
    with torch.no_grad():
        for readout in start.network.linear_readouts():
            readout *= 100.0
    values: dict[str, Any] = {"steps": 2, "method": "start"}
    with pytest.raises(WorseModelError, match=r"the start, .* would be worse than from random weights") as error:
        adapt(start, data, AdaptationSettings(**values), silent)
    assert "--accept-worse" in str(error.value)
    taken = adapt(start, data, AdaptationSettings(**values, accept_worse=True), silent)
    assert taken.chosen.candidate.name == "start" and taken.steps == 0


def test_no_step_is_taken_where_none_was_better_on_held_out_structures() -> None:
    """The start is right already: steps can only spoil it, which held-out structures show."""
    start = start_potential()
    settings = AdaptationSettings(steps=2, method="radial", learning_rate=0.05, final_learning_rate=1.0)
    found = adapt(start, dataset_of(start, 6), settings, silent)
    assert found.chosen.steps == found.steps == 0
    assert found.chosen.score == found.rows[0].score
    after = found.referenced.potential.network.parameters()
    assert all(torch.equal(a, b.float()) for a, b in zip(after, start.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ("start 40, readout 20, radial 30, low-rank 29, all 31, scratch 70", "low-rank, all"),
        ("start 40, readout 20, radial 30, low-rank 31, all 32, scratch 70", "radial, all"),
        ("start 40, readout 20, radial 30, low-rank 31, all 46, scratch 70", "radial, low-rank"),
        ("start 40, readout 20, radial 30, low-rank 46, all 46, scratch 70", "radial"),
        ("start 90, all 80, scratch 70", "all, scratch"),
        ("start 90, readout 30, scratch 70", ""),
    ],
)
def test_more_time_is_for_the_best_and_for_what_changes_more_and_is_near(scores: str, expected: str) -> None:
    known = {**candidates(start_potential()), "scratch": SCRATCH}
    pairs = [words.split() for words in scores.split(", ")]
    rows = [Row(known[name], None, float(score), 1, 1.0, None, NONE) for name, score in pairs]  # type: ignore[arg-type]
    assert ", ".join(candidate.name for candidate in worth_more_time(rows)) == expected


def row_of(candidate: AdaptationMethod, scores: list[float], steps: int) -> Row:
    """A row with the score of each held-out structure."""
    return Row(candidate, None, float(np.mean(scores)), steps, 1.0, None, np.array(scores))  # type: ignore[arg-type]


def test_scores_of_a_training_are_those_that_candidates_are_compared_by() -> None:
    start = start_potential()
    data = dataset_of(teacher_of(start), 8)
    start.network.float()
    structures, settings = prepared(data, start), AdaptationSettings(energy_weight=0.0)
    held_out = structures.subset([6, 7])
    task = AdaptationTask(start, structures.subset(range(6)), held_out, StepBudget(6), settings)
    fit = candidates(start)["all"].fitted(task)
    steps, scores = zip(*fit.steps.scores, strict=True)
    assert steps[0] == 0 and scores[0] == pytest.approx(score_of(start, held_out, settings), rel=1e-4)
    assert min(scores) == pytest.approx(score_of(fit.referenced.potential, held_out, settings), rel=1e-4)
    assert fit.steps.kept == steps[scores.index(min(scores))] > 0


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([[(0, 3.0), (5, 1.0), (9, 2.0)]], (5, 0.0)),
        ([[(0, 4.0), (10, 1.0)], [(0, 4.0), (10, 3.0), (20, 0.5)]], (10, 1.25)),  # nobody knows the first after ten
        ([[(0, 2.0), (30, 5.0)], [(0, 2.0), (10, 5.0), (30, 5.0)], [(0, 3.0), (10, 3.0), (30, 0.0)]], (0, 1.0)),
    ],
)
def test_the_steps_are_those_that_are_best_for_all_folds_together(
    curves: list[list[tuple[int, float]]], expected: tuple[int, float]
) -> None:
    assert common_steps(curves) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("short", "long", "other", "expected"),
    [
        ([10, 20, 30, 40], [9, 19, 29, 39], 60, 900),
        ([10, 20, 30, 40], [12, 19, 32, 39], 60, 900),  # 0.5 worse, and this is known to 0.9
        ([10, 20, 30, 40], [11, 21, 31, 42], 60, 100),  # worse on each
        ([10, 20, 30, 40], [10, 22, 30, 42], 60, 100),  # 1 worse, and this is known to 0.6
        ([10, 20, 30, 40], [11, 21, 31, 42], 24.9, 100),  # no clear difference to one that changes less
        ([10, 20, 30, 40], [9, 19, 29, 39], 23.9, 900),
        ([10, 20, 30, 40], [9, 19, 29, 39], 5.0, 0),  # clearly better
        ([10, 20, 30, 40], [18, 15, 36, 38], 24.0, 100),  # 26.75 would be refused: from scratch it is 26.5
        ([10, 20, 30, 47], [10, 20, 30, 46.5], 24.0, 0),  # both would
    ],
)
def test_what_changes_most_and_longest_is_taken_unless_something_is_clearly_better(
    short: list[float], long: list[float], other: float, expected: int
) -> None:
    def row(name: str, scores: list[float], steps: int) -> Row:
        return row_of(known[name], scores, steps)

    known = candidates(start_potential())
    rows = [row("start", [90.0] * 4, 0), row("readout", [other] * 4, 0), row("all", short, 100), row("all", long, 900)]
    rows.append(row_of(SCRATCH, [26.5] * 4, 900))
    assert best_row(rows, list(known.values()), AdaptationSettings()).steps == expected


@pytest.mark.parametrize(
    ("before", "after", "method", "expected"),
    [
        ([10, 20, 30, 40], [8, 19, 27, 39], "choose", "all"),
        ([10, 20, 30, 40], [8, 21, 28, 41], "choose", "start"),  # 0.5 better, and this is known to 0.9
        ([10, 20, 30, 40], [8, 21, 28, 41], "all", "all"),
        ([10, 20, 30, 40], [11, 21, 31, 41], "choose", "start"),
        ([10], [9], "choose", "all"),
    ],
)
def test_the_start_stays_where_nothing_is_clearly_better(
    before: list[float], after: list[float], method: Any, expected: str
) -> None:
    known, settings = candidates(start_potential()), AdaptationSettings(method=method)
    rows = [row_of(known["start"], before, 0), row_of(known["all"], after, 100)]
    among = list(known.values()) if method == "choose" else [known[method]]
    best = best_row(rows, among, settings)
    assert best.candidate.name == expected
    if method == "choose":
        clear = "no clear difference" not in reason_of(rows, best, settings)
        assert clear == (best.score == min(row.score for row in rows))


@pytest.mark.parametrize(("name", "rate"), [("all", 0.002), ("radial", 0.002), ("low-rank", 0.01)])
def test_a_candidate_has_its_own_learning_rate_unless_one_is_given(name: str, rate: float) -> None:
    _, own = fitted(name)
    for given, same in ((rate, True), (2 * rate, False)):
        _, other = fitted(name, learning_rate=given)
        pairs = zip(*(fit.referenced.potential.network.parameters() for fit in (own, other)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == same


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "there is no structure"),
        ([molecule("H2O")], "no energies or forces found"),
        (frames_of(start_potential(), 1), "at least 2"),
        (
            frames_of(start_potential((*("H", "C", "O"), "N")), 2, "NH3"),
            "N, which the start does not know .H, C, O.",
        ),
    ],
    ids=["none", "no labels", "one", "element"],
)
def test_wrong_frames_are_named(frames: list[Atoms], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NBodyCalculator(start_potential()).adapt(frames, steps=1)


def test_a_method_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="method"):
        NBodyCalculator(start_potential()).adapt(frames_of(start_potential(), 3), method="magic", steps=1)


def test_a_calculator_adapts_to_a_new_one() -> None:
    start = start_potential()
    frames = frames_of(teacher_of(start), 8)
    kept = [atoms.copy() for atoms in frames]
    calculator = NBodyCalculator(start, outside="ignore", skin=0.3)
    old = calculator.calculate_many(kept)
    adapted = calculator.adapt(frames, method="readout", level="PBE", steps=2)
    assert adapted.parameters["skin"] == 0.3 and adapted.potential.dtype == torch.float64
    assert adapted.information is not None and adapted.information.method == "PBE"
    assert adapted.information.training["adaptation"]["method"] == "readout"
    assert adapted.get_envelope(frames[0]).known
    errors = [
        np.abs(results["forces"] - atoms.get_forces()).mean()
        for several in (old, adapted.calculate_many(kept))
        for results, atoms in zip(several, frames, strict=True)
    ]
    assert sum(errors[8:]) < 0.5 * sum(errors[:8])
    assert all(a == b for a, b in zip(frames, kept, strict=True))
    again = calculator.calculate_many(kept)
    assert all(np.array_equal(a["forces"], b["forces"]) for a, b in zip(old, again, strict=True))


def test_a_calculator_tells_what_should_be_looked_at_in_the_labels() -> None:
    start = start_potential()
    frames = frames_of(teacher_of(start), 8)
    for atoms in frames:
        atoms.calc.results["forces"] = -atoms.calc.results["forces"]
    calculator = NBodyCalculator(start, outside="ignore")
    with pytest.warns(LabelWarning, match="opposite of ASE's"):
        calculator.adapt(frames, method="start", steps=1, accept_worse=True)
    for atoms, level in zip(frames, "AABABBBB", strict=True):
        atoms.info["level_of_theory"] = level
    with pytest.raises(ValueError, match="frames has labels of several levels of theory, A, B"):
        calculator.adapt(frames, method="start", steps=1)


def test_a_last_fit_that_is_worse_than_the_start_on_what_it_learnt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    start = start_potential()
    data = dataset_of(teacher_of(start), 6)
    values = {"method": "all", "steps": 5}
    whole = _Search.fitted_to_all

    def spoilt(search: _Search, best: Row) -> Fit:
        fit = whole(search, best)
        with torch.no_grad():
            for readout in fit.referenced.potential.network.linear_readouts():
                readout.mul_(-3.0)
        return fit

    monkeypatch.setattr(_Search, "fitted_to_all", spoilt)
    with pytest.raises(WorseModelError, match="worse than the start on these very structures: score"):
        adapt(start, data, AdaptationSettings(**values), silent)
    said: list[str] = []
    adapt(start, data, AdaptationSettings(**values, accept_worse=True), said.append)
    assert any("on these very structures" in words for words in said)


@pytest.mark.parametrize("method", ["start", "readout", "all"])
def test_other_terms_of_a_start_are_kept_and_counted(method: str) -> None:
    """What they give is not learnt a second time: a start that is right stays right, with them and not without."""
    start = replace(start_potential(), others=(LennardJones(LennardJonesSettings(epsilon=0.3)),))
    data = dataset_of(start, 6)
    found = adapt(start, data, AdaptationSettings(method=method, steps=3, accept_worse=True), silent)
    own = found.referenced.potential
    assert [term.settings for term in own.others] == [LennardJonesSettings(epsilon=0.3)]
    wanted = torch.from_numpy(np.concatenate([label.forces for label in data.labels]))
    error = (forces_of(own, data.structures) - wanted).abs().mean()
    assert error < 1e-4 < 1e-3 < (forces_of(replace(own, others=()), data.structures) - wanted).abs().mean()
