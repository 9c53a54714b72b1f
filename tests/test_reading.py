"""Reading files: no frame vanishes without a word, whatever the format, the packing and the name."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import importlib.util
import lzma
import os
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, GPa, Hartree, kcal, kJ, mol, nm

from ase_nbody.data import read_dataset, read_structures
from ase_nbody.data.units import Unit, unit

# Outputs of VASP that ASE ships with its own tests.
VASP = Path(ase.__file__).parent / "test" / "testdata" / "vasp"
ENERGIES = [-1.0, -2.0, -3.0]


def water_frames(n: int = 3) -> list[Atoms]:
    frames = []
    for i in range(n):
        atoms = molecule("H2O")
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 - i, forces=atoms.positions * (1 + i))
        frames.append(atoms)
    return frames


@pytest.fixture
def text(tmp_path: Path) -> str:
    """Three frames of five lines each."""
    ase.io.write(tmp_path / "written.xyz", water_frames())
    return (tmp_path / "written.xyz").read_text()


def energies_of(path: Path, content: str | bytes) -> list[float | None]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    dataset = read_dataset(path)
    np.testing.assert_allclose(dataset.labels[-1].forces, molecule("H2O").positions * len(ENERGIES), atol=1e-7)
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    return [label.energy for label in dataset.labels]


def refused(path: Path, content: str | bytes, match: str) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=match) as error:
        read_structures(path)
    assert str(error.value).startswith(str(path)) and "Traceback" not in str(error.value)


class TestExtendedXYZ:
    @pytest.mark.parametrize("blank", ["\n", "\n\n\n", "  \t \n"])
    def test_blank_lines_before_between_and_after_frames(self, tmp_path: Path, text: str, blank: str) -> None:
        lines = text.splitlines(keepends=True)
        frames = ["".join(lines[i : i + 5]) for i in (0, 5, 10)]
        for content in (blank + text, blank.join(frames), text + blank, blank + blank.join(frames) + blank):
            assert energies_of(tmp_path / "x.xyz", content) == ENERGIES

    @pytest.mark.parametrize("end", ["\r\n", "\r"])
    def test_other_line_ends_and_a_byte_order_mark(self, tmp_path: Path, text: str, end: str) -> None:
        other = text.replace("\n", end)
        assert energies_of(tmp_path / "x.xyz", other) == ENERGIES
        assert energies_of(tmp_path / "x.xyz", b"\xef\xbb\xbf" + (other + end).encode()) == ENERGIES

    def test_no_line_end_at_the_end(self, tmp_path: Path, text: str) -> None:
        assert energies_of(tmp_path / "x.xyz", text.rstrip("\n")) == ENERGIES

    @pytest.mark.parametrize(
        ("edit", "match"),
        [
            (lambda t: t.replace("3\n", "# a comment\n3\n"), "line 1: '# a comment' stands where the number of atoms"),
            (lambda t: t[:-1] + "\n\nthe end\n", "line 17: 'the end' stands where .* frame 3 is expected"),
            (lambda t: "2" + t[1:], "line 5: 'H .* stands where the number of atoms of frame 1"),
            (lambda t: "4" + t[1:], "line 6: '3' is no line of atom 3 with 7 columns; line 1 says that 4 atoms follow"),
            (lambda t: "400" + t[1:], "line 1: frame 0 has 400 atoms .* ends after 13 of them"),
            (lambda t: "-3" + t[1:], "line 1: '-3' stands where the number"),
            (lambda t: "0" + t[1:], "line 1: '0' stands where the number"),
            (lambda t: t[: t.rindex("H ")], "line 11: frame 2 has 3 atoms .* ends after 2 of them"),
            (lambda t: t + "3\n", "line 16: frame 3 has 3 atoms .* ends after 0 of them"),
            (lambda t: t[:-6], "line 15: the file ends within this line"),
            (lambda t: t[:-30], "line 15: .* is no line of atom 2 with 7 columns"),
            (lambda t: t.replace("H ", "\nH ", 1), "line 4: '' is no line of atom 1"),
            (lambda t: t.replace("0.11926200", "**********", 1), r"lines 1 to 5: ASE cannot read frame 0 .*\*\*\*"),
            (lambda t: t.replace("0.11926200", "nan", 1), "frame 0: positions are not finite .*atom 0"),
            (lambda t: t.encode().replace(b"pbc", b"note=\xc5 pbc"), "not UTF-8"),
        ],
    )
    def test_what_cannot_be_read_is_named_by_its_line(self, tmp_path: Path, text: str, edit: Any, match: str) -> None:
        refused(tmp_path / "x.xyz", edit(text), match)

    def test_plain_xyz_and_cells_of_adf(self, tmp_path: Path) -> None:
        frame = "2\na comment\nO 0 0 0\nH 0 0 1\n"
        vectors = "VEC1 5 0 0\nVEC2 0 6 0\nVEC3 0 0 7\n"
        (tmp_path / "x.xyz").write_text(f"{frame}\n{frame}{vectors}\n{frame}{vectors}")
        frames = read_structures(tmp_path / "x.xyz")
        assert [f.cell.lengths().tolist() for f in frames] == [[0, 0, 0], [5, 6, 7], [5, 6, 7]]
        assert all(f.positions.tolist() == [[0, 0, 0], [0, 0, 1]] for f in frames)

    def test_columns_without_a_name_are_noted(self, tmp_path: Path) -> None:
        (tmp_path / "x.xyz").write_text("\n2\nenergy=-1.0\nO 0 0 0 0.1 0.2 0.3\nH 0 0 1 0.1 0.2 0.3\n")
        dataset = read_dataset(tmp_path / "x.xyz")
        assert dataset.labels[0].forces is None and "2 lines of atoms have more columns" in dataset.notes[0]
        assert "first line 4" in dataset.notes[0]

    def test_a_label_without_a_value_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.xyz").write_text("1\nenergy\nO 0 0 0\n")  # ASE reads True
        with pytest.raises(ValueError, match="frame 0: energy is True; a label must be made of numbers"):
            read_dataset(tmp_path / "x.xyz")


class TestOtherFormats:
    @pytest.mark.parametrize("n", [1, 2, 42, 43, 50])
    def test_trajectories_of_every_length(self, tmp_path: Path, n: int) -> None:
        ase.io.write(tmp_path / "x.traj", water_frames(n))
        assert [x.energy for x in read_dataset(tmp_path / "x.traj").labels] == [-1.0 - i for i in range(n)]

    def test_a_trajectory_that_was_continued(self, tmp_path: Path) -> None:
        for mode in ("w", "a"):
            with ase.io.Trajectory(tmp_path / "x.traj", mode) as trajectory:
                for atoms in water_frames():
                    trajectory.write(atoms)
        assert [x.energy for x in read_dataset(tmp_path / "x.traj").labels] == ENERGIES * 2
        ase.io.write(tmp_path / "x.traj", water_frames(), append=True)  # writes a second header; ASE reads six frames
        refused(tmp_path / "x.traj", (tmp_path / "x.traj").read_bytes(), "bytes stand behind its 6 frames")

    def test_joined_and_cut_trajectories(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / "whole.traj", water_frames())
        content = (tmp_path / "whole.traj").read_bytes()
        refused(tmp_path / "x.traj", content + content, f"{len(content)} bytes stand behind its 3 frames")
        refused(tmp_path / "x.traj", content + b"begun", "5 bytes stand behind its 3 frames.*ended while it wrote")
        for n in (1, 30):
            refused(tmp_path / "x.traj", content[:-n], "cut short: it says that it has 3 frames")

    def test_rows_that_the_list_of_a_json_database_omits(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / "x.json", water_frames())
        content = (tmp_path / "x.json").read_text()
        refused(tmp_path / "x.json", content.replace("[1, 2, 3]", "[1, 2]"), "3 rows are written and .* gives 2")

    @pytest.mark.parametrize("name", ["vasprun.xml", "vasprun_7.xml.gz", "run7.xml", "run7"])
    def test_vasprun(self, tmp_path: Path, name: str) -> None:
        content = (VASP / "vasprun_pstress.xml").read_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        dataset = read_dataset(tmp_path / name)
        known = ase.io.read(VASP / "vasprun_pstress.xml")
        assert dataset.labels[0].energy == known.get_potential_energy(force_consistent=True)
        np.testing.assert_array_equal(dataset.labels[0].forces, known.get_forces())
        np.testing.assert_allclose(dataset.labels[0].stress, known.get_stress(voigt=False))
        assert len(dataset.notes) == 1 and "the free energy is used" in dataset.notes[0]

    def test_vasprun_that_is_interrupted_joined_or_damaged(self, tmp_path: Path) -> None:
        content = (VASP / "vasprun_pstress.xml").read_bytes()
        step = content[content.index(b"<calculation>") : content.index(b"</calculation>") + len(b"</calculation>")]
        two = content.replace(step, step + step)
        (tmp_path / "vasprun.xml").write_bytes(two[: two.rindex(b"<calculation>") + len(step) // 6])
        dataset = read_dataset(tmp_path / "vasprun.xml")
        assert len(dataset) == 1 and "VASP did not come to its end" in dataset.notes[0]
        refused(tmp_path / "vasprun.xml", two + content, "3 ionic steps are written, and ASE could read the first 2")
        damaged = two.replace(step + step, step + b"<&>" + step)
        refused(tmp_path / "vasprun.xml", damaged, "2 ionic steps are written, and ASE could read the first 1")

    @pytest.mark.parametrize("name", ["OUTCAR", "OUTCAR_run1", "outcar", "x.out"])
    def test_outcar(self, tmp_path: Path, name: str) -> None:
        content = (VASP / "OUTCAR_example_1").read_bytes()
        (tmp_path / name).write_bytes(content + content)  # two steps
        dataset = read_dataset(tmp_path / name)
        known = ase.io.read(VASP / "OUTCAR_example_1")
        assert known.get_potential_energy() != known.get_potential_energy(force_consistent=True)
        assert [x.energy for x in dataset.labels] == [known.get_potential_energy(force_consistent=True)] * 2
        np.testing.assert_allclose(dataset.labels[1].stress, known.get_stress(voigt=False))


class TestPacked:
    @pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
    def test_compressed_files(self, tmp_path: Path, text: str, ending: str, pack: Any) -> None:
        packed = pack(text.encode())
        for name in (f"x.xyz.{ending}", f"X.XYZ.{ending.upper()}", "x.xyz", f"x.{ending}"):
            assert energies_of(tmp_path / name, packed) == ENERGIES
        joined = pack(text[: len(text) // 3].encode()) + pack(text[len(text) // 3 :].encode())
        assert energies_of(tmp_path / f"x.xyz.{ending}", joined) == ENERGIES
        refused(tmp_path / f"x.xyz.{ending}", packed[:-20], "cut short")
        refused(tmp_path / f"x.xyz.{ending}", packed + text.encode(), "damaged")
        refused(tmp_path / f"x.xyz.{ending}", pack(b""), "the file in it is empty")

    @pytest.mark.parametrize("name", ["x.traj", "x.db", "x.json"])
    def test_formats_that_are_not_text(self, tmp_path: Path, name: str) -> None:
        ase.io.write(tmp_path / name, water_frames())
        assert energies_of(tmp_path / f"{name}.gz", gzip.compress((tmp_path / name).read_bytes())) == ENERGIES

    def test_zip_archives(self, tmp_path: Path, text: str) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/data.xyz", text)
            archive.writestr("__MACOSX/folder/._data.xyz", "")
        content = (tmp_path / "x.zip").read_bytes()
        assert energies_of(tmp_path / "x.zip", content) == ENERGIES
        with zipfile.ZipFile(tmp_path / "x.zip", "a") as archive:
            archive.writestr("more.xyz", text)
        refused(tmp_path / "y.zip", (tmp_path / "x.zip").read_bytes(), r"2 files \(folder/data.xyz, more.xyz\); unpack")
        refused(tmp_path / "y.zip", content[:60] + b"????" + content[64:], "cannot be unpacked")

    def test_other_packing_is_refused_by_name(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.xyz").write_text(text)
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            archive.add(tmp_path / "x.xyz")
        tar = (tmp_path / "x.tar").read_bytes()
        refused(tmp_path / "y.tar", tar, "tar archive; unpack it with tar -xf")
        refused(tmp_path / "y.tar.gz", gzip.compress(tar), "tar archive")
        refused(tmp_path / "y.xyz.zst", b"\x28\xb5\x2f\xfd" + bytes(20), "zstd; unpack it with unzstd")
        refused(tmp_path / "y.7z", b"7z\xbc\xaf\x27\x1c" + bytes(20), "7-Zip")


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("a@b.xyz", "a.xyz@0", "@", "a:b.xyz", "a b.xyz", 'it\'s "x".xyz', "wäßrig Å.xyz", "new\nline.xyz"),
            *("-", "-x.xyz", "none", "X.XYZ", "x.ExtXYZ", "*.xyz", "[a]?.xyz", "~x.xyz", "%20#.xyz", ".xyz"),
            *("my_OUTCAR.xyz", "POSCAR.xyz", "CONFIG.xyz", "HISTORY", "postgres.xyz", "mysql://x.xyz"),
            *("x.train", "x.log", "x.out", "x.in", "x.data", "x.dat", "vasp.xml", "aselmdb", "x.gz"),
        ],
    )
    def test_extended_xyz_under_any_name(
        self, tmp_path: Path, text: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert energies_of(path, text) == ENERGIES
        monkeypatch.chdir(tmp_path)
        assert len(read_dataset(os.path.join(".", name))) == len(read_dataset(name)) == 3

    @pytest.mark.parametrize("name", ["x@1.DB", "none", "q?x%20#.db", "postgresql:.db", "x.xyz", "Ö.traj", "*.JSON"])
    @pytest.mark.parametrize("kind", ["db", "json", "traj"])
    def test_databases_and_trajectories_under_any_name(self, tmp_path: Path, name: str, kind: str) -> None:
        ase.io.write(tmp_path / f"written.{kind}", water_frames())
        assert energies_of(tmp_path / name, (tmp_path / f"written.{kind}").read_bytes()) == ENERGIES
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"written.{kind}", name])


class TestDatabases:
    def write(self, path: Path, metadata: dict[str, Any] | None = None, **labels: Any) -> None:
        atoms = molecule("H2O")
        atoms.calc = SinglePointCalculator(atoms, energy=-2.0, forces=np.ones((3, 3)))
        with ase.db.connect(path, use_lock_file=False) as database:
            database.write(atoms, **labels)
            if metadata is not None:
                database.metadata = metadata

    @pytest.mark.parametrize("ending", ["db", "json"])
    @pytest.mark.parametrize(
        ("metadata", "energy", "force", "length"),
        [
            ({"title": "no units"}, 1.0, 1.0, 1.0),
            ({"units": {"energy": "eV", "forces": "eV/Å", "dipole": "Debye"}}, 1.0, 1.0, 1.0),
            ({"units": "eV, Angstrom"}, 1.0, 1.0, 1.0),
            ({"units": {"energy": "Hartree", "forces": "Hartree/Bohr"}}, Hartree, Hartree / Bohr, 1.0),
            ({"energy unit": "Ha", "force unit": "Ha / Bohr"}, Hartree, Hartree / Bohr, 1.0),
            ({"energy_unit": "kcal/mol", "forces_unit": "kcal mol^-1 A^-1"}, kcal / mol, kcal / mol, 1.0),
            ({"x": {"energy": {"unit": "kJ/mol"}, "forces": {"unit": "kJ/mol/nm"}}}, kJ / mol, kJ / mol / nm, 1.0),
            (
                {"_property_unit_dict": {"energy": "meV", "forces": "eV/Bohr"}, "_distance_unit": "Bohr"},
                *(1e-3, 1 / Bohr, Bohr),
            ),
            (
                {"key_descriptions": {"energy": ["E", "energy", "Ry"], "forces": ["F", "forces", "Ry/a0"]}},
                *(Hartree / 2, Hartree / 2 / Bohr, 1.0),
            ),
        ],
    )
    def test_units_of_the_metadata_are_honoured(
        self, tmp_path: Path, ending: str, metadata: dict[str, Any], energy: float, force: float, length: float
    ) -> None:
        self.write(tmp_path / f"x.{ending}", metadata)
        dataset = read_dataset(tmp_path / f"x.{ending}")
        assert dataset.labels[0].energy == pytest.approx(-2.0 * energy, rel=1e-6)
        np.testing.assert_allclose(dataset.labels[0].forces, np.full((3, 3), force), rtol=1e-6)
        np.testing.assert_allclose(dataset.structures[0].positions, molecule("H2O").positions * length)
        assert bool(dataset.notes) == (energy != 1.0 or force != 1.0)
        assert all("converted to eV and angstrom" in note for note in dataset.notes)

    def test_units_of_other_labels_are_named_and_not_converted(self, tmp_path: Path) -> None:
        units = {"energy": "Hartree", "forces": "Hartree/Bohr", "dipole": "Debye"}
        self.write(tmp_path / "x.db", {"units": units}, data={"dipole": np.ones(3)})
        converted, note = read_dataset(tmp_path / "x.db").notes
        assert "dipole" not in converted
        assert note == "not converted, though the metadata of the database state units: dipole in Debye"

    @pytest.mark.parametrize(
        ("metadata", "match"),
        [
            ({"units": {"energy": "furlong"}}, "'furlong' as the unit of energy"),
            ({"units": {"energy": "Hartree"}}, "none for forces"),
            ({"units": {"forces": "Hartree"}}, "'Hartree' as the unit of forces, which is no unit of forces"),
            ({"units": "metal"}, "'metal' as unit"),
            ({"units": "Hartree"}, "'Hartree' as unit"),
            ({"energy": "Hartree"}, "none for forces"),
        ],
    )
    def test_units_that_cannot_be_honoured(self, tmp_path: Path, metadata: dict[str, Any], match: str) -> None:
        self.write(tmp_path / "x.db", metadata)
        with pytest.raises(ValueError, match=match):
            read_dataset(tmp_path / "x.db")

    def test_a_cell_in_bohr(self, tmp_path: Path) -> None:
        atoms = Atoms("He", positions=[[1, 2, 3]], cell=[4, 5, 6], pbc=True)
        with ase.db.connect(tmp_path / "x.db", use_lock_file=False) as database:
            database.write(atoms, REF_energy=-1.0)
            database.metadata = {"units": {"energy": "eV", "length": "Bohr"}}
        structure = read_dataset(tmp_path / "x.db").structures[0]
        np.testing.assert_allclose(structure.cell.lengths(), np.array([4, 5, 6]) * Bohr)
        np.testing.assert_allclose(structure.positions, [[Bohr, 2 * Bohr, 3 * Bohr]])

    def test_units_of_stress_and_of_labels_in_rows(self, tmp_path: Path) -> None:
        atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]], cell=[4, 4, 4], pbc=True)
        metadata = {"units": {"energy": "meV", "forces": "meV/A", "stress": "kbar", "virial": "meV"}}
        data = {"REF_forces": np.full((2, 3), 3.0), "REF_stress": np.eye(3), "virial": np.eye(3)}
        with ase.db.connect(tmp_path / "x.db", use_lock_file=False) as database:
            database.write(atoms, REF_energy=5.0, data=data)
            database.metadata = metadata
        label = read_dataset(tmp_path / "x.db").labels[0]
        assert label.energy == pytest.approx(5e-3)
        np.testing.assert_allclose(label.forces, np.full((2, 3), 3e-3))
        np.testing.assert_allclose(label.stress, np.eye(3) * 0.1 * GPa)
        virial = read_dataset(tmp_path / "x.db", stress_key="virial").labels[0].stress
        np.testing.assert_allclose(virial, -1e-3 * np.eye(3) / 64.0)

    @pytest.mark.parametrize("ending", ["db", "json"])
    def test_json_gives_what_db_gives(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"x.{ending}"
        with ase.db.connect(path, use_lock_file=False) as database:
            for energy in ENERGIES:
                database.write(molecule("H2O"), mp2_energy=energy, data={"mp2_forces": np.eye(3) * energy})
        dataset = read_dataset(path)
        assert [x.energy for x in dataset.labels] == ENERGIES
        np.testing.assert_allclose(dataset.labels[2].forces, -3.0 * np.eye(3))

    def test_a_foreign_database_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
            connection.execute("CREATE TABLE mine (x INTEGER)")
            connection.commit()
        before = (tmp_path / "x.db").read_bytes()
        refused(tmp_path / "x.db", before, "not one of ASE")
        assert (tmp_path / "x.db").read_bytes() == before

    def test_aselmdb_without_its_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ase_nbody.data.databases.find_spec", lambda name: None)
        refused(tmp_path / "x.aselmdb", b"lmdb", "pip install ase-db-backends")

    @pytest.mark.parametrize("ending", ["aselmdb", "ASELMDB"])
    def test_aselmdb_with_its_package(self, tmp_path: Path, ending: str) -> None:
        if importlib.util.find_spec("ase_db_backends") is None:
            refused(tmp_path / f"x.{ending}", b"lmdb", "pip install ase-db-backends")
            return
        with ase.db.connect(tmp_path / "x.aselmdb") as database:
            database.write(molecule("H2O"), energy_ref=-1.0, data={"REF_forces": np.eye(3)})
        (tmp_path / "x.aselmdb").rename(tmp_path / f"x.{ending}")
        label = read_dataset(tmp_path / f"x.{ending}").labels[0]
        assert label.energy == -1.0 and np.array_equal(label.forces, np.eye(3))


class TestUnits:
    def test_products(self) -> None:
        assert unit("eV/Å^3") == unit("ev/ang**3") == unit("eV A^-3") == unit("eV/A3") == Unit(1.0, 1, -3)
        assert unit("kbar") == Unit(pytest.approx(GPa / 10), 1, -3)
        assert unit("Hartree/Bohr^3").value == pytest.approx(Hartree / Bohr**3)
        for text in ("eV/atom", "1 eV", "eV//A", "€"):
            with pytest.raises(ValueError, match="no unit that is known"):
                unit(text)
