"""A model outside its training says so: warnings, errors, reports, and no word where it is inside."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculatorSetupError
from ase.optimize import BFGS
from toy_network import toy_potential

from ase_nbody import NBodyCalculator
from ase_nbody.envelope import EnvelopeReport, OutsideTrainingError, OutsideTrainingWarning, ShortDistance
from ase_nbody.model_file import Envelope


def organic(**options) -> NBodyCalculator:
    return NBodyCalculator("organic", device="cpu", **options)


def pair_of_atoms(symbols: str, distance: float) -> Atoms:
    return Atoms(symbols, [[0, 0, 0], [0, 0, distance]])


def warnings_of(function) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    assert all(w.category is OutsideTrainingWarning for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.parametrize("name", ["H2", "O2", "H2O2", "C2H2"])
def test_molecules_outside_the_training_warn_once_and_stay_sensible(name):
    atoms = molecule(name)
    atoms.calc = organic()
    with pytest.warns(OutsideTrainingWarning, match="outside what the model was trained on"):
        energy = atoms.get_potential_energy()
    alone = sum(atoms.calc.potential.reference_energies[symbol] for symbol in atoms.symbols)
    assert abs(energy - alone) < 20 * len(atoms)  # eV; H2 had -1.4 million
    assert warnings_of(atoms.get_forces) == []
    atoms.positions *= 1.0001
    assert warnings_of(atoms.get_forces) == []  # the same structure, the same kinds


def test_the_warning_names_atoms_distance_and_what_the_training_had():
    with pytest.warns(OutsideTrainingWarning, match=r"H-H 0\.74 Å \(atoms 0 and 1; 1\.44 Å in the training\)"):
        organic().get_property("energy", molecule("H2"))


def test_a_bond_that_the_training_never_had_is_outside():
    atoms = molecule("CH3OH")
    atoms.calc = NBodyCalculator("3bpa", device="cpu")
    with pytest.warns(OutsideTrainingWarning, match=r"H-O 0\.97 Å .*1\.80 Å in the training"):
        energy = atoms.get_potential_energy()
    assert abs(energy - sum(atoms.calc.potential.reference_energies[s] for s in atoms.symbols)) < 50  # was -344,000


def test_a_pair_of_elements_that_the_training_never_had_is_outside():
    calculator = NBodyCalculator("3bpa", device="cpu")  # which has one oxygen
    report = calculator.get_envelope(pair_of_atoms("OO", 4.0))
    assert "pair" in report.kinds
    assert report.distances[0] == ShortDistance((0, 1), "O-O", pytest.approx(4.0), None)
    assert calculator.get_envelope(pair_of_atoms("OO", 6.0)).inside


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6"])
def test_nothing_is_said_inside(name):
    atoms = molecule(name)
    atoms.calc = organic()
    assert warnings_of(lambda: BFGS(atoms, logfile=None).run(fmax=0.05, steps=30)) == []
    assert atoms.calc.excursions == []
    assert atoms.calc.get_envelope(atoms).inside


@pytest.mark.parametrize(("name", "crystal"), [("silicon", "Si"), ("copper", "Cu"), ("molybdenum", "Mo")])
def test_nothing_is_said_of_crystals(name, crystal):
    atoms = bulk(crystal, cubic=True)
    atoms.calc = NBodyCalculator(name, device="cpu")
    assert warnings_of(atoms.get_stress) == []
    alone = Atoms(crystal)
    assert warnings_of(lambda: atoms.calc.get_property("energy", alone)) == []  # exact: its reference energy


def test_kinds_are_said_once_each():
    calculator = organic()
    atoms = pair_of_atoms("HO", 0.86)  # closer than 0.88 Å
    assert len(warnings_of(lambda: calculator.get_property("energy", atoms))) == 1
    atoms.positions[1, 2] = 0.5  # now the force too
    again = warnings_of(lambda: calculator.get_property("energy", atoms))
    assert len(again) == 1 and "force" in again[0]
    assert {kind for report in calculator.excursions for kind in report.kinds} >= {"distance", "force"}
    assert len(calculator.excursions) == 2
    other = pair_of_atoms("HH", 0.86)
    assert len(warnings_of(lambda: calculator.get_property("energy", other))) == 1  # another structure


def test_forces_beyond_the_largest_are_outside():
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(0, 1, 1.18, fix=0)  # not closer than the training had it
    calculator = organic(outside="ignore")
    report = calculator.get_envelope(atoms)
    atoms.calc = calculator
    norms = np.linalg.norm(atoms.get_forces(), axis=1)
    assert report.force == pytest.approx(norms.max()) and report.force_atom == norms.argmax()
    assert ("force" in report.kinds) == (norms.max() > calculator.information.envelope.force_max)


@pytest.mark.parametrize(
    ("energy", "inside"), [(-0.9, True), (-1.1, False), (0.9, True), (1.1, False), (0.5, True), (None, True)]
)
def test_energies_may_leave_their_range_below_by_its_width(energy, inside):
    report = EnvelopeReport("X", True, (), 0.0, 0, None, energy, (0.0, 1.0))
    assert report.inside == inside


def test_raise_raises_each_time_and_leaves_no_result():
    atoms = molecule("H2")
    atoms.calc = organic(outside="raise")
    for _ in range(2):
        with pytest.raises(OutsideTrainingError, match="H-H") as caught:
            atoms.get_potential_energy()
    assert not atoms.calc.results
    assert caught.value.report.kinds >= {"distance"}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    atoms = molecule("C6H6")
    atoms.calc = organic(outside="raise")
    assert np.isfinite(atoms.get_potential_energy())


def test_ignore_says_nothing_and_get_envelope_still_does():
    atoms = molecule("H2")
    atoms.calc = organic(outside="ignore")
    assert warnings_of(atoms.get_potential_energy) == []
    evaluations = atoms.calc.evaluations
    assert not atoms.calc.get_envelope(atoms).inside
    assert atoms.calc.evaluations == evaluations  # the results were there


def test_batches_name_the_structure_and_number_its_own_atoms():
    calculator = organic()
    structures = [molecule("C6H6"), molecule("H2"), molecule("CH3CH2OH")]
    words = warnings_of(lambda: calculator.calculate_many(structures))
    assert len(words) == 1 and "structure 1 (H2)" in words[0] and "atoms 0 and 1" in words[0]
    with pytest.raises(OutsideTrainingError, match="structure 1"):
        organic(outside="raise").calculate_many(structures)


def test_images_are_looked_at():
    atoms = Atoms("H", cell=[1.0, 9, 9], pbc=[True, False, False])
    report = organic().get_envelope(atoms)
    assert report.distances[0].atoms == (0, 0)
    assert report.distances[0].distance == pytest.approx(1.0)


def test_contacts_along_a_run_are_found_without_new_lists():
    atoms = molecule("CH3CH2OH")
    atoms.calc = organic(skin=1.0)
    atoms.get_forces()
    hydrogen = next(atom.index for atom in atoms if atom.symbol == "H" and atoms.get_distance(0, atom.index) < 1.2)
    direction = atoms.positions[hydrogen] - atoms.positions[0]
    atoms.positions[hydrogen] = atoms.positions[0] + direction / np.linalg.norm(direction) * 0.9  # 0.84 in the training
    assert warnings_of(atoms.get_forces) == []
    atoms.positions[hydrogen] = atoms.positions[0] + direction / np.linalg.norm(direction) * 0.83
    assert len(warnings_of(atoms.get_forces)) == 1
    assert atoms.calc.neighbours.builds == 1


def test_a_potential_without_a_file_has_no_envelope():
    atoms = molecule("CH3OH")
    atoms.calc = NBodyCalculator(toy_potential(), device="cpu")
    assert warnings_of(atoms.get_forces) == []
    report = atoms.calc.get_envelope(atoms)
    assert report.inside and not report.known and "does not say" in str(report)


def test_other_words_are_refused():
    with pytest.raises(CalculatorSetupError, match="warn, raise, ignore"):
        organic(outside="silent")


@pytest.mark.parametrize("swapped", [False, True])
def test_two_envelopes_together_cover_what_either_covers(swapped):
    one = Envelope(closest_distances={"C-H": 1.0, "H-H": 0.7}, force_max=5.0, energy_per_atom_range=(-3.0, 0.0))
    other = Envelope(closest_distances={"C-H": 0.9, "C-C": 1.2}, force_max=4.0, energy_per_atom_range=(-1.0, 2.0))
    merged = other.merged(one) if swapped else one.merged(other)
    assert merged.closest_distances == {"C-C": 1.2, "C-H": 0.9, "H-H": 0.7}
    assert (merged.force_max, merged.energy_per_atom_range) == (5.0, (-3.0, 2.0))
    assert one.merged(Envelope()) == one
