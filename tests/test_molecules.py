"""The lists of molecules, and data made of them: valid, and without the molecules of test sets."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

Chem = pytest.importorskip("rdkit.Chem")

FOLDER = Path(__file__).parent.parent / "data" / "organic"
HETERO = "molecules_halogens_sulfur_phosphorus.csv"
LARGER = "molecules_larger.csv"
LISTS = ("molecules.csv", LARGER, HETERO, "dimers.csv")


def structure_files(folder: Path) -> list[Path]:
    """Extended XYZ in a folder and those below it, compressed or not."""
    return [path for path in sorted(folder.rglob("*")) if path.name.endswith((".xyz", ".xyz.gz"))]


def excluded_names(path: Path) -> set[str]:
    """Molecules of test sets in a file of structures."""
    from excluded import excluded_name_of_structure

    names = {excluded_name_of_structure(atoms) for atoms in read(path, ":")}
    return {name for name in names if name is not None}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", LISTS)
def test_no_list_has_a_molecule_of_a_test_set(name):
    from excluded import excluded_name

    assert [row["smiles"] for row in rows(name) if excluded_name(row["smiles"])] == []


def test_no_list_of_smiles_has_a_molecule_of_a_test_set():
    from excluded import excluded_name

    lines = (FOLDER / "hydrogen_bonds.smi").read_text().splitlines()
    assert len(lines) == 63
    assert [line for line in lines if excluded_name(line.split()[0])] == []


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_canonical_unique_and_sorted(name):
    listed = rows(name)
    smiles = [row["smiles"] for row in listed]
    assert smiles == [Chem.MolToSmiles(Chem.MolFromSmiles(one)) for one in smiles]
    assert len(set(smiles)) == len(smiles)
    assert len({row["name"] for row in listed}) == len(listed)
    keys = [(int(row["heavy_atoms"]), row["family"], row["smiles"]) for row in listed]
    assert keys == sorted(keys)


@pytest.mark.parametrize("name", LISTS)
def test_charges_and_multiplicities_go_with_the_electrons(name):
    for row in rows(name):
        parsed = Chem.AddHs(Chem.MolFromSmiles(row["smiles"]))
        electrons = sum(atom.GetAtomicNum() for atom in parsed.GetAtoms()) - int(row["charge"])
        assert (electrons + int(row["multiplicity"])) % 2 == 1, row["smiles"]
        assert int(row["charge"]) == Chem.GetFormalCharge(parsed) == 0


def test_elements_are_where_they_belong():
    for row in rows("molecules.csv") + rows(LARGER) + rows("dimers.csv"):
        assert {atom.GetSymbol() for atom in Chem.MolFromSmiles(row["smiles"]).GetAtoms()} <= set("HCNO")
    for row in rows(HETERO):
        symbols = {atom.GetSymbol() for atom in Chem.MolFromSmiles(row["smiles"]).GetAtoms()}
        assert symbols & {"F", "S", "Cl", "P"}
        assert symbols <= {"H", "C", "N", "O", "F", "S", "Cl", "P"}


def test_what_the_shipped_model_gets_wrong_is_there():
    names = {row["name"] for row in rows("molecules.csv")}
    assert names >= {"ethylene", "acetylene", "oxirane", "ketene", "hydrogen peroxide", "hydroxyl", "oxygen"}
    assert {"water - water", "water - methanol", "formamide - formamide"} <= {row["name"] for row in rows("dimers.csv")}


def test_most_molecules_are_small():
    sizes = [int(row["heavy_atoms"]) for row in rows("molecules.csv")]
    assert 600 <= len(sizes) <= 2000
    assert max(sizes) <= 12
    assert sum(size <= 5 for size in sizes) > len(sizes) / 2


def test_larger_molecules_are_others_and_have_rings():
    listed = rows(LARGER)
    assert min(int(row["heavy_atoms"]) for row in listed) >= 6
    assert not {row["smiles"] for row in listed} & {row["smiles"] for row in rows("molecules.csv")}
    molecules = [Chem.MolFromSmiles(row["smiles"]) for row in listed]
    rings = [molecule.GetRingInfo().NumRings() for molecule in molecules]
    assert sum(number > 0 for number in rings) > len(listed) / 2
    assert sum(number > 1 for number in rings) > 300


def test_the_lists_are_what_the_scripts_make_of_the_hand_lists():
    from make_molecules import by_hand

    for name, hand in (("molecules.csv", "hand_list.txt"), (HETERO, f"hand_list{HETERO[9:-4]}.txt")):
        expected = {one.smiles for one in by_hand(FOLDER / hand)}
        assert {row["smiles"] for row in rows(name) if row["source"] == "hand"} == expected


@pytest.mark.parametrize(
    "smiles",
    ["OCC", "O.CCO", "OC=CC=O", "O/C=C\\C=O", "OC=C=CO", "CC(O)=CC(C)=O", "Oc1ccnc(=O)[nH]1", "c1ccc(/N=N/c2ccccc2)cc1",
     "Nc1ncccc1OCc1ccccc1", "CC(=O)Nc1ccc(O)cc1", "CC(O)=Nc1ccc(O)cc1", "c1ccccc1.c1ccccc1"],
)  # fmt: skip
def test_excluded_molecules_are_seen_in_any_form(smiles):
    from excluded import excluded_name

    assert excluded_name(smiles)


@pytest.mark.parametrize("smiles", ["COC", "C=CC(=O)O", "Oc1ccccc1", "CC=O", "O=CC(C)=O", "CCC(=O)C(C)=O", "c1ccncc1"])
def test_isomers_and_relatives_are_not_excluded(smiles):
    from excluded import excluded_name

    assert excluded_name(smiles) is None


def test_excluded_molecules_are_seen_in_structures():
    from excluded import excluded_name_of_structure

    ethanol, far = molecule("CH3CH2OH"), molecule("H2O")
    far.positions += 6
    ethanol.rattle(0.05, seed=0)
    assert excluded_name_of_structure(far + ethanol) == "ethanol"
    assert excluded_name_of_structure(molecule("C6H6")) == "benzene"
    assert excluded_name_of_structure(molecule("CH3OCH3") + far) is None
    assert excluded_name_of_structure(Atoms("H")) is None


@pytest.mark.parametrize("path", structure_files(FOLDER), ids=lambda path: path.name)
def test_no_structure_has_a_molecule_of_a_test_set(path):
    assert excluded_names(path) == set()


@pytest.mark.parametrize("name", ["a.xyz", "a.xyz.gz"])
def test_excluded_molecules_are_seen_in_files(tmp_path, name):
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / name
    frames = [molecule("H2O"), molecule("CH3CH2OH")]
    write(path, frames, format="extxyz")
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")
    assert structure_files(tmp_path) == [path]
    assert excluded_names(path) == {"ethanol"}
    write(path, frames[:1], format="extxyz")
    assert excluded_names(path) == set()


def labelled(name: str, kind: str, strength: float, spread: float, place: float) -> tuple[Atoms, Atoms]:
    """A water molecule by ANI and by xTB, whose forces differ by `strength`, eV/angstrom."""
    atoms = molecule("H2O")
    atoms.positions += place
    atoms.info.update(name=name, sampled_by=f"{kind} 300 K")
    pair = (atoms, atoms.copy())
    for one, force in zip(pair, (0.0, strength), strict=True):
        one.calc = SinglePointCalculator(one, energy=0.0, forces=np.array([[force, 0, 0], [0, 0, 0], [0, 0, 0]]))
    atoms.arrays["forces_spread"] = np.array([spread, 0, 0])
    return pair


def test_the_disagreement_is_the_larger_of_spread_and_half_the_difference():
    from choose import disagreement

    assert disagreement(*labelled("water", "md", 1.0, 0.2, 0)) == pytest.approx(0.5)
    assert disagreement(*labelled("water", "md", 1.0, 0.8, 0)) == pytest.approx(0.8)


def test_structures_are_chosen_where_teachers_disagree_in_turn_from_molecules_and_kinds():
    from choose import candidates, chosen

    pairs = [
        labelled(name, kind, 0.1 * number, 0.0, number + 10 * (kind == "md") + 20 * (name == "b"))
        for name in ("a", "b")
        for kind in ("md", "stretch")
        for number in range(10)
    ]
    everything = list(candidates([ani for ani, _ in pairs], [xtb for _, xtb in pairs]))
    assert len(everything) == 40
    first = chosen(everything, 6, seed=0)[:4]
    assert {(atoms.info["name"], atoms.info["sampled_by"]) for atoms in first} == {
        (name, kind) for name in ("a", "b") for kind in ("md 300 K", "stretch 300 K")
    }
    assert [atoms.info["disagreement"] for atoms in first] == [0.45] * 4
    assert len(chosen(everything, 20, seed=0)) == 17  # there is none of more than five heavy atoms


def test_strained_structures_are_not_chosen_and_unlabelled_ones_only_at_random():
    from choose import candidates

    strained, alone = labelled("a", "md", 40.0, 0.0, 0), labelled("b", "md", 1.0, 0.0, 5)
    (one,) = candidates([strained[0]], [strained[1], alone[1]])
    assert one.atoms is alone[1]
    assert one.disagreement is None
