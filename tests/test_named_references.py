"""References by name: the programs that label."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ase_nbody.labelling.references import Failure, Label, reference


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
