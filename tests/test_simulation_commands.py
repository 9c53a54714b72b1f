"""md, relax and neb as commands: stopped by a signal or by the watchdog, and the files they write."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read, write
from ase.io.trajectory import Trajectory
from command_line import run_command, tiny_model

from ase_nbody.cli.continuation import next_output
from ase_nbody.cli.runs import md_plot
from ase_nbody.model_file import Envelope

MAIN = "from ase_nbody.cli import main; main()"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models"), ("H", "C", "O", "Si"))


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return partial(run_command, monkeypatch, capsys)


def command_in(text):
    """The words of the nbody command that a message ends with, without "nbody"."""
    line = next(line for line in text.splitlines() if "nbody" in line and "o go on" in line)
    return shlex.split(line[line.rindex(": nbody ") + 2 :])[1:]


def test_dynamics_that_explodes_is_stopped_and_resumed_with_a_shorter_step(nbody, model):
    status, out, err = nbody("md", "CH4", "--model", model, "--timestep", 50, "--output", "out.traj")
    assert status == 4
    assert "UnstableDynamicsError: stopped at step 1" in err and "in one step of 50 fs" in err
    assert "Traceback" not in err
    for text in ("CH4, 5 atoms", "out.traj", "out.csv", "out.png", "out.failed.traj", "out.last-good.traj"):
        assert text in out
    start, good, failed = read("out.traj@0"), read("out.last-good.traj"), read("out.failed.traj")
    assert (good.positions == start.positions).all() and (good.get_momenta() == start.get_momenta()).all()
    assert np.linalg.norm(failed.positions - good.positions, axis=1).max() > 0.5
    again = command_in(err)
    assert again[again.index("--restart") + 1] == "out.last-good.traj"
    assert again[again.index("--timestep") + 1] == "0.5"
    status, _, err = nbody(*again, "--steps", 3)
    assert status == 0, err
    assert len(read("out-2.traj", ":")) == 2


def test_dynamics_from_rest_that_explodes_draws_velocities_anew(nbody, model):
    start = molecule("CH4")
    start.rattle(0.2, seed=0)
    write("start.xyz", start)
    command = ("md", "start.xyz", "--model", model, "--temperature", 0, "--timestep", 80, "--output", "out.traj")
    status, _, err = nbody(*command)
    assert status == 4
    again = command_in(err)
    assert "--restart" not in again and again[1] == "out.last-good.traj"
    assert nbody(*again, "--steps", 2)[0] == 0


def test_without_the_watchdog_nothing_stops(nbody, model):
    command = ("md", "CH4", "--model", model, "--timestep", 50, "--steps", 3, "--output", "out.traj")
    assert nbody(*command, "--no-watchdog")[0] == 0
    assert not Path("out.failed.traj").exists()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model whose training had no O-H below 0.9 Å, as a relaxed molecule of its own has."""
    envelope = Envelope(closest_distances={"H-O": 0.9, "H-H": 1.2})
    return tiny_model(tmp_path_factory.mktemp("models"), ("H", "O"), envelope=envelope)


@pytest.mark.filterwarnings("default::ase_nbody.envelope.OutsideTrainingWarning")
def test_dynamics_outside_the_training_ends_with_status_3(nbody, narrow, monkeypatch):
    figures = []
    monkeypatch.setattr(md_plot, "save_figure", lambda figure, path: figures.append(figure))
    close = molecule("H2O")
    close.set_distance(0, 1, 0.8, fix=0)
    write("close.xyz", close)
    command = ("md", "close.xyz", "--model", narrow, "--steps", 4, "--interval", 2, "--temperature", 0)
    status, out, err = nbody(*command, "--ensemble", "nve", "--output", "warned.traj")
    assert status == 3
    assert "H-O 0.80 Å (atoms 0 and 1; 0.90 Å in the training)" in err and "exit status 3" in err
    assert "trajectory      warned.traj" in out and len(read("warned.traj", ":")) == 3
    assert "outside the training at 0 fs" in [line.get_label() for line in figures[0].axes[1].lines]
    assert "H-O 0.80 Å (atoms 0 and 1; 0.90 Å in the training)" in figures[0].get_supxlabel()
    status, _, err = nbody(*command, "--output", "stopped.traj", "--stop-outside-envelope")
    assert status == 3
    assert len(read("stopped.traj", ":")) == 1
    write("far.xyz", molecule("H2O"))
    assert nbody("md", "far.xyz", *command[2:], "--output", "inside.traj", "--stop-outside-envelope")[0] == 0


@pytest.mark.filterwarnings("default::ase_nbody.envelope.OutsideTrainingWarning")
def test_results_outside_the_training_end_with_status_3(nbody, narrow):
    close, far = molecule("H2O"), molecule("H2O")
    close.set_distance(0, 1, 0.8, fix=0)
    far.set_distance(0, 1, 1.1, fix=0)
    write("close.xyz", close)
    write("far.xyz", far)
    command = ("--model", narrow, "--fmax", 99, "--output")
    status, out, err = nbody("relax", "close.xyz", *command, "close.traj")
    assert status == 3 and "relaxed         in 0 steps" in out and "cannot be trusted" in err
    assert nbody("relax", "far.xyz", *command, "far.traj")[0] == 0
    status, out, err = nbody("neb", "close.xyz", "far.xyz", *command, "path.traj", "--keep-ends", "--images", 3)
    assert status == 3 and "barrier" in out and "cannot be trusted" in err
    assert nbody("neb", "H2O", "far.xyz", *command, "inside.traj", "--keep-ends", "--images", 3)[0] == 0


def test_files_of_an_earlier_failure_go(nbody, model):
    command = ("md", "CH4", "--model", model, "--steps", 3, "--output", "out.traj")
    assert nbody(*command, "--timestep", 50)[0] == 4
    status, _, err = nbody(*command)
    assert status == 1 and "--force" in err
    assert nbody(*command, "--force")[0] == 0
    assert not Path("out.failed.traj").exists() and not Path("out.last-good.traj").exists()


def test_no_steps(nbody, model):
    status, out, _ = nbody("md", "H2O", "--model", model, "--steps", 0, "--output", "md.traj")
    assert status == 0 and "simulated       0 ps" in out
    assert len(read("md.traj", ":")) == 1 and Path("md.png").stat().st_size
    command = ("--model", model, "--steps", 0)
    status, out, err = nbody("relax", "H2O", *command, "--fmax", 1e-9, "--output", "relax.traj")
    assert status == 1 and "after 0 steps" in err and "not relaxed     in 0 steps" in out
    assert len(read("relax.traj", ":")) == 1
    stretched = molecule("H2O")
    stretched.set_distance(0, 1, 1.3, fix=0)
    write("b.xyz", stretched)
    status, out, err = nbody("neb", "H2O", "b.xyz", *command, "--fmax", 1e-9, "--keep-ends", "--output", "neb.traj")
    assert status == 1 and "after 0 steps" in err
    assert len(read("neb.traj", ":")) == 7 and "barrier" in out
    again = command_in(err)
    assert again[again.index("--restart") + 1] == "neb.traj"


def test_supercells_of_molecules_are_refused(nbody, model):
    status, _, err = nbody("md", "H2O", "--supercell", 2, 1, 1, "--model", model, "--output", "out.traj")
    assert status == 1 and "no cell vector a" in err


@pytest.mark.parametrize(
    "name", ["a b.traj", "a@1.traj", "x@y.traj", "[red]a.traj", "ü.b.c.traj", "it's.traj", "-a.traj", "a:b#%.traj"]
)
def test_any_file_name(nbody, model, name):
    command = ("H2O", "--model", model, f"--output={name}")
    status, out, err = nbody("md", *command, "--steps", 1)
    assert status == 0, err
    assert f"trajectory      {name}" in out
    with Trajectory(name) as trajectory:
        assert len(trajectory) == 2
    assert nbody("relax", *command, "--fmax", 9, "--force")[0] == 0
    with Trajectory(name) as trajectory:
        assert len(trajectory) >= 1
    stretched = molecule("H2O")
    stretched.set_distance(0, 1, 1.3, fix=0)
    write("b.xyz", stretched)
    status, _, err = nbody("neb", "H2O", "b.xyz", *command[1:], "--fmax", 9, "--keep-ends", "--images", 3, "--force")
    assert status == 0, err
    status, _, err = nbody("neb", f"--restart={name}", "--model", model, "--fmax", 9, "--output", "next.traj")
    assert status == 0, err


def test_the_next_output_is_new(tmp_path):
    assert next_output(tmp_path / "a.traj").name == "a-2.traj"
    (tmp_path / "a-2.traj").touch()
    assert next_output(tmp_path / "a.traj").name == "a-3.traj"
    assert next_output(tmp_path / "a-3.traj").name == "a-4.traj"


def test_free_flight_and_friction_of_the_command(nbody, model):
    # The defaults of the command: 0.5 fs, and a friction of 0.01/fs; a lone atom feels no force.
    atom = Atoms("H")
    atom.set_velocities([[0.01 / units.fs, 0, 0]])
    atom.calc = None
    write("start.traj", atom)
    command = ("md", "--restart", "start.traj", "--model", model, "--temperature", 0, "--steps", 200, "--output")
    nbody(*command, "nve.traj", "--ensemble", "nve")
    assert read("nve.traj").positions[0, 0] == pytest.approx(1.0, rel=1e-6)  # 100 fs
    nbody(*command, "nvt.traj")
    last = read("nvt.traj")
    assert last.get_velocities()[0, 0] * units.fs == pytest.approx(0.01 * np.exp(-1.0), rel=1e-4)
    assert last.positions[0, 0] == pytest.approx(1 - np.exp(-1.0), rel=1e-3)


def test_relaxations_that_fall_without_end_are_stopped(nbody, model, monkeypatch):
    monkeypatch.setattr("ase_nbody.simulation.optimisation_watchdog.LARGEST_FALL", 1e-6)  # eV/atom
    command = ("relax", "CH4", "--model", model, "--fmax", 1e-4, "--output", "out.traj")
    status, out, err = nbody(*command)
    assert status == 4
    assert "UnstableOptimisationError" in err and "the energy fell by" in err
    assert "failed          out.failed.traj" in out and "last good       out.last-good.traj" in out
    frames = read("out.traj", ":")
    assert (frames[-1].positions == read("out.failed.traj").positions).all()
    assert (frames[-2].positions == read("out.last-good.traj").positions).all()
    assert nbody(*command, "--force", "--no-watchdog")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["md", "relax", "neb"])
def test_signals_end_a_run_in_order(model, tmp_path, name, number):
    stretched = molecule("H2O")
    stretched.set_distance(0, 1, 1.3, fix=0)
    write(tmp_path / "b.xyz", stretched)
    arguments = {
        "md": ["H2O", "--steps", "1000000", "--timestep", "0.01"],  # stays whole
        "relax": ["H2O", "--steps", "1000000", "--fmax", "1e-30", "--optimizer", "fire"],
        "neb": ["H2O", "b.xyz", "--keep-ends", "--steps", "1000000", "--fmax", "1e-30", "--images", "5"],
    }[name]
    command = [sys.executable, "-c", MAIN, name, *arguments, "--model", str(model), "--output", "out.traj"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        wait_until(lambda: run.poll() is not None or steps_begun(tmp_path, name, run))
        run.send_signal(number)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 128 + number, err
    assert f"Stopped by signal {int(number)}" in err and "Traceback" not in err
    assert "trajectory      out.traj" in out
    frames = read(tmp_path / "out.traj", ":")
    assert len(frames) == 5 if name == "neb" else len(frames) >= 1
    again = [*command_in(err), "--steps", "2"] + ([] if name == "md" else ["--fmax", "9"])
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *again], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = read(tmp_path / "out-2.traj@0")
    assert first.positions == pytest.approx((frames[0] if name == "neb" else frames[-1]).positions)
    if name == "md":
        assert (first.get_momenta() == frames[-1].get_momenta()).all()
        assert (tmp_path / "out.png").exists()


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def steps_begun(folder, name, run):
    """Whether a run has begun its steps: it has written some, or, for bands, takes the signal in."""
    if name != "neb":
        path = folder / "out.traj"
        return path.exists() and path.stat().st_size > 5000
    status = Path(f"/proc/{run.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_second_interrupt_ends_at_once(model, tmp_path):
    command = [sys.executable, "-c", MAIN, "md", "Si", "--supercell", "3", "3", "3", "--steps", "100000"]
    command += ["--model", str(model), "--output", "out.traj"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        wait_until(lambda: (tmp_path / "out.traj").exists() and (tmp_path / "out.traj").stat().st_size > 5000)
        os.kill(run.pid, signal.SIGINT)
        os.kill(run.pid, signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode not in (0, 4)


def test_neb_refuses(nbody, model):
    write("a.traj", molecule("H2O"))
    write("same.xyz", molecule("H2O"))
    (Path("text.traj")).write_text("nothing")
    command = ("--model", model, "--output", "out.traj")
    assert "either INITIAL and FINAL" in nbody("neb", "H2O", *command)[2]
    assert "either INITIAL and FINAL" in nbody("neb", *command)[2]
    assert "either INITIAL and FINAL" in nbody("neb", "H2O", "same.xyz", "--restart", "a.traj", *command)[2]
    assert "there is no path b.traj" in nbody("neb", "--restart", "b.traj", *command)[2]
    assert "not a trajectory" in nbody("neb", "--restart", "text.traj", *command)[2]
    assert "a.traj has 1 frame" in nbody("neb", "--restart", "a.traj", *command)[2]
    assert "the same structure" in nbody("neb", "H2O", "same.xyz", *command)[2]
    assert not Path("out.traj").exists()


def test_neb_counts_the_modes(nbody, model):
    initial = bulk("Si", cubic=True)
    del initial[0]
    final = initial.copy()
    final.positions[0] = bulk("Si", cubic=True).positions[0]
    write("a.traj", initial)
    write("b.traj", final)
    command = ("neb", "a.traj", "b.traj", "--model", model, "--fmax", 9, "--keep-ends", "--images", 3)
    status, out, _ = nbody(*command, "--output", "out.traj")
    assert status == 0
    assert "saddle point    " in out
    status, out, _ = nbody(*command, "--output", "none.traj", "--no-modes")
    assert status == 0
    assert "saddle point" not in out
    assert "--push-out needs" in nbody(*command, "--output", "c.traj", "--no-modes", "--push-out")[2]
