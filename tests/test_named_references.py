"""References by name: the programs that label."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import FileIOCalculator

from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.references import Failure, Label, LevelOfTheory, ase_reference


def test_xtb_labels_radicals_and_ions_and_a_bad_structure_costs_only_itself():
    pytest.importorskip("tblite")
    structures = [molecule("H2O"), Atoms("H2", np.zeros((2, 3))), molecule("CH3"), molecule("OH")]
    structures[3].info["charge"] = -1
    xtb = reference("tblite:GFN2-xTB")
    labels = xtb.label(structures)
    assert [type(label) for label in labels] == [Label, Failure, Label, Label]
    assert np.abs(labels[2].forces.sum(axis=0)).max() < 1e-5
    neutral = xtb.label([molecule("OH")])[0]
    assert labels[3].energy < neutral.energy - 1  # electron affinity
    assert (xtb.level.method, xtb.level.program) == ("GFN2-xTB", "tblite")
    assert xtb.level.version[0].isdigit()


@pytest.mark.parametrize(
    ("spec", "options", "method"),
    [
        ("tblite:GFN2-xTB", {"solvation": "alpb,water", "accuracy": "0.1"}, "GFN2-xTB, solvation=alpb,water"),
        ("tblite:GFN1-xTB", {"electronic_temperature": "5000"}, "GFN1-xTB, electronic_temperature=5000"),
        ("ase:EMT", {"asap_cutoff": "true"}, "EMT, asap_cutoff=True"),
        ("label_teacher:springs", {"seconds": "0", "log": "/home/me/log"}, "label_teacher:springs, seconds=0"),
        ("model:organic-start", {"level": "ANI-1x", "dtype": "float32"}, "organic-start, level=ANI-1x"),
    ],
)
def test_options_that_change_the_level_of_theory_are_in_its_name(spec, options, method):
    pytest.importorskip("tblite")
    pytest.importorskip("torch")
    assert reference(spec, options).level.method == method


def test_solvation_has_its_method_and_solvent():
    pytest.importorskip("tblite")
    water = molecule("H2O")
    gas, solvated = (reference("tblite:GFN2-xTB", o).label([water])[0] for o in ({}, {"solvation": "alpb,water"}))
    assert -1.0 < solvated.energy - gas.energy < -0.1


def test_xtb_refuses_triplets_unless_spin_is_polarised():
    pytest.importorskip("tblite")
    oxygen = molecule("O2")
    oxygen.info["multiplicity"] = 3
    assert "spin_polarization" in reference("tblite:GFN2-xTB").label([oxygen])[0].reason
    polarised = reference("tblite:GFN2-xTB", {"spin_polarization": "1.0"})
    singlet = molecule("O2")
    triplet_label, singlet_label = polarised.label([oxygen, singlet])
    assert triplet_label.energy < singlet_label.energy


def test_pyscf_takes_charge_and_multiplicity_of_each_structure():
    pytest.importorskip("pyscf")
    pbe = reference("pyscf:PBE/sto-3g", {"unrestricted": "true"})
    oxygen = molecule("O2")
    triplet = oxygen.copy()
    triplet.info["multiplicity"] = 3
    singlet_label, triplet_label = pbe.label([oxygen, triplet])
    assert triplet_label.energy < singlet_label.energy
    assert pbe.level.method == "PBE/sto-3g"
    assert pbe.level.settings["unrestricted"] is True
    assert pbe.level.settings["grid_level"] == 2


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("tblite:GFN3-xTB", {}, "GFN2-xTB, GFN1-xTB"),
        ("tblite:GFN2-xTB", {"colour": "red"}, "colour"),
        (
            "tblite:GFN2-xTB",
            {"solvation": "water"},
            r"does not calculate H2 with solvation=\('water',\): .*water-solvation",
        ),
        ("tblite:GFN2-xTB", {"max_iterations": "1"}, "does not calculate H2 with max_iterations=1: SCF not converged"),
        ("tblite:GFN2-xTB", {"electric_field": "0,0,1"}, "no electric_field; its options are"),
        ("pyscf:PBE", {}, "pyscf:PBE/def2-svp"),
        ("pyscf:PBE/def2-svp", {"grids": "2"}, "grids"),
        ("pyscf:PBEE/def2-svp", {}, "no functional"),
        ("ani:ANI-2x", {}, "ANI-1x, ANI-1ccx"),
        ("ani:ANI-1x", {"members": "4"}, "no options"),
        ("GFN2-xTB", {}, "tblite:METHOD"),
    ],
)
def test_wrong_names_and_options_are_refused(spec, options, words):
    pytest.importorskip("pyscf")
    pytest.importorskip("tblite")
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=words):
        reference(spec, options)


class ExternalProgram(FileIOCalculator):
    """Writes its input and its results into its directory, as calculators of external programs do."""

    implemented_properties = ("energy", "forces")

    def write_input(self, atoms, properties=None, system_changes=None):
        super().write_input(atoms, properties, system_changes)
        np.save(Path(self.directory) / "input.npy", atoms.positions)

    def read_results(self):
        positions = np.load(Path(self.directory) / "input.npy")
        self.results = {"energy": float(positions.sum()), "forces": np.zeros_like(positions)}


def test_calculators_that_write_files_have_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    level = LevelOfTheory("files", "a program", "1")
    made = []

    def program(**options):
        made.append(ExternalProgram(command="true", **options))
        return made[-1]

    references = [ase_reference(program, level) for _ in range(2)]
    atoms = molecule("H2O")
    assert [one.label([atoms])[0].energy for one in references] == [pytest.approx(atoms.positions.sum())] * 2
    folders = [Path(calculator.directory) for calculator in made]
    assert folders[0] != folders[1] and tmp_path not in {folder.resolve() for folder in folders}
    assert all((folder / "input.npy").exists() for folder in folders) and not list(tmp_path.iterdir())
    del references
    assert not folders[0].exists()
    Path("mine").mkdir()
    ase_reference(lambda: program(directory="mine"), level).label([atoms])
    assert Path("mine", "input.npy").exists()


def test_the_calculator_of_a_reference_follows_charge_and_spin():
    pytest.importorskip("tblite")
    atoms = molecule("H2O")
    atoms.calc = reference("tblite:GFN2-xTB").calculator()
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = 1
    assert atoms.get_potential_energy() > neutral + 5.0  # eV; the ionisation energy of water is 12.6
    atoms.info["charge"] = 0
    assert atoms.get_potential_energy() == pytest.approx(neutral, abs=1e-6)


def test_a_function_that_ends_the_program_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ends_the_program.py").write_text("def calculator():\n    raise SystemExit(3)\n")
    with pytest.raises(ValueError, match="ends the program with status 3"):
        reference("ends_the_program:calculator")
