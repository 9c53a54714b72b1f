"""Which structures are kept: broken ones, near-duplicates, the farthest; and systems by what users write."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write

from ase_nbody.labelling.sampling.bonds import bond_graph, reaction
from ase_nbody.labelling.sampling.candidates import MOLECULES
from ase_nbody.labelling.sampling.distances import are_one, composition, interatomic_distances
from ase_nbody.labelling.sampling.filters import broken_energy, broken_geometry
from ase_nbody.labelling.sampling.kinds import Candidate
from ase_nbody.labelling.sampling.picture import distance_counts, distance_picture
from ase_nbody.labelling.sampling.selection import duplicates, farthest
from ase_nbody.labelling.sampling.settings import KINDS, SampleSettings
from ase_nbody.labelling.sampling.start import RelaxedStart
from ase_nbody.labelling.sampling.systems import read_systems

SETTINGS = SampleSettings()


def helium_pair(distance):
    return Atoms("He2", [[0, 0, 0], [0, 0, distance]])


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (molecule("H2O"), None),
        (Atoms("OH2", [[0, 0, 0], [0, 0, 0.5], [0, 0.9, 0]]), "too close"),
        (Atoms("OH2", [[0, 0, 0], [0, 0, 1.9], [0, 0.9, 0]]), "reacted"),
        (Atoms("OH2", [[0, 0, np.nan], [0, 0, 1.9], [0, 0.9, 0]]), "not finite"),
    ],
)
def test_broken_geometries(atoms, reason):
    assert broken_geometry(Candidate(atoms, 0.0, bond_graph(molecule("H2O"))), SETTINGS) == reason


def test_bonds_may_break_where_the_kind_breaks_them_and_images_may_be_too_close():
    apart = Atoms("OH2", [[0, 0, 0], [0, 0, 3.0], [0, 0.9, 0]])
    assert broken_geometry(Candidate(apart, 0.0, None), SETTINGS) is None
    squeezed = bulk("Cu", a=1.5)
    assert broken_geometry(Candidate(squeezed, 0.0, None), SETTINGS) == "too close"


@pytest.mark.parametrize(
    ("distance", "minimum", "breaks_bonds", "reason"),
    [
        (1.1225, -1.0, False, None),
        (0.93, -1.0, False, "energy"),
        (0.93, -1.0, True, "force"),
        (1.1225, 1.5, False, "energy"),
    ],
)
def test_energies_and_forces_have_limits(distance, minimum, breaks_bonds, reason):
    candidate = Candidate(helium_pair(distance), minimum, None)
    calculator = LennardJones(rc=30.0)
    assert broken_energy(candidate, calculator, SETTINGS, breaks_bonds=breaks_bonds) == reason
    assert candidate.atoms.calc is None


def test_what_a_calculator_refuses_is_not_computed():
    class Refusing(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, *arguments):
            raise RuntimeError("no convergence")

    candidate = Candidate(helium_pair(3.0), 0.0, None)
    assert broken_energy(candidate, Refusing(), SETTINGS, breaks_bonds=True) == "not computed"


@pytest.mark.parametrize("structure", [molecule("CH3CH2OH"), bulk("NaCl", "rocksalt", a=5.64).repeat((2, 1, 1))])
def test_distances_do_not_change_with_order_place_and_direction(structure):
    generator = np.random.default_rng(0)
    structure.positions += 0.1 * generator.standard_normal(structure.positions.shape)
    other = structure[generator.permutation(len(structure))]
    other.rotate(37, (1, 2, 3), rotate_cell=True)
    other.positions += [1.0, 2.0, 3.0]
    assert composition(other) == composition(structure)
    assert interatomic_distances(other) == pytest.approx(interatomic_distances(structure))


def test_elements_in_each_others_places_are_not_one():
    one, other = (
        Atoms("HCN", [[0, 0, 0], [0, 0, 1.06], [0, 0, 2.2]]),
        Atoms("HNC", [[0, 0, 0], [0, 0, 1.06], [0, 0, 2.2]]),
    )
    assert composition(one) == composition(other)
    assert not are_one(interatomic_distances(one), [interatomic_distances(other)], 0.05)


def test_strained_crystals_of_one_atom_are_told_apart():
    cells = [bulk("Cu", a=a) for a in (3.6, 3.61, 3.9)]
    assert duplicates(cells, 0.05) == [False, True, False]


def test_duplicates_are_those_within_the_resolution_of_an_earlier_one():
    frames = [helium_pair(d) for d in (3.0, 3.04, 3.08, 3.2)]
    assert duplicates(frames, 0.05) == [False, True, False, False]
    assert duplicates([Atoms("He"), Atoms("He"), Atoms("Ne")], 0.05) == [False, True, False]
    assert duplicates([helium_pair(3.0), Atoms("HeNe", [[0, 0, 0], [0, 0, 3.0]])], 0.05) == [False, False]


def test_the_farthest_are_chosen_before_what_lies_between():
    frames = [helium_pair(d) for d in (1.0, 1.02, 1.5, 2.0, 1.98)]
    assert farthest(frames, ["md"] * 5, {"md": 1.0}, 3) == [0, 2, 3]
    assert farthest(frames[2:], ["rattle", "md", "md"], {"rattle": 0.01, "md": 1.0}, 1) == [0]
    assert farthest(frames, ["md"] * 5, {"md": 1.0}, 9) == [0, 1, 2, 3, 4]


def test_kinds_get_their_shares_and_what_one_lacks_goes_to_the_others():
    frames = [helium_pair(1 + 0.1 * n) for n in range(30)]
    kinds = ["md"] * 20 + ["rattle"] * 8 + ["torsions"] * 2
    chosen = [kinds[n] for n in farthest(frames, kinds, {"md": 2.0, "rattle": 1.0, "torsions": 1.0}, 12)]
    assert chosen.count("torsions") == 2 and chosen.count("md") in (6, 7) and chosen.count("rattle") in (3, 4)


def test_settings_refuse_what_is_not_there():
    with pytest.raises(ValueError, match="there is no kind 'mdd'; there are conformers, md"):
        SampleSettings(kinds=("mdd",))
    with pytest.raises(ValueError, match="temperatures"):
        SampleSettings(temperatures=(-1.0,))
    assert SampleSettings(kinds=("rattle", "md")).kinds == ("md", "rattle")
    assert SampleSettings().kinds == KINDS


def test_systems_are_read_from_all_that_users_write(tmp_path):
    smi, table, frames = tmp_path / "a.smi", tmp_path / "b.csv", tmp_path / "c.xyz"
    smi.write_text("C=C=O ketene\n# a comment\nOO\n")
    table.write_text("name,smiles,family,multiplicity\noxygen,O=O,diatomics,3\n,CO,,\n")
    water = molecule("H2O")
    other = water.copy()
    other.rattle(0.1)
    for atoms in (water, other):
        atoms.info |= {"name": "water", "charge": 0, "energy": 1.0}
    write(frames, [water, other, molecule("CH3")])
    systems = read_systems([str(smi), str(table), str(frames), "smiles:CC", "CH3", "Si", "O2", "Si"])
    names = ["ketene", "OO", "oxygen", "CO", "water", "c-2", "CC", "CH3", "Si", "O2", "Si-2"]
    assert [system.name for system in systems] == names
    by_name = {system.name: system for system in systems}
    assert by_name["ketene"].smiles == "C=C=O" and by_name["oxygen"].family == "diatomics"
    assert by_name["oxygen"].multiplicity == 3 and by_name["CO"].multiplicity is None
    assert len(by_name["water"].geometries) == 2 and "energy" not in by_name["water"].geometries[0].info
    assert by_name["O2"].geometries[0].info["multiplicity"] == 3
    assert by_name["Si"].geometries[0].pbc.all()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("a.csv", "molecule\nCO\n", "a column smiles is needed"), ("a.csv", "smiles,charge\nCO,x\n", "whole numbers")],
)
def test_lists_that_cannot_be_read_say_what_is_needed(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=words):
        read_systems([str(tmp_path / name)])


def test_names_that_nobody_knows_and_empty_lists_are_errors(tmp_path):
    (tmp_path / "empty.smi").write_text("\n")
    for source, words in (("nothing", "no file 'nothing'"), (str(tmp_path / "empty.smi"), "no molecules or crystals")):
        with pytest.raises(ValueError, match=words):
            read_systems([source])


def test_smiles_give_conformers_with_charge_and_spin():
    pytest.importorskip("rdkit")
    from ase_nbody.labelling.sampling.smiles import embedding

    def embedded(smiles):
        return embedding(smiles, 3, np.random.default_rng(1))

    for smiles, charge, multiplicity, n_atoms in (
        ("[NH4+]", 1, 1, 5),
        ("[CH3]", 0, 2, 4),
        ("[O][O]", 0, 3, 2),
        ("O.O", 0, 1, 6),
        ("[H][H]", 0, 1, 2),
        ("[He]", 0, 1, 1),
        ("[C]", 0, 3, 1),
    ):
        result = embedded(smiles)
        atoms = result.conformers[0]
        assert (atoms.info["charge"], atoms.info["multiplicity"], len(atoms)) == (charge, multiplicity, n_atoms), smiles
        assert reaction(result.bonds, atoms) is None
    butanol = embedded("CCCCO").conformers
    assert len(butanol) == 3
    assert all((a.positions == b.positions).all() for a, b in zip(butanol, embedded("CCCCO").conformers, strict=True))
    assert len(set(embedded("O.O").bonds.molecules)) == 2
    for wrong, words in (("C1CC", "no SMILES"), ("C*", r"'C\*' leaves an atom open")):
        with pytest.raises(ValueError, match=words):
            embedded(wrong)


def test_distances_are_counted_once_and_drawn(tmp_path):
    counts = distance_counts([molecule("H2O"), bulk("Cu")])
    assert counts[1, 8].sum() == 2 and counts[1, 1].sum() == 1
    assert counts[29, 29].sum() == (12 + 6 + 24 + 12 + 24) // 2  # shells of fcc copper up to 6 angstrom
    assert counts[1, 8][19] == 2  # 0.97 angstrom
    pytest.importorskip("matplotlib")
    for name, structures in (
        ("one", [molecule("H2")]),
        ("many", [molecule("CH3NO2"), molecule("SiH4")]),
        ("none", [Atoms("H")]),
    ):
        distance_picture(structures, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("name", "multiplicity", "of_pair"), [("CH3", 2, 3), ("O2", 3, 5), ("CH4", 1, 1)])
def test_spins_of_a_pair_of_radicals_are_parallel(name, multiplicity, of_pair):
    atoms = molecule(name)
    atoms.info = {"name": name, "charge": 0, "multiplicity": multiplicity}
    start = RelaxedStart(name, (atoms,), (-1.0,), (), bond_graph(atoms), EMT())
    (pair,) = MOLECULES["dimers"].candidates(start, SampleSettings(), 1, np.random.default_rng(0))
    assert pair.atoms.info["multiplicity"] == of_pair and pair.atoms.info["charge"] == 0
