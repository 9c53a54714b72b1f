"""Adaptation to labels of stress and of what a term predicts: read, learnt, weighed in the choice, and on the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from adaptation import crystals_of, frames_of, start_potential, teacher_of
from ase import Atoms
from charge_term import CHARGES, DIPOLE, TERM, ElementCharges, ElementChargesSettings
from command_line import run_command

import ase_nbody.terms
from ase_nbody import NBodyCalculator
from ase_nbody.data import Dataset, error_report, evaluate, labelled_dataset
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.candidates import SCRATCH, AdaptationTask, candidates
from ase_nbody.meta.choice import best_row, row_words
from ase_nbody.meta.fitting import MILLI, copied, prepared
from ase_nbody.meta.held_out import Row, score_of, structure_scores
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.term_fit import fit_terms
from ase_nbody.model_file import load_model, model_information, save_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import STRESS
from ase_nbody.training.budget import StepBudget
from ase_nbody.training.loss import Weight
from ase_nbody.training.scale import label_scales

TRUE = {"H": 0.3, "C": -0.1, "O": -0.6}
GUESS = {"H": 0.2, "C": 0.0, "O": -0.2}
FURTHER = (CHARGES, DIPOLE)
DTYPES = pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["float64", "float32"]
)


def charged(potential: Potential, charges: Mapping[str, float]) -> Potential:
    return replace(potential, others=(ElementCharges(ElementChargesSettings(charges=charges)),))


def frames(n: int, n_crystals: int = 0) -> list[Atoms]:
    """Molecules and crystals of another level of theory with charges; crystals have labels of a dipole too."""
    teacher = charged(teacher_of(start_potential()), TRUE)
    made = [*frames_of(teacher, n), *crystals_of(teacher, n_crystals)]
    for atoms in made:
        found = predict(teacher, neighbour_graph(atoms, teacher.cutoff))
        atoms.info["dipole"] = np.nan_to_num(found.of(DIPOLE)[0].detach().numpy())
        atoms.arrays["charges"] = found.of(CHARGES).detach().numpy()
    return made


def dataset(several: list[Atoms]) -> Dataset:
    return labelled_dataset(several, further=FURTHER)


def charges_of(potential: Potential) -> dict[str, float]:
    (term,) = potential.others
    assert isinstance(term, ElementCharges)
    return dict(term.settings.charges)


def adapted(start: Potential, data: Dataset, **more: Any) -> Adaptation:
    return adapt(start, data, AdaptationSettings(**more), lambda words: None)


@DTYPES
def test_the_score_of_a_structure_is_that_of_a_dataset_of_it_alone(dtype: torch.dtype, rounding: float) -> None:
    start = charged(start_potential(), GUESS)
    several = frames(3, 2)
    del several[1].info["dipole"], several[3].arrays["charges"]
    several[2].calc.results.pop("forces")
    data = dataset(several)
    start.network.to(dtype)
    structures = prepared(data, start)
    settings = AdaptationSettings(further_weights={"dipole": 3.0})
    volumes = np.array([atoms.cell.volume for atoms in data.structures])
    evaluation = evaluate(start, data)[1]
    alone = [score_of(start, structures.subset([number]), settings) for number in range(len(data))]
    found = structure_scores(evaluation, volumes, structures.weights(settings, MILLI))
    np.testing.assert_allclose(found, alone, rtol=rounding)
    only = structures.weights(AdaptationSettings(energy_weight=0, forces_weight=0, stress_weight=4.0), MILLI)
    stress = evaluation.of(STRESS).errors[3:]
    expected = [2000 * np.abs(s).mean() * a.cell.volume / len(a) for s, a in zip(stress, several[3:], strict=True)]
    found = structure_scores(evaluation, volumes, {STRESS: only[STRESS]})
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0, *expected], rtol=1e-12)


def test_errors_of_labels_count_in_units_of_their_size_and_of_the_energy_scale() -> None:
    start, data = charged(start_potential(), GUESS), dataset(frames(4))
    structures = prepared(data, start).subset([0, 1])
    weights = structures.weights(AdaptationSettings(further_weights={"dipole": 3.0}), start.energy_scale)
    assert weights[DIPOLE] == Weight(3.0, pytest.approx(label_scales(data)[DIPOLE]))
    assert weights[CHARGES] == Weight(1.0, pytest.approx(label_scales(data)[CHARGES]))
    clock = count()
    with pytest.raises(ValueError, match=r"weights are given for spin, .* are of charges, dipole; leave them out"):
        adapt(start, data, AdaptationSettings(further_weights={"spin": 1.0}), print, lambda: float(next(clock)))
    assert next(clock) == 1  # nothing has begun


@pytest.mark.parametrize("name", ["radial", "low-rank", "all", "scratch"])
def test_scores_of_a_training_with_further_labels_are_those_that_candidates_are_compared_by(name: str) -> None:
    start = charged(start_potential(), GUESS)
    data = dataset(frames(8))
    start.network.float()
    # reference energies are fitted after the steps
    structures, settings = prepared(data, start), AdaptationSettings(learning_rate=0.01, energy_weight=0.0)
    held_out = structures.subset([6, 7])
    task = AdaptationTask(start, structures.subset(range(6)), held_out, StepBudget(10), settings)
    fit = {**candidates(start), "scratch": SCRATCH}[name].fitted(task)
    own = fit.referenced.potential
    assert min(score for _, score in fit.steps.scores) == pytest.approx(score_of(own, held_out, settings), rel=1e-3)
    assert charges_of(start) == GUESS  # the start stays
    assert charges_of(own)["O"] - charges_of(own)["H"] < GUESS["O"] - GUESS["H"] - 0.05


def test_the_closed_form_fits_the_charges_and_only_those_of_terms_without_energy() -> None:
    start, data = charged(start_potential(), GUESS), dataset(frames(4, 1))
    structures = prepared(data, start)
    weights = structures.weights(AdaptationSettings(), start.energy_scale)
    before = [parameter.clone() for parameter in start.network.parameters()]
    for constant, expected in ((True, TRUE), (False, GUESS)):
        own = copied(start)
        own.others[0].constant = constant
        fit_terms(own, structures, weights)
        found = charges_of(own)
        for element in "HO":  # less that of carbon, as a charge that all have moves nothing
            assert found[element] - found["C"] == pytest.approx(expected[element] - expected["C"], abs=1e-5)
        assert all(torch.equal(a, b) for a, b in zip(before, own.network.parameters(), strict=True))
        assert all(parameter.grad is None for parameter in own.network.parameters())
    fit_terms(start, replace(structures, scales={}), weights)
    assert charges_of(start) == GUESS


def test_labels_of_a_term_are_learnt_reported_and_kept_and_without_them_nothing_changes() -> None:
    start, several = charged(start_potential(), GUESS), frames(4, 2)
    said: list[str] = []
    settings = AdaptationSettings(steps=25, learning_rate=0.03, method="radial", hold_out=0.5)
    found = adapt(start, dataset(several), settings, said.append)
    assert "frames: labels of dipole of 2 structure(s) are left out: the model has no dipole for them" in said
    before, after = (row.report.of(DIPOLE).mae for row in (found.rows[0], found.chosen))
    assert before is not None and after is not None and after < 0.2 * before
    assert all(words in row_words(found.chosen) for words in ("charges MAE", "dipole MAE", "stress MAE", "energy MAE"))
    kept = charges_of(found.referenced.potential)
    assert kept["O"] - kept["H"] == pytest.approx(TRUE["O"] - TRUE["H"], abs=0.1)
    assert charges_of(start) == GUESS
    plain = labelled_dataset(several)
    with_term, without = (adapted(own, plain, steps=2, method="radial", folds=1) for own in (start, start_potential()))
    assert [row.score for row in with_term.rows] == [row.score for row in without.rows]
    one, other = (row_words(replace(found.rows[0], seconds=0.0)) for found in (with_term, without))
    assert one == other
    assert charges_of(with_term.referenced.potential) == GUESS


def test_a_calculator_learns_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ase_nbody.terms, "term_kinds", lambda: {TERM.name: TERM})
    calculator = NBodyCalculator(charged(start_potential(), GUESS), outside="ignore")
    several = frames(6)
    mine = calculator.adapt(several, method="readout", steps=2)
    assert mine.information is not None and "dipole from dipole in info" in mine.information.label_source
    held_out = [mine.information.errors[name]["dipole_mae_me_angstrom"] for name in ("held out, the start", "held out")]
    assert held_out[1] < 0.01 * held_out[0]
    results = [c.calculate_many(several[:1])[0]["dipole"] for c in (calculator, mine)]
    np.testing.assert_allclose(results[1], several[0].info["dipole"], atol=1e-4)
    assert np.abs(results[0] - several[0].info["dipole"]).max() > 0.1


def test_structures_without_energies_and_forces_are_refused() -> None:
    several = frames(3)
    for atoms in several:
        atoms.calc = None
    with pytest.raises(ValueError, match="frames has no energies or forces, which are adapted to; label its struct"):
        adapted(charged(start_potential(), GUESS), dataset(several), steps=1)


@pytest.mark.parametrize(("kind", "weights"), [(STRESS, {"stress_weight": 0.0}), (DIPOLE, {"dipole": 0.0})])
def test_stress_and_further_labels_choose_between_equal_energies_and_forces(
    kind: Any, weights: Mapping[str, float]
) -> None:
    """A training is clearly better in one property alone, and as good in all else: it is taken where this counts."""
    start = charged(start_potential(), GUESS)
    data = dataset(frames(4, 4))
    structures = prepared(data, start)
    known, evaluation = candidates(start), evaluate(start, data)[1]
    volumes = np.array([atoms.cell.volume for atoms in data.structures])

    def row(name: str, size: float, settings: AdaptationSettings) -> Row:
        worse = [replace(c, predictions=c.labels + size * (c.kind == kind)) for c in evaluation.compared]
        changed = replace(evaluation, compared=tuple(worse))
        scores = structure_scores(changed, volumes, structures.weights(settings, MILLI))
        return Row(known[name], error_report(changed), float(scores.mean()), 5, 1.0, changed, scores)

    without = {"further_weights": weights} if kind == DIPOLE else weights
    for settings, expected in ((AdaptationSettings(), "all"), (AdaptationSettings(**without), "start")):
        rows = [row("start", 0.02, settings), row("all", 0.01, settings)]
        assert best_row(rows, list(known.values()), settings).candidate.name == expected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model file with the term, and structures whose dipoles have a name of their own."""
    monkeypatch.setattr(ase_nbody.terms, "term_kinds", lambda: {TERM.name: TERM})
    own = charged(start_potential(), GUESS)
    save_model(tmp_path / "start.safetensors", own, model_information(own, name="s", reference_energies_source="given"))
    several = frames(6, 2)
    for atoms in several:
        atoms.info["my_dipole"] = atoms.info.pop("dipole")
        del atoms.arrays["charges"]
    ase.io.write(tmp_path / "some.xyz", several)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_reads_weighs_and_reports_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("adapt", "start.safetensors", "--data", "some.xyz", "--test", "some.xyz", "--steps", 2)
    options = ("--method", "readout", "--key", "dipole=my_dipole", "--weight", "dipole=2", "--output", "m.safetensors")
    status, out, err = run_command(monkeypatch, capsys, *words, *options)
    assert status == 0, err
    (head,) = [line for line in out.splitlines() if line.startswith("candidate")]
    assert head.split()[1:] == "meV/Å meV/atom stress, meV/Å³ dipole, me Å score steps s".split()
    assert "dipole from my_dipole in info (8 of 8 frames)" in out and "not used" not in out
    assert "some.xyz: labels of dipole of 2 structure(s) are left out" in out
    assert "test some.xyz: labels of dipole of 2 structure(s) are left out" in err
    potential, information = load_model(folder / "m.safetensors")
    found = charges_of(potential)
    assert found["O"] - found["C"] == pytest.approx(TRUE["O"] - TRUE["C"], abs=1e-3)
    before, after = information.training["adaptation"]["tried"][:2]
    name = "dipole_mae_me_angstrom"
    assert after[name] < 0.01 * before[name] and after[name] == information.errors["held out"][name]
    assert "stress_mae_mev_per_cubic_angstrom" in after and "forces_mae_by_element" not in after
    assert information.errors["test some.xyz"][name] < 1.0
    for option, value, told in (
        ("--key", "dipole=nothing", "no frame has dipole under the key 'nothing'"),
        ("--key", "dipole", "--key takes NAME=VALUE"),
        ("--weight", "spin=2", "weights are given for spin"),
    ):
        status, _, err = run_command(monkeypatch, capsys, *words, option, value, "--output", "n.safetensors")
        assert status == 1 and told in err
