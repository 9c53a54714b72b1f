"""md, relax and neb with --dispersion: what they write, say and refuse."""

from __future__ import annotations

import csv
from functools import partial

import dispersion_package
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read, write
from command_line import run_command, tiny_model

from ase_nbody import NBodyCalculator, with_dispersion
from ase_nbody.dispersion import dispersion_results


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models"), ("H", "C", "O", "Si"))


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder, with the stand-in; gives exit status, stdout and stderr."""
    dispersion_package.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return partial(run_command, monkeypatch, capsys)


def test_dynamics_log_and_trajectory_have_the_sum(nbody, model):
    run = ("--steps", 20, "--interval", 10, "--temperature", 100, "--ensemble", "nve")
    status, out, err = nbody("md", "CH4", "--model", model, "--dispersion", "PBE", *run, "--output", "a.traj")
    assert status == 0, err
    alone = NBodyCalculator(model)
    with open("a.csv") as file:
        rows = list(csv.DictReader(file))
    frames = read("a.traj@:")
    assert len(rows) == len(frames) == 3
    shares = []
    for row, atoms in zip(rows, frames, strict=True):
        share = dispersion_results(atoms, "PBE")
        assert float(row["dispersion_energy_eV"]) == pytest.approx(share["energy"], abs=1e-8)
        total = alone.get_property("energy", atoms) + share["energy"]
        assert float(row["potential_energy_eV"]) == pytest.approx(total, abs=1e-8)
        assert atoms.get_potential_energy() == pytest.approx(total, abs=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), alone.get_property("forces", atoms) + share["forces"], atol=1e-8)
        shares.append(share["energy"])
    assert f"dispersion      D3(BJ) of PBE, {np.mean(shares[1:]):.4f} eV of the energy" in out
    assert np.ptp([float(row["total_energy_eV"]) for row in rows]) < 1e-3
    nbody("md", "CH4", "--model", model, "--steps", 0, "--output", "b.traj")
    with open("b.csv") as file:
        assert "dispersion_energy_eV" not in csv.DictReader(file).fieldnames


def test_a_run_that_is_stopped_goes_on_with_dispersion(nbody, model):
    run = ("--timestep", 50, "--dispersion", "PBE", "--output", "out.traj")
    status, _, err = nbody("md", "CH4", "--model", model, *run)
    assert status == 4
    assert "--dispersion PBE" in next(line for line in err.splitlines() if "o go on" in line)


def test_relaxation_ends_at_a_minimum_of_the_sum(nbody):
    crystal = bulk("Si", a=5.3)
    crystal.rattle(0.02, seed=0)
    write("crystal.xyz", crystal)
    run = ("--cell", "--fmax", 0.01, "--dispersion", "PBE", "--output", "out.traj")
    status, out, err = nbody("relax", "crystal.xyz", "--model", "silicon", *run)
    assert status == 0, err
    end = read("out.traj")
    calc = with_dispersion(NBodyCalculator("silicon"), "PBE")
    assert np.linalg.norm(calc.get_property("forces", end), axis=1).max() < 0.01
    assert np.abs(calc.get_property("stress", end)).max() * end.get_volume() < 0.05
    assert f"dispersion      D3(BJ) of PBE, {dispersion_results(end, 'PBE')['energy']:.6f} eV of the energy" in out


def test_bands_say_how_much_of_the_barrier_is_dispersion(nbody, model):
    relaxed, bent = molecule("CH3OH"), molecule("CH3OH")
    bent.positions[5] += [0.1, 0.1, 0.3]
    write("a.xyz", bent)
    write("b.xyz", relaxed)
    run = ("--images", 3, "--keep-ends", "--fmax", 5, "--steps", 30, "--no-climb", "--no-modes", "--dispersion", "PBE")
    status, out, err = nbody("neb", "a.xyz", "b.xyz", "--model", model, *run, "--output", "out.traj")
    assert status == 0, err
    path = read("out.traj@:")
    highest = int(np.argmax([image.get_potential_energy() for image in path]))
    assert highest != 0
    first, top = (dispersion_results(path[n], "PBE")["energy"] for n in (0, highest))
    assert abs(top - first) > 1e-3
    assert f"dispersion      D3(BJ) of PBE, {top - first:+.4f} eV of the barrier" in out
    total = NBodyCalculator(model).get_property("energy", path[0]) + first
    assert path[0].get_potential_energy() == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize("command", ["md", "relax"])
def test_what_is_refused_leaves_files_alone(nbody, model, command, monkeypatch, tmp_path):
    (tmp_path / "out.traj").write_text("mine")
    run = (command, "H2O", "--force", "--output", "out.traj")
    for name, functional, message in (
        (model, "PBEE", "no parameters of the functional 'PBEE'"),
        ("water", "PBE0", "PBE0+TS, has dispersion already"),
    ):
        status, _, err = nbody(*run, "--model", name, "--dispersion", functional)
        assert status == 1 and message in err and "Traceback" not in err
    dispersion_package.remove(monkeypatch)
    status, _, err = nbody(*run, "--model", model, "--dispersion", "PBE")
    assert status == 1 and 'pip install "ase_nbody[dispersion]"' in err
    assert (tmp_path / "out.traj").read_text() == "mine"
