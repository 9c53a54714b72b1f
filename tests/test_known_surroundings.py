"""Atoms whose surroundings are unlike those of the training are outside, and others are not."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from adaptation import dataset_of, frames_of, start_potential, teacher_of
from ase.build import bulk

from ase_nbody import NBodyCalculator
from ase_nbody.calibration.calibrate import covered_surroundings
from ase_nbody.calibration.surroundings import Features, features, fitted_surroundings
from ase_nbody.envelope import OutsideTrainingError, OutsideTrainingWarning, UnknownSurroundings
from ase_nbody.known_surroundings import BEYOND, DISTANCES
from ase_nbody.model_file import ModelFileError, load_model, model_information, save_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.surroundings import surroundings_distances

OTHER = bulk("C", "diamond", a=3.4)
"""Its atoms have other surroundings than those of ethanol."""


def knowing_potential() -> Potential:
    """A potential that knows rattled ethanol."""
    start = start_potential()
    known = dataset_of(teacher_of(start), 30)
    return replace(start, surroundings=fitted_surroundings(features(start, known), start.elements))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return knowing_potential()


def gaussian(n: int, seed: int) -> Features:
    """Features of two elements, whose first is a hundred times as wide along one axis as along the other."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, 2)) * [1.0, 0.01]
    return Features(rows, np.arange(n) % 2, np.arange(n) // 2)


def test_distances_are_mahalanobis_distances_in_units_of_the_furthest():
    known = gaussian(4000, 0)
    fitted = fitted_surroundings(known, ("H", "C"))
    rows = torch.tensor([[3.0, 0.0], [0.0, 0.03], [0.0, 3.0]], dtype=torch.float64)
    distances = fitted.distances(rows, torch.ones(3, dtype=torch.int64)).numpy() * fitted.record.furthest["H"]
    assert np.allclose(distances, [3.0, 3.0, 300.0], rtol=0.05)
    own = fitted.distances(torch.from_numpy(known.rows), torch.tensor([1, 6])[known.types])
    assert own.max() <= 1 + 1e-12
    assert own.max() > 0.9


def test_the_furthest_is_that_of_structures_left_out():
    few, dimensions = 20, 10
    rows = np.random.default_rng(0).standard_normal((few, dimensions))
    fitted = fitted_surroundings(Features(rows, np.zeros(few, int), np.arange(few)), ("H",))
    own = np.linalg.norm(rows @ fitted.roots[0], axis=1).max()
    assert fitted.record.furthest["H"] > 1.2 * own  # few structures look near each other when all are fitted


@pytest.mark.parametrize("place", range(5))
def test_every_structure_is_left_out_once(place):
    rows = np.random.default_rng(0).standard_normal((20, 3))
    rows[place] *= 10.0
    fitted = fitted_surroundings(Features(rows, np.zeros(20, int), np.arange(20)), ("H",))
    others = np.delete(rows, np.arange(place, 20, 5), axis=0)
    alone = np.linalg.norm(rows[place]) / np.sqrt(np.mean(others**2))
    assert fitted.record.furthest["H"] > 0.6 * alone  # of moments without it; with it, it is at most sqrt(20) away


def test_few_structures_do_not_make_everything_near():
    rng = np.random.default_rng(0)
    scales = 10.0 ** -np.arange(10)  # more dimensions than structures, most of them narrow
    rows = rng.standard_normal((8, 10)) * scales
    fitted = fitted_surroundings(Features(rows, np.zeros(8, int), np.arange(8)), ("H",))
    types = torch.ones(100, dtype=torch.int64)
    inside = fitted.distances(torch.from_numpy(rng.standard_normal((100, 10)) * scales), types)
    outside = fitted.distances(torch.from_numpy(rng.standard_normal((100, 10))), types)
    assert (inside < BEYOND).float().mean() > 0.8
    assert (outside > BEYOND).float().mean() > 0.8


def test_structures_learnt_at_other_levels_of_theory_are_known_too():
    start = start_potential()
    teacher = teacher_of(start)
    learnt, others = dataset_of(teacher, 8), dataset_of(teacher, 8, "H2O")
    alone, both = (
        replace(start, surroundings=covered_surroundings(start, known)) for known in ([learnt], [learnt, others])
    )
    assert (alone.surroundings.record.n_learnt, both.surroundings.record.n_learnt) == (8, 16)
    water = [neighbour_graph(atoms, start.cutoff) for atoms in others.structures]
    far = [max(float(surroundings_distances(one, graph, None).max()) for graph in water) for one in (alone, both)]
    assert far[1] <= 1 + 1e-9 < far[0]


def test_an_element_that_the_training_did_not_have_is_infinitely_far():
    known = gaussian(400, 0)
    fitted = fitted_surroundings(known, ("H", "C", "O"))
    far = fitted.distances(torch.ones(1, 2), torch.tensor([8]))
    assert torch.isinf(far).all()
    assert "did not have" in str(UnknownSurroundings(0, "O", float(far)))
    assert list(fitted.record.furthest) == ["H", "C"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_known_structures_are_inside_and_others_are_named(potential, dtype):
    calculator = NBodyCalculator(potential, dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutsideTrainingWarning)
        calculator.get_property("energy", frames_of(potential, 1)[0])
    assert calculator.results[DISTANCES].max() <= BEYOND
    with pytest.warns(
        OutsideTrainingWarning, match=r"surroundings of atom \d+ \(C\), .* times the furthest of the training"
    ):
        calculator.get_property("energy", OTHER)
    assert calculator.excursions[0].kinds >= {"surroundings"}
    assert calculator.results[DISTANCES].shape == (2,)


def test_the_calculator_can_raise_or_be_silent_and_the_envelope_tells_in_any_case(potential):
    other = OTHER
    with pytest.raises(OutsideTrainingError, match="surroundings"):
        NBodyCalculator(potential, outside="raise").get_property("energy", other)
    silent = NBodyCalculator(potential, outside="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutsideTrainingWarning)
        silent.get_property("energy", other)
    assert DISTANCES not in silent.results
    report = silent.get_envelope(other)
    assert not report.inside
    assert report.surroundings[0].distance == max(one.distance for one in report.surroundings)
    assert silent.get_envelope(frames_of(potential, 1)[0]).inside


def test_distances_by_the_evaluation_are_those_of_the_features(potential):
    atoms = frames_of(potential, 1, seed=7)[0]
    graph = neighbour_graph(atoms, potential.cutoff, dtype=torch.float64)
    handed_out = predict(potential, graph, features=True).features
    assert handed_out is not None
    by_torch = potential.network.atom_invariants(graph)
    given, made, slow = (surroundings_distances(potential, graph, one) for one in (handed_out, None, by_torch))
    assert torch.equal(given, made)
    assert torch.allclose(given, slow, rtol=1e-6)


def test_many_structures_are_each_compared(potential):
    calculator = NBodyCalculator(potential)
    with pytest.warns(OutsideTrainingWarning, match="structure 1 .*surroundings"):
        results = calculator.calculate_many([frames_of(potential, 1)[0], OTHER])
    assert [len(result[DISTANCES]) for result in results] == [9, 2]


@pytest.mark.parametrize("handed_out", [True, False])
def test_surroundings_are_looked_at_again_once_an_atom_has_moved(potential, monkeypatch, handed_out):
    from ase_nbody import evaluator, surroundings

    if not handed_out:  # as on a GPU
        monkeypatch.setattr(evaluator, "predict", lambda *a, features, **k: predict(*a, **k))
    looks = []
    monkeypatch.setattr(
        surroundings, "surroundings_distances", lambda *a: looks.append(a[1]) or surroundings_distances(*a)
    )
    calculator, atoms = NBodyCalculator(potential), frames_of(potential, 1)[0]
    for _ in range(11):
        calculator.get_property("energy", atoms)
        assert len(calculator.results[DISTANCES]) == 9
        atoms.positions[0] += [0.0, 0.007, 0.0]
    assert len(looks) == 3  # at the start, and after 0.035 angstrom twice
    calculator.get_property("energy", atoms[:-1])
    assert len(looks) == 4


def test_files_and_copies_keep_them(potential, tmp_path):
    information = model_information(potential, name="m", reference_energies_source="given")
    path = save_model(tmp_path / "m.safetensors", potential, information)
    other = OTHER
    kept = NBodyCalculator(path, outside="ignore").get_envelope(other).surroundings[0].distance
    now = NBodyCalculator(potential, outside="ignore").get_envelope(other).surroundings[0].distance
    assert kept == pytest.approx(now, rel=1e-3)  # roots are kept in float32
    again = pickle.loads(pickle.dumps(NBodyCalculator(path, outside="ignore")))
    assert again.get_envelope(other).surroundings[0].distance == pytest.approx(kept, rel=1e-12)
    assert load_model(path)[1].surroundings == potential.surroundings.record


def test_a_file_without_their_tensor_is_refused(potential, tmp_path):
    roots = potential.surroundings.roots[:2]
    wrong = replace(potential, surroundings=replace(potential.surroundings, roots=roots))
    path = save_model(
        tmp_path / "m.safetensors", wrong, model_information(wrong, name="m", reference_energies_source="given")
    )
    with pytest.raises(ModelFileError, match=r"surroundings\.roots"):
        load_model(path)
