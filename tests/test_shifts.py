"""Errors of energies without the shift of each composition: in reports, in words, and in `nbody evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from command_line import run_command, tiny_model
from toy_network import toy_potential

import ase_nbody.data
from ase_nbody.calculator import NBodyCalculator
from ase_nbody.data import Dataset, Labels, ReferenceEnergies, energy_shifts, evaluate, reference_energies, shift_words
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM


def shaken(name: str, n: int) -> list[Atoms]:
    frames = []
    for seed in range(n):
        frames.append(molecule(name))
        frames[-1].rattle(0.03, seed=seed)
    return frames


def moved_labels(structures: list[Atoms], errors: np.ndarray) -> Dataset:
    """Labels that are the toy potential's energies less these errors per atom, eV."""
    unlabelled = Dataset(tuple(structures), (Labels(energy=0.0),) * len(structures), "memory", "0", "made")
    energies = evaluate(toy_potential(), unlabelled)[1].of(ENERGY).predictions
    n = [len(atoms) for atoms in structures]
    labels = tuple(Labels(energy=e) for e in (energies - errors * n).tolist())
    return replace(unlabelled, labels=labels)


def test_errors_without_shift_by_hand() -> None:
    structures = [*shaken("H2O", 3), *shaken("CH4", 2), molecule("CO2")]
    errors = np.array([0.011, 0.012, 0.016, -0.102, -0.106, 7.0])  # eV per atom
    report, evaluation = evaluate(toy_potential(), moved_labels(structures, errors))
    rest = np.array([-2.0, -1.0, 3.0, 2.0, -2.0])  # meV per atom: means are 13 and -104, and CO2 is alone
    n = np.array([3, 3, 3, 5, 5])
    written = json.loads(json.dumps(report.to_json_dict()))
    assert written["energy_mae_mev_per_atom_without_shift"] == pytest.approx(np.abs(rest).mean())
    assert written["energy_rmse_mev_per_atom_without_shift"] == pytest.approx(np.sqrt((rest**2).mean()))
    assert written["energy_mae_mev_without_shift"] == pytest.approx(np.abs(rest * n).mean())
    assert written["energy_rmse_mev_without_shift"] == pytest.approx(np.sqrt(((rest * n) ** 2).mean()))
    assert (written["n_structures"], written["n_compositions"], written["n_structures_without_shift"]) == (6, 3, 5)
    assert written["energy_mae_mev_per_atom"] == pytest.approx(1000 * np.abs(errors).mean())
    shifts = {shift.formula: (shift.shift, shift.rest) for shift in energy_shifts(evaluation)}
    assert shifts["H2O"] == (pytest.approx(0.013), pytest.approx(1e-3 * np.sqrt(14 / 3)))
    assert shifts["CH4"] == (pytest.approx(-0.104), pytest.approx(0.002))
    assert shifts.keys() == {"H2O", "CH4"}


def test_structures_that_are_alone_have_no_errors_without_shift() -> None:
    report, evaluation = evaluate(toy_potential(), moved_labels([molecule("H2O"), molecule("CO2")], np.full(2, 0.5)))
    without = [report.of(kind, without_shift=True) for kind in (ENERGY, ENERGY_PER_ATOM)]
    assert without[0].mae is without[1].rmse is None
    assert (report.n_compositions, report.n_structures_without_shift) == (2, 0)
    assert shift_words(energy_shifts(evaluation)) is None


def test_cells_of_different_size_are_one_composition() -> None:
    cells = [bulk("C", "diamond", a=3.6), bulk("C", "diamond", a=3.5, cubic=True)]
    errors = np.array([0.03, 0.05])
    report, evaluation = evaluate(toy_potential(cutoff=3.0), moved_with_cutoff(cells, errors))
    (shift,) = energy_shifts(evaluation)
    assert (shift.formula, shift.shift) == ("C", pytest.approx(0.04))
    assert report.of(ENERGY_PER_ATOM, without_shift=True).mae == pytest.approx(0.01)
    assert report.of(ENERGY, without_shift=True).mae == pytest.approx(0.01 * (2 + 8) / 2)


def moved_with_cutoff(structures: list[Atoms], errors: np.ndarray) -> Dataset:
    unlabelled = Dataset(tuple(structures), (Labels(energy=0.0),) * len(structures), "memory", "0", "made")
    energies = evaluate(toy_potential(cutoff=3.0), unlabelled)[1].of(ENERGY).predictions
    n = [len(atoms) for atoms in structures]
    return replace(unlabelled, labels=tuple(Labels(energy=e) for e in (energies - errors * n).tolist()))


def test_structures_without_energy_do_not_count() -> None:
    dataset = moved_labels(shaken("H2O", 3), np.array([0.01, 0.03, 0.9]))
    forces_only = Labels(forces=np.zeros((3, 3)))
    report, _ = evaluate(toy_potential(), replace(dataset, labels=(*dataset.labels[:2], forces_only)))
    assert report.of(ENERGY_PER_ATOM, without_shift=True).mae == pytest.approx(0.01)
    assert (report.n_structures, report.n_structures_without_shift) == (3, 2)
    nothing, _ = evaluate(toy_potential(), replace(dataset, labels=(forces_only,) * 3))
    assert nothing.of(ENERGY, without_shift=True).mae is None and nothing.n_compositions == 0


@pytest.mark.parametrize(
    ("errors", "shifted"),
    [
        ([0.046, 0.047, 0.045], True),
        ([0.046, -0.047, 0.045], False),
        ([0.046, 0.0, 0.046], False),
        ([5e-5, 5e-5, 5e-5], False),  # not worth a word
    ],
)
def test_words_where_most_of_the_error_is_shift(errors: list[float], shifted: bool) -> None:
    _, evaluation = evaluate(toy_potential(), moved_labels(shaken("H2O", 3), np.array(errors)))
    words = shift_words(energy_shifts(evaluation))
    assert (words is not None) == shifted
    if words is not None:
        assert "H2O +46.00 meV/atom" in words


@pytest.mark.parametrize(("first", "shifted"), [(0.0030, True), (0.0032, False)])
def test_most_is_three_quarters_of_the_mean_square_error(first: float, shifted: bool) -> None:
    _, evaluation = evaluate(toy_potential(), moved_labels(shaken("H2O", 3), np.array([first, 0.001, 0.001])))
    (shift,) = energy_shifts(evaluation)
    assert (shift.shift**2 > 0.75 * (shift.shift**2 + shift.rest**2)) == shifted
    assert (shift_words([shift]) is not None) == shifted


def test_words_name_the_largest_shifts() -> None:
    names = ("H2O", "CH4", "CO2", "C2H2", "H2")
    structures = [atoms for name in names for atoms in shaken(name, 2)]
    errors = np.repeat([0.01, -0.05, 0.02, 0.03, 0.04], 2)
    words = shift_words(energy_shifts(evaluate(toy_potential(), moved_labels(structures, errors))[1]))
    assert words is not None
    assert "(CH4 -50.00 meV/atom, H2 +40.00 meV/atom, C2H2 +30.00 meV/atom and 2 more)" in words


def test_a_prediction_that_is_not_finite_is_an_error() -> None:
    potential = toy_potential()
    with torch.no_grad():
        potential.network.weights[1, 1] = torch.nan  # two carbon atoms
    structures = [molecule("H2O"), molecule("C2H6")]
    dataset = Dataset(tuple(structures), (Labels(energy=1.0),) * 2, "some.xyz", "0", "made")
    with pytest.raises(ValueError, match=r"some.xyz: .* not finite in 1 structure.*number 1 is the first"):
        evaluate(potential, dataset)


# --- reference energies that the data do not determine --------------------------------------------------------------


def references_of(structures: list[Atoms], isolated: dict[str, float] | None = None) -> ReferenceEnergies:
    """Reference energies fitted to energies that are the sum of the atomic numbers."""
    labels = tuple(Labels(energy=-float(atoms.numbers.sum())) for atoms in structures)
    dataset = Dataset(tuple(structures), labels, "memory", "0", "made")
    return reference_energies(dataset, dataset.elements, isolated, "given")


@pytest.mark.parametrize(
    ("names", "undetermined"),
    [
        (["CH3CH2OH"] * 4, ("H", "C", "O")),
        (["CH3CH2OH", "CH3OCH3"], ("H", "C", "O")),  # isomers
        (["H2O", "CO2"], ("H", "C", "O")),
        (["C2H4", "C3H6_D3h"], ("H", "C")),  # of the same proportions
        (["H2O", "H2O2", "NaCl"], ("Na", "Cl")),
        (["CH4", "C2H6"], ()),
        (["H2", "C2H6", "CO2"], ()),
        (["Si2"], ()),
    ],
)
def test_elements_that_the_compositions_leave_open(names: list[str], undetermined: tuple[str, ...]) -> None:
    found = references_of([molecule(name) for name in names])
    assert set(found.undetermined) == set(undetermined)
    assert ("not determined" in found.source) == bool(undetermined)
    for element in found.energies.keys() - set(undetermined):
        assert found.energies[element] == pytest.approx(-float(Atoms(element).numbers[0]))


def test_isolated_atoms_determine_what_the_compositions_leave_open() -> None:
    structures = [molecule("CH3CH2OH")] * 3
    partly = references_of(structures, {"H": -1.0})
    assert partly.undetermined == ("C", "O")
    assert partly.source == (
        "reference energies of H: given; C, O: not determined by the compositions of the data, shared out by Z^(7/3)"
    )
    all_but_one = references_of(structures, {"H": -1.0, "O": -8.0})
    assert (all_but_one.undetermined, all_but_one.energies["C"]) == ((), pytest.approx(-6.0))


def test_a_sum_that_the_data_determine_is_right_although_its_parts_are_not() -> None:
    energies = references_of([molecule("C2H4"), molecule("C2H4")]).energies
    assert 2 * energies["C"] + 4 * energies["H"] == pytest.approx(-16.0)


# --- command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return partial(run_command, monkeypatch, capsys)


def write_shifted(model: Path, name: str, molecules: list[Atoms], shift: float) -> None:
    """Labels of the model itself, with energies moved by `shift` eV and some more by turns."""
    calculator = NBodyCalculator(model)
    for i, atoms in enumerate(molecules):
        energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy + shift + 0.004 * (-1) ** i, forces=forces)
    write(name, molecules)


def test_evaluate_shows_errors_with_and_without_shift(nbody, tmp_path) -> None:
    model = tiny_model(tmp_path, ("H", "C", "O"))
    write_shifted(model, "data [1] @0.xyz", [*shaken("C6H6", 4), molecule("H2O")], 0.553)
    status, out, err = nbody("evaluate", model, "--data", "data [1] @0.xyz", "--json", "out [1].json")
    assert (status, err) == (0, "")
    errors = json.loads(Path("out [1].json").read_text())
    assert errors["energy_mae_mev"] == pytest.approx(553.0, abs=2.0)
    assert errors["energy_mae_mev_without_shift"] == pytest.approx(4.0, abs=1e-2)
    assert (errors["n_structures"], errors["n_structures_without_shift"], errors["n_compositions"]) == (5, 4, 2)
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert "4.000" in rows["without shift, meV"] and "0.333" in rows["without shift, meV/atom"]
    assert "1 structure(s) alone in their composition are left out" in out
    assert "most of the error of the energies is a shift" in out and "C6H6 -46.08 meV/atom" in out
    assert "the model's reference energies: given" in out


def test_evaluate_says_where_there_are_no_errors_without_shift(nbody, tmp_path) -> None:
    model = tiny_model(tmp_path, ("H", "C", "O"))
    write_shifted(model, "data.xyz", [molecule("C6H6"), molecule("H2O")], 0.5)
    out = nbody("evaluate", model, "--data", "data.xyz")[1]
    assert "no two structures have the same composition" in out and "most of the error" not in out
    assert "without shift, meV" not in out


def test_evaluate_prints_the_notes_of_the_data(nbody, tmp_path, monkeypatch) -> None:
    model = tiny_model(tmp_path, ("H", "C", "O"))
    write_shifted(model, "data.xyz", [molecule("H2O")], 0.5)
    read = ase_nbody.data.read_dataset
    noted = partial(lambda path, **keys: replace(read(path, **keys), notes=("3 stresses were dropped", "odd unit")))
    monkeypatch.setattr(ase_nbody.data, "read_dataset", noted)
    status, _, err = nbody("evaluate", model, "--data", "data.xyz")
    assert status == 0
    assert err.splitlines() == ["Warning: 3 stresses were dropped", "Warning: odd unit"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["organik"], "no shipped model is called 'organik'"),
        (["absent.safetensors"], "no model file absent.safetensors"),
        (["organic", "--device", "typewriter"], "device 'typewriter' is not there"),
        (["organic", "--json", "there.json"], "there.json is there already"),
        (["organic", "--plot", "there.json"], "there.json is a file"),
    ],
)
def test_evaluate_refuses_before_data_are_read(nbody, options: list[str], words: str) -> None:
    Path("there.json").write_text("{}")
    status, _, err = nbody("evaluate", *options, "--data", "absent.xyz")
    assert status == 1 and words in err
