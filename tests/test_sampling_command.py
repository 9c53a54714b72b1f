"""`nbody sample` and its function: the same structures whatever the processes, going on, failures, files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from command_line import run_command

from ase_nbody.labelling import SampleSettings, sample
from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.sampling import sample as module
from ase_nbody.labelling.sampling.bonds import bond_graph, reaction
from ase_nbody.labelling.sampling.normal_modes import hessian
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest

MODEL = "model:organic"
EMT = "ase:EMT"
SMALL = SampleSettings(number=12, temperatures=(300.0,), conformers=2)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Ethane, a molecule that EMT breaks and one that it does not know, over two processes."""
    output = tmp_path_factory.mktemp("sample") / "structures.xyz"
    return sample(["C2H6", "CH3OH", "SiH4"], output, EMT, settings=SMALL, seed=5, processes=2)


def test_systems_that_fail_leave_the_others(sampled):
    assert list(sampled.failed) == ["CH3OH", "SiH4"]
    assert sampled.failed["CH3OH"] == "it reacts while it relaxes: O1-H3 broke"
    assert "EMT" in sampled.failed["SiH4"]
    assert {atoms.info["name"] for atoms in read(sampled.output, ":")} == {"C2H6"}


def test_structures_say_where_they_come_from_and_carry_no_labels(sampled):
    frames = read(sampled.output, ":")
    assert 9 <= len(frames) <= 12 and len(frames) == sampled.n_structures
    for atoms in frames:
        assert atoms.calc is None and not {"energy", "forces"} & {*atoms.info, *atoms.arrays}
        molecules = 2 if "dimer" in atoms.info["sampled_by"] else 1
        assert atoms.info["seed"] == 5 and atoms.info["charge"] == 0 and atoms.info["multiplicity"] == 1
        assert len(atoms) == 8 * molecules
    kinds = {atoms.info["sampled_by"].split()[0] for atoms in frames}
    assert {"minimum", "normal", "stretch", "dimer", "torsion"} <= kinds


def test_structures_keep_their_bonds_unless_they_are_to_break(sampled):
    bonds = bond_graph(molecule("C2H6"))
    frames = [atoms for atoms in read(sampled.output, ":") if len(atoms) == 8]
    broken = {atoms.info["sampled_by"].split()[0] for atoms in frames if reaction(bonds, atoms) is not None}
    assert broken == {"stretch"}


def test_the_table_adds_up(sampled):
    rows = [line.split(",") for line in sampled.table.read_text().splitlines()]
    header = rows[0]
    assert header[:4] == ["system", "formula", "kind", "made"] and header[-3:] == ["spare", "kept", "failure"]
    ethane = [[int(value) for value in row[3:-1]] for row in rows if row[0] == "C2H6"]
    assert len(ethane) == 7 and all(made == sum(rest) for made, *rest in ethane)
    assert sum(row[-1] for row in ethane) == sampled.n_structures
    report = json.loads(sampled.report.read_text())
    assert report["seed"] == 5 and report["settings"]["number"] == 12
    assert report["level_of_theory"]["method"] == "EMT"
    assert [system["name"] for system in report["systems"]] == ["C2H6", "CH3OH", "SiH4"]


def test_one_process_and_other_systems_give_the_same_structures(sampled, tmp_path):
    again = sample(["H2O", "C2H6"], tmp_path / "again.xyz", EMT, settings=SMALL, seed=5, processes=1)
    text = sampled.output.read_text()
    assert again.output.read_text().endswith(text) and len(again.output.read_text()) > len(text)
    assert not (tmp_path / "again.parts").exists()


def test_a_sample_goes_on_where_it_was_stopped(sampled, tmp_path, monkeypatch):
    output, stop, seen = tmp_path / "structures.xyz", StopRequest(), []
    arguments = {"settings": SMALL, "seed": 5}

    def interrupt(one, done, total):
        stop.signal = 2

    systems = ["C2H6", "H2O", "CH4"]
    with pytest.raises(SimulationStoppedError):
        sample(systems, output, EMT, **arguments, observer=interrupt, stop=stop)
    done = len(list((tmp_path / "structures.parts").glob("*.json")))
    assert not output.exists() and 1 <= done <= 2  # the one in progress may end
    outcomes = module.outcomes
    monkeypatch.setattr(
        module, "outcomes", lambda f, tasks, **k: outcomes(f, (seen.append(t.system.name) or t for t in tasks), **k)
    )
    report = sample(systems, output, EMT, **arguments)
    assert seen == systems[done:]
    assert report.output.read_text().startswith(sampled.output.read_text())
    assert [one.name for one in report.samples] == systems


def test_nothing_is_overwritten_and_no_structure_is_an_exit_status(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    nbody = partial(run_command, monkeypatch, capsys)
    (tmp_path / "out-sampled.csv").write_text("mine")
    status, _, err = nbody("sample", "H2O", "--output", "out.xyz", "--with", EMT)
    assert status == 1 and "out-sampled.csv is there already" in err
    arguments = ("sample", "SiH4", "--output", "out.xyz", "--with", EMT, "--number", 5, "--force")
    status, out, err = nbody(*arguments)
    assert status == 1 and "not sampled   SiH4: " in out and "no structure was kept, and nothing is written" in err
    status, _, err = nbody("sample", "H2", "--output", "out.xyz", "--with", EMT, "--kinds", "torsions", "--force")
    assert status == 1 and "no structure was kept" in err  # there are none: hydrogen has no torsion
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out-sampled.csv", "mine")]
    status, _, err = nbody("sample", "H2O", "--output", "out.traj", "--with", EMT)
    assert status == 1 and "ends in .xyz, not 'out.traj'" in err
    status, _, err = nbody("sample", "H2O", "--output", "b.xyz", "--kinds", "mdd")
    assert status == 1 and err.startswith("Error: kinds: there is no kind 'mdd'; there are") and "pydantic" not in err
    status, _, err = nbody("sample", "smiles:", "--output", "b.xyz", "--kinds", "md, rattle", "--with", EMT)
    assert status == 1 and "smiles: names no molecule" in err


def test_a_list_may_give_its_name_to_its_structures(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("smiles,name\n[H][H],hydrogen\n")
    command = ("sample", "list.csv", "--output", "list.xyz", "--with", EMT, "--kinds", "rattle", "--number", 2)
    status, out, err = run_command(monkeypatch, capsys, *command)
    assert status == 0, err
    names = ["list-sampled.csv", "list-sampled.json", "list-sampled.png", "list.csv", "list.xyz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(name in out for name in names[:3])


def test_crystals_are_sampled_by_strains_vacancies_modes_and_surfaces(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = ("sample", "Cu", "--output", "cu.xyz", "--with", EMT, "--number", 16, "--temperature", 600)
    kinds = "strains,vacancies,rattle,conformers,normal-modes,surfaces"
    status, out, _ = run_command(monkeypatch, capsys, *command, "--kinds", kinds)
    assert status == 0 and "structures    16 in cu.xyz" in out
    frames = read("cu.xyz", ":")
    kinds = [atoms.info["sampled_by"].split()[0] for atoms in frames]
    assert {"strain", "vacancy", "rattle", "minimum", "normal", "surface"} == set(kinds)
    assert all(len(atoms) <= 64 for atoms in frames)
    assert all(atoms.pbc.tolist() == [True, True, kind != "surface"] for atoms, kind in zip(frames, kinds, strict=True))
    minimum = frames[kinds.index("minimum")]
    assert minimum.get_volume() / len(minimum) == pytest.approx(11.57, abs=0.05)  # EMT's copper


def test_a_reference_is_a_calculator_with_the_hessian_of_its_model():
    water = molecule("H2O")
    calculator = reference(MODEL).calculator()
    water.calc = calculator
    forces = water.get_forces()
    exact = hessian(water, calculator)
    step = 1e-4
    water.positions[1, 2] += step
    assert (water.get_forces() - forces).ravel() / -step == pytest.approx(exact[5], abs=0.05)
    assert np.allclose(exact, exact.T)


def test_partners_meet_the_molecule(tmp_path):
    settings = SMALL.model_copy(update={"kinds": ("dimers",)})
    report = sample(["CH4"], tmp_path / "pairs.xyz", EMT, settings=settings, partners=["H2O"])
    frames = read(report.output, ":")
    formulas = {atoms.get_chemical_formula() for atoms in frames}
    assert formulas == {"C2H8", "CH6O"}
    assert all(atoms.info["sampled_by"].startswith("dimer with ") for atoms in frames)
