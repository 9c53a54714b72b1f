"""`nbody label` as a command: its output, exit statuses, signals, and what training and evaluation read of it."""

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
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from command_line import run_command, tiny_model

from ase_nbody.cli.runs import label_run
from ase_nbody.data import merge, read_dataset
from ase_nbody.labelling import LabelProgress

TESTS = Path(__file__).parent
SPRINGS = "label_teacher:springs"


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    return partial(run_command, monkeypatch, capsys)


def waters(count):
    random = np.random.default_rng(0)
    frames = [molecule("H2O", info={"name": f"water {n}"}) for n in range(count)]
    for atoms in frames:
        atoms.positions += random.normal(scale=0.1, size=(3, 3))
    return frames


def test_labels_are_evaluated_without_options(nbody, tmp_path):
    write("in put.xyz", waters(12))
    command = ("label", "in put.xyz", "--with", SPRINGS, "--option", "factor=1.0", "--processes", 1)
    status, out, err = nbody(*command, "--output", "labelled.xyz")
    assert status == 0, err
    for text in ("labels", "12", "label_teacher 1.5", "labelled.xyz", "labelled.json"):
        assert text in out
    status, out, _ = nbody("evaluate", tiny_model(tmp_path, ("H", "O")), "--data", "labelled.xyz")
    assert (
        status == 0 and f"level of theory {SPRINGS}, factor=1.0 (label_teacher 1.5)" in out and "12 structures" in out
    )


@pytest.mark.slow
def test_a_model_knows_the_level_of_theory_that_it_was_trained_on(nbody):
    frames = waters(12)
    for atoms in frames:
        atoms.info |= {"energy": -1.0, "level_of_theory": "PBE", "program": "x 1"}
        atoms.arrays["forces"] = np.zeros((3, 3))
    write("labelled.xyz", frames)
    options = ("--epochs", 1, "--n-valid", 2, "--preset", "small", "--output", "m.safetensors")
    status, out, err = nbody("train", "--data", "labelled.xyz", *options)
    assert status == 0, err
    assert "level of theory PBE (x 1)" in out
    assert "PBE (x 1)" in nbody("info", "m.safetensors")[1]


def test_levels_of_theory_that_differ_are_told(tmp_path):
    frames = waters(3)
    for n, atoms in enumerate(frames):
        atoms.info |= {"energy": -1.0, "level_of_theory": "PBE" if n else "GFN2-xTB", "program": "x 1"}
        atoms.arrays["forces"] = np.zeros((3, 3))
    write(tmp_path / "mixed.xyz", frames)
    write(tmp_path / "one.xyz", frames[1:])
    mixed, one = read_dataset(tmp_path / "mixed.xyz"), read_dataset(tmp_path / "one.xyz")
    assert mixed.level_of_theory is None
    assert any("different levels of theory: PBE (x 1) (2 frames), GFN2-xTB (x 1) (1 frames)" in n for n in mixed.notes)
    assert one.level_of_theory == "PBE (x 1)" and not one.notes
    assert merge([one, one]).level_of_theory == "PBE (x 1)" and merge([one, mixed]).level_of_theory is None


def test_spreads_are_no_labels(tmp_path):
    frames = waters(2)
    for atoms in frames:
        atoms.info |= {"energy": -1.0, "energy_spread": 0.1}
        atoms.arrays["forces"], atoms.arrays["forces_spread"] = np.zeros((3, 3)), np.ones((3, 3))
    write(tmp_path / "a.xyz", frames)
    dataset = read_dataset(tmp_path / "a.xyz")
    assert dataset.notes == () and "not used" not in dataset.label_source


def test_exit_statuses_and_messages(nbody):
    write("in.xyz", [*waters(1), Atoms("Kr")])
    command = ("label", "in.xyz", "--with", SPRINGS, "--processes", 1, "--output")
    status, out, _ = nbody(*command, "some.xyz")
    assert status == 0 and "1: RuntimeError: no convergence" in out and "some-failures.xyz" in out
    status, _, err = nbody(*command, "some.xyz")
    assert status == 1 and "some.xyz is there already" in err
    assert nbody(*command, "some.xyz", "--force")[0] == 0
    write("bad.xyz", Atoms("Kr"))
    status, out, err = nbody("label", "bad.xyz", *command[2:], "none.xyz")
    assert status == 1 and "no structure could be labelled" in err and not Path("none.xyz").exists()
    Path("empty.xyz").touch()
    for words, arguments in {
        "the file is empty": ("empty.xyz", *command[2:], "a.xyz"),
        "there is no such file": ("missing.xyz", *command[2:], "a.xyz"),
        "NAME=VALUE": ("in.xyz", "--option", "x", *command[2:], "a.xyz"),
        "there is no module 'nowhere'": ("in.xyz", "--with", "nowhere:springs", "--output", "a.xyz"),
        "no reference": ("in.xyz", "--with", "emt", "--output", "a.xyz"),
        "greater than 0": ("in.xyz", "--time-limit", -1, *command[2:], "a.xyz"),
    }.items():
        status, _, err = nbody("label", *arguments)
        assert status == 1 and words in err and "Traceback" not in err, (words, err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(nbody):
    write("in.xyz", waters(1))
    Path("locked").mkdir(mode=0o500)
    status, _, err = nbody("label", "in.xyz", "--with", SPRINGS, "--output", "locked/out.xyz")
    assert status == 1 and "locked/out.xyz" in err


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_keeps_the_journal_and_says_how_to_go_on(nbody, tmp_path, number):
    write("in.xyz", waters(30))
    options = ("--option", "seconds=0.2", "--option", "log=log", "--no-consistency", "--processes", "2")
    words = ["label", "in.xyz", "--with", SPRINGS, "--output", "out.xyz", *options]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    running = subprocess.Popen(
        [sys.executable, "-c", "from ase_nbody.cli import main; main()", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    while not Path("log").exists() or len(Path("log").read_text().splitlines()) < 3:
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number, err
    assert "of 30 structures are done" in out and "Traceback" not in err
    again = shlex.split(err.splitlines()[-1].split("To go on: ")[1])
    assert again == ["nbody", *words]
    status, out, err = nbody(*again[1:])
    assert status == 0 and "structures were done before" in out and len(read("out.xyz", ":")) == 30
    assert len(Path("log").read_text().splitlines()) <= 32


def test_a_second_interrupt_says_how_to_go_on_too(nbody, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    write("in.xyz", waters(1))
    monkeypatch.setattr(label_run, "labels_of", interrupted)
    status, _, err = nbody("label", "in.xyz", "--with", SPRINGS, "--output", "out.xyz")
    assert status == 130 and "To go on: nbody label in.xyz" in err


def test_lines_of_progress_where_there_is_no_terminal(monkeypatch, capsys):
    clock = iter([0.0, 30.0, 61.0, 62.0])
    monkeypatch.setattr(label_run.time, "monotonic", lambda: next(clock))
    lines = label_run._Lines()
    for done in (2, 4, 6, 8):
        lines(LabelProgress(total=100, resumed=2, done=done, failures=1, computed=done - 2, seconds=10.0 * (done - 2)))
    out, err = capsys.readouterr()
    assert out == "going on: 2 of 100 structures were done before\n"
    assert err == "6/100 · 1 failed · 0.1/s · 0:15:40 left\n"
