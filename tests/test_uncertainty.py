"""Standard deviations are those of readouts that fit the labels, and are as large as errors on held-out structures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adaptation import crystals_of, dataset_of, frames_of, start_potential, teacher_of
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import write
from command_line import run_command, tiny_model
from scipy.stats import norm

from ase_nbody import NBodyCalculator
from ase_nbody.calibration import calibrate as calibrate_module
from ase_nbody.calibration import posterior as posterior_module
from ase_nbody.calibration.calibrate import posterior_of_held_out, posterior_of_others
from ase_nbody.calibration.factors import SMALLEST_FACTOR, calibration_factor
from ase_nbody.calibration.judged import deviations, judgements
from ase_nbody.calibration.posterior import derivatives, posterior_of
from ase_nbody.data import Dataset, evaluate, labelled_dataset
from ase_nbody.graph import batch_graphs
from ase_nbody.meta.design import forces_by_readouts
from ase_nbody.meta.fitting import copied
from ase_nbody.model_file import DataFile, ModelFileError, file_hash, load_model, model_information, save_model
from ase_nbody.model_knowledge import stored_dtype
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, FORCES, STRESS
from ase_nbody.uncertainties import uncertainties

MANY = 4000
FLOAT32 = 2e-3  # relative, of standard deviations in float32


def learnt_potential(n: int = 8) -> tuple[Potential, Dataset, Dataset]:
    """A potential whose errors are not in its readouts alone, with structures that it learnt and others."""
    start = start_potential()
    teacher = teacher_of(start, readouts=1.1, others=0.1)
    learnt, held_out = dataset_of(teacher, n), dataset_of(teacher, 6, seed=50)
    own = replace(start, reference_energies=teacher.reference_energies)
    return replace(own, posteriors=(posterior_of_held_out(own, learnt, held_out),)), learnt, held_out


@pytest.fixture(scope="module")
def learnt() -> tuple[Potential, Dataset, Dataset]:
    return learnt_potential()


def graph_of(potential: Potential, atoms: Atoms):
    return neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype)


def exact(potential: Potential, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Standard deviations of the energy and of forces, from derivatives by all readouts."""
    assert potential.posterior is not None
    record, graph = potential.posterior.record, graph_of(potential, atoms)
    own = copied(potential)
    own.network.requires_grad_(True)
    forces = forces_by_readouts(own, graph).numpy() @ potential.posterior.root
    energy = next(own.network.readout_features(graph, [])).numpy() * own.energy_scale @ potential.posterior.root
    return record.energy_factor * np.linalg.norm(energy), record.forces_factor * np.linalg.norm(forces, axis=2)


def test_members_have_the_spread_of_the_posterior(learnt):
    potential, atoms = learnt[0], frames_of(learnt[0], 1, seed=9)[0]
    one = uncertainties(potential, graph_of(potential, atoms), MANY)[0]
    energy, forces = exact(potential, atoms)
    assert one.energy == pytest.approx(energy, rel=0.05)
    assert np.allclose(one.forces, forces, rtol=0.08)
    assert one.largest_force == np.linalg.norm(one.forces, axis=1).max()
    assert one.stress is None


def test_directions_at_random_give_the_products_of_all_forces(learnt, monkeypatch):
    potential, known, _ = learnt
    monkeypatch.setattr(
        posterior_module, "ROWS_PER_READOUT", 10**9
    )  # as many directions as coordinates, of which this is a mean
    made = derivatives(potential, known)
    sketched = np.mean([np.einsum("mk,ml->kl", rows, rows) / len(rows) for rows in made.forces], axis=0)
    own = copied(potential)
    own.network.requires_grad_(True)
    rows = [
        forces_by_readouts(own, graph_of(own, atoms)).numpy().reshape(-1, sketched.shape[0])
        for atoms in known.structures
    ]
    whole = np.mean([forces.T @ forces for forces in rows], axis=0)
    assert np.trace(sketched) == pytest.approx(np.trace(whole), rel=0.2)
    assert np.linalg.norm(sketched - whole) < 0.5 * np.linalg.norm(whole)


def test_a_direction_that_is_taken_twice_says_no_more(learnt):
    potential, known, held_out = learnt
    once = derivatives(potential, known)
    twice = replace(once, forces=np.repeat(once.forces, 2, axis=1))
    evaluation = evaluate(potential, held_out)[1]
    first, second = (posterior_of(potential, some, [(some, held_out)], evaluation) for some in (once, twice))
    np.testing.assert_allclose(second.root @ second.root.T, first.root @ first.root.T, rtol=1e-6, atol=1e-12)


def test_structures_held_out_in_turn_have_their_own_errors(learnt, monkeypatch):
    potential, _, data = learnt
    given = []
    monkeypatch.setattr(calibrate_module, "posterior_in_turn", lambda *arguments: given.append(arguments))
    posterior_of_others(potential, data)
    [(_, dataset, folds, evaluation)] = given
    held_out = [number for _, numbers in folds for number in numbers]
    assert sorted(held_out) == list(range(len(data))) and held_out != sorted(held_out)
    alone = [evaluate(potential, dataset.subset([number]))[1].of(ENERGY).predictions[0] for number in held_out]
    assert len(set(np.round(alone, 12))) == len(alone)
    np.testing.assert_allclose(evaluation.of(ENERGY).predictions, alone, rtol=1e-8)
    labels = [dataset.labels[number].forces for number in held_out]
    np.testing.assert_array_equal(evaluation.of(FORCES).labels, np.concatenate(labels))


def test_each_structure_is_compared_with_what_was_learnt_without_it(learnt):
    potential, known, held_out = learnt
    every, (_, evaluation) = derivatives(potential, known), evaluate(potential, held_out)
    without = [(every.subset([0]), held_out), (every, held_out)]
    few, many = (posterior_of(potential, every, [fold], evaluation) for fold in without)
    np.testing.assert_allclose(few.root, many.root, rtol=1e-12)
    assert few.record.forces_factor < 0.9 * many.record.forces_factor  # what one structure leaves open is more
    assert (few.record.n_learnt, few.record.n_held_out) == (len(known), len(held_out))


def normal(n: int = 20_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_the_factor_of_normal_errors_is_their_standard_deviation(size):
    deviations = np.exp(normal(seed=1))
    assert calibration_factor(deviations, size * deviations * normal()) == pytest.approx(size, rel=0.03)


def test_the_factor_has_the_least_ranked_probability_score():
    deviations, errors = np.exp(normal(400, 1)), np.random.default_rng(2).standard_t(3.0, 400)
    errors *= deviations

    def score(factor: float) -> float:
        """By its definition: the mean of the integral of (share of the Gaussian below x - 1 if the error is too)^2."""
        x = np.linspace(-60.0, 60.0, 6001)
        below = norm.cdf(x / factor)
        z = (errors / deviations)[:, None]
        return float(np.mean(np.sum((below - (z <= x)) ** 2, axis=1) * (x[1] - x[0])))

    best = calibration_factor(deviations, errors)
    assert score(best) < min(score(0.93 * best), score(1.07 * best))


def test_few_huge_errors_do_not_decide_the_factor():
    errors = normal()
    errors[:200] *= 100.0  # 1 %: the root mean square is ten times as large
    factor = calibration_factor(np.ones_like(errors), errors)
    assert 1.0 < factor < 1.03


def test_what_vanishes_by_symmetry_and_what_has_no_label_do_not_count():
    deviations, errors = np.ones(20_000), normal()
    deviations[::3], errors[::3] = 1e-12, 1e-6  # of rounding
    errors[1::3] = np.nan
    assert calibration_factor(deviations, errors) == pytest.approx(1.0, rel=0.03)


def test_a_model_without_errors_has_the_smallest_factor():
    assert calibration_factor(np.ones(5), np.zeros(5)) == SMALLEST_FACTOR


def test_on_held_out_structures_they_fit_the_errors(learnt):
    potential, _, held_out = learnt
    found = deviations(potential, held_out, evaluate(potential, held_out)[1])
    assert calibration_factor(found.forces, found.forces_errors) == pytest.approx(1.0, rel=1e-6)
    assert calibration_factor(found.energy, found.energy_errors) == pytest.approx(1.0, rel=1e-6)
    judged = judgements(found)
    assert judged["forces"].within_one == pytest.approx(0.683, abs=0.06)
    assert judged["forces"].rmse == pytest.approx(1000 * np.sqrt(np.mean(found.forces_errors**2)))
    assert judged["forces"].within_one < judged["forces"].within_two


def test_the_stress_has_a_factor_of_its_own_where_it_is_labelled(learnt):
    potential, known, _ = learnt
    crystals = labelled_dataset(crystals_of(teacher_of(start_potential(), 1.1, 0.1), 5))
    bare = replace(crystals, labels=tuple(replace(label, stress=None) for label in crystals.labels))
    own, without = (
        replace(potential, posteriors=(posterior_of_held_out(potential, known, held_out),))
        for held_out in (crystals, bare)
    )
    records = [one.posterior.record for one in (own, without)]
    assert records[1].stress_factor == records[1].forces_factor == records[0].forces_factor
    found = deviations(own, crystals, evaluate(own, crystals)[1])
    assert calibration_factor(found.stress, found.stress_errors) == pytest.approx(1.0, rel=1e-6)
    assert records[0].stress_factor != pytest.approx(records[0].forces_factor, rel=0.02)
    one, other = (uncertainties(p, graph_of(p, crystals.structures[1]))[0] for p in (own, without))
    ratio = records[0].stress_factor / records[1].stress_factor
    np.testing.assert_allclose(one.stress, ratio * other.stress, rtol=1e-8)
    np.testing.assert_allclose(one.forces, other.forces, rtol=1e-8)
    errors = evaluate(own, crystals)[1].of(STRESS).errors[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found.stress_errors, errors)
    judged = judgements(found)["stress"]
    assert judged.rmse == pytest.approx(1000 * np.sqrt(np.mean(errors**2)))
    for few in (bare, crystals.subset([0, 1])):
        assert "stress" not in judgements(deviations(own, few, evaluate(own, few)[1]))


def test_more_structures_leave_less_open():
    few, many = (learnt_potential(n)[0] for n in (2, 16))
    atoms = frames_of(few, 1, seed=9)[0]
    assert few.posterior is not None
    assert many.posterior is not None
    spreads = [np.linalg.norm(forces_by_readouts_of(one, atoms) @ one.posterior.root) for one in (few, many)]
    assert spreads[1] < 0.7 * spreads[0]


def forces_by_readouts_of(potential: Potential, atoms: Atoms) -> np.ndarray:
    own = copied(potential)
    own.network.requires_grad_(True)
    return forces_by_readouts(own, graph_of(own, atoms)).numpy()


def test_energies_of_atoms_and_structures_side_by_side_are_those_of_each_alone(learnt):
    potential = learnt[0]
    calculator = NBodyCalculator(potential)
    several = frames_of(potential, 2, seed=3)
    alone = [calculator.get_uncertainty(atoms) for atoms in several]
    together = uncertainties(potential, batch_graphs([graph_of(potential, atoms) for atoms in several]))
    for one, other in zip(alone, together, strict=True):
        assert one.energy == pytest.approx(other.energy, rel=1e-9)
        assert np.allclose(one.forces, other.forces, rtol=1e-9)
        assert one.energies.shape == (len(several[0]),)


def test_float32_gives_the_same_but_for_rounding(learnt):
    atoms = frames_of(learnt[0], 1, seed=9)[0]
    double, single = (
        NBodyCalculator(learnt[0], dtype=dtype).get_uncertainty(atoms) for dtype in ("float64", "float32")
    )
    assert single.energy == pytest.approx(double.energy, rel=FLOAT32)
    assert np.allclose(single.forces, double.forces, rtol=FLOAT32, atol=1e-4 * double.forces.max())


def test_rotated_structures_are_as_uncertain_and_crystals_have_a_stress(learnt):
    calculator, crystal = NBodyCalculator(learnt[0], outside="ignore"), bulk("C", "diamond", a=3.6)
    crystal.rattle(0.05, seed=0)
    one = calculator.get_uncertainty(crystal)
    assert one.stress is not None
    assert one.stress.shape == (6,)
    turned = crystal.copy()
    turned.rotate(35.0, (1, 2, 3), rotate_cell=True)
    other = calculator.get_uncertainty(turned)
    assert other.energy == pytest.approx(one.energy, rel=1e-8)
    assert np.linalg.norm(other.forces) == pytest.approx(np.linalg.norm(one.forces), rel=1e-8)


def test_a_model_file_keeps_them(learnt, tmp_path):
    potential = learnt[0]
    path = save_model(
        tmp_path / "m.safetensors", potential, model_information(potential, name="m", reference_energies_source="given")
    )
    atoms = frames_of(potential, 1, seed=9)[0]
    read = NBodyCalculator(path).get_uncertainty(atoms)
    exactly = NBodyCalculator(potential).get_uncertainty(atoms)
    assert read.energy == pytest.approx(exactly.energy, rel=1e-5)  # of a root in float32; a percent would do
    np.testing.assert_allclose(read.forces, exactly.forces, rtol=1e-5)
    again, information = load_model(path)
    assert information.uncertainties == (potential.posterior.record,)
    with pytest.raises(ValueError, match="uncertainties"):
        save_model(tmp_path / "n.safetensors", replace(again, posteriors=()), information)


def test_a_file_whose_posterior_does_not_fit_is_refused(learnt, tmp_path):
    potential = learnt[0]
    cut = replace(potential.posterior, root=potential.posterior.root[:-1, :-1])
    wrong = replace(potential, posteriors=(cut,))
    information = model_information(wrong, name="m", reference_energies_source="given")
    path = save_model(tmp_path / "m.safetensors", wrong, information)
    with pytest.raises(ModelFileError, match=r"uncertainty\.root"):
        load_model(path)


def test_there_is_one_posterior_for_each_level(learnt):
    potential = learnt[0]
    with pytest.raises(ValueError, match="2 posteriors for 1 levels of theory"):
        replace(potential, posteriors=(potential.posterior, None))


def test_models_without_say_what_to_do():
    with pytest.raises(PropertyNotImplementedError, match="nbody calibrate"):
        NBodyCalculator("universal").get_uncertainty(bulk("Si"))
    with pytest.raises(PropertyNotImplementedError, match="nbody calibrate"):
        NBodyCalculator(start_potential()).get_uncertainty(molecule("CH3OH"))


def test_too_few_members_are_refused(learnt):
    with pytest.raises(ValueError, match="at least 2"):
        NBodyCalculator(learnt[0]).get_uncertainty(molecule("CH3OH"), members=1)


def labelled_file(folder: Path, n: int, seed: int = 0) -> Path:
    path = folder / f"labelled-{seed}.xyz"
    write(path, frames_of(teacher_of(start_potential(), 1.1, 0.1), n, seed=seed))
    return path


def test_the_command_adds_them_and_evaluate_compares_them_with_errors(tmp_path, monkeypatch, capsys):
    model, data = tiny_model(tmp_path, ("H", "C", "O")), labelled_file(tmp_path, 12)
    output = tmp_path / "calibrated.safetensors"
    status, out, _ = run_command(monkeypatch, capsys, "calibrate", model, "--data", data, "--output", output)
    assert status == 0
    assert "tiny has learnt none of these files: structures are held out in turn" in out
    [record] = load_model(output)[1].uncertainties
    assert record is not None
    assert (record.n_learnt, record.n_held_out) == (12, 12)
    weights = [load_model(path)[0].network.state_dict() for path in (model, output)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert [stored_dtype(path) for path in (model, output)] == [torch.float64] * 2
    report = tmp_path / "errors.json"
    arguments = ("evaluate", output, "--data", data, "--uncertainty", "--json", report, "--plot", tmp_path / "plots")
    run_command(monkeypatch, capsys, *arguments)
    assert json.loads(report.read_text())["uncertainty"]["forces"]["mean_deviation"] > 0
    assert (tmp_path / "plots" / "uncertainty_forces.png").stat().st_size > 0


def test_the_command_splits_what_the_model_learnt_as_its_training_did(tmp_path, monkeypatch, capsys):
    data, output = labelled_file(tmp_path, 12), tmp_path / "calibrated.safetensors"
    learnt = DataFile(name=data.name, sha256=file_hash(data), role="train", n_structures=12)
    model = tiny_model(tmp_path, ("H", "C", "O"), data=(learnt,), training={"settings": {"n_valid": 3, "seed": 1}})
    status, _, _ = run_command(monkeypatch, capsys, "calibrate", model, "--data", data, "--output", output)
    [record] = load_model(output)[1].uncertainties
    assert status == 0
    assert record is not None
    assert (record.n_learnt, record.n_held_out) == (9, 3)


def test_the_command_names_elements_that_the_model_does_not_know(tmp_path, monkeypatch, capsys):
    model, data = tiny_model(tmp_path, ("H", "C")), labelled_file(tmp_path, 4)
    output = tmp_path / "calibrated.safetensors"
    status, _, err = run_command(monkeypatch, capsys, "calibrate", model, "--data", data, "--output", output)
    assert status == 1
    assert "O, which the model does not know" in err
    assert not output.exists()


def test_the_command_refuses_what_has_no_readouts_and_what_is_there(tmp_path, monkeypatch, capsys):
    model, data = tiny_model(tmp_path, ("H", "C", "O")), labelled_file(tmp_path, 4)
    status, _, err = run_command(monkeypatch, capsys, "calibrate", model, "--data", data, "--output", model)
    assert status == 1
    assert "is there already" in err
    status, _, err = run_command(monkeypatch, capsys, "evaluate", model, "--data", data, "--uncertainty")
    assert status == 1
    assert "nbody calibrate" in err


def test_dynamics_logs_them(learnt, tmp_path, monkeypatch, capsys):
    potential = learnt[0]
    path = save_model(
        tmp_path / "m.safetensors", potential, model_information(potential, name="m", reference_energies_source="given")
    )
    arguments = ("md", "CH3CH2OH", "--model", path, "--steps", 4, "--interval", 2, "--output", tmp_path / "md.traj")
    run_command(monkeypatch, capsys, *arguments, "--uncertainty", "--no-watchdog")
    header, *rows = (tmp_path / "md.csv").read_text().splitlines()
    assert header.endswith("energy_uncertainty_eV,force_uncertainty_eV_A")
    assert all(float(row.split(",")[-1]) > 0 for row in rows)
    assert len(rows) == 3
