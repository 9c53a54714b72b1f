"""Structures that commands are given: any name of a file, one frame of several."""

from __future__ import annotations

import pytest
from ase.build import bulk, molecule
from ase.io import read, write
from command_line import run_command, tiny_model

from ase_nbody.cli.inputs import read_structure

NAMES = ["a@2.xyz", "a@2", "b:1.xyz", "two words.xyz", 'it\'s "one".xyz', "st*r?.xyz", "[1].xyz", "Ångström-水.xyz"]
NAMES += ["BIG.XYZ", "none", "-", "H2O", "db:x.xyz", "x.json@y.xyz", "a@1@2.xyz", "{}.xyz", "%d.xyz", "a#b.xyz"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_file_is_read(folder, name):
    frames = [molecule(symbols) for symbols in ("CH4", "NH3", "CO2", "HCN")]
    write("plain.xyz", frames, format="extxyz")
    (folder / "plain.xyz").rename(folder / name)
    assert read_structure(name).get_chemical_formula() == "CHN"
    assert read_structure(f"{name}@1").get_chemical_formula() == "H3N"
    assert read_structure(f"{name}@-2").get_chemical_formula() == "CO2"
    assert read_structure(str(folder / name)).get_chemical_formula() == "CHN"
    with pytest.raises(ValueError, match="gives 2 structures"):
        read_structure(f"{name}@1:3")


@pytest.mark.parametrize("name", ["a@1.traj", "it's *.traj", "水.cif", "a b.vasp", "c@0.json", "x:y.db", "POSCAR"])
def test_other_formats_under_strange_names(folder, name):
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    usual = folder / f"plain{name[name.rindex('.') :] if '.' in name else '.vasp'}"
    write(usual, crystal)
    usual.rename(folder / name)
    assert sorted(read_structure(name).symbols) == ["Cl", "Na"]
    assert sorted(read_structure(str(folder / name)).symbols) == ["Cl", "Na"]


def test_a_file_named_like_a_frame_is_that_file(folder):
    write("a", [molecule("CH4"), molecule("NH3")], format="extxyz")
    write("b.xyz", molecule("H2O"))
    (folder / "b.xyz").rename(folder / "a@0")
    assert read_structure("a@0").get_chemical_formula() == "H2O"
    assert read_structure("a@1").get_chemical_formula() == "H3N"


def test_a_frame_that_is_not_there_is_an_error(folder):
    write("a.xyz", molecule("H2O"))
    for text in ("a.xyz@1", "a.xyz@x"):
        with pytest.raises(ValueError, match="cannot read a structure from"):
            read_structure(text)
    with pytest.raises(ValueError, match=r"there is no file 'b@2\.xyz'"):
        read_structure("b@2.xyz")


@pytest.mark.parametrize("name", ["a@2", "it's *", "水: x"])
def test_relax_of_strange_names(folder, monkeypatch, capsys, name):
    model = tiny_model(folder, ("H", "C")).rename(folder / "m@1 it's.safetensors")
    write("plain.xyz", molecule("CH4"))
    (folder / "plain.xyz").rename(folder / f"{name}.xyz")
    output = f"out {name}.traj"
    arguments = ["relax", f"{name}.xyz", "--model", model, "--fmax", 0.5, "--output", output]
    status, _, error = run_command(monkeypatch, capsys, *arguments)
    assert status == 0, error
    assert len(read(output, do_not_split_by_at_sign=True)) == 5
