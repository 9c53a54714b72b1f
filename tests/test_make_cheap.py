"""`data/organic/make_cheap.sh` with small lists: all of its files, after it was killed too, and nothing done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from ase.io import read

SCRIPT = Path(__file__).parent.parent / "data" / "organic" / "make_cheap.sh"
COLUMNS = "name,smiles,family,heavy_atoms,charge,multiplicity,source"
OTHERS = "molecules_halogens_sulfur_phosphorus"
LABELS = [f"{systems}-{teacher}" for systems in ("molecules", "dimers") for teacher in ("ani-1x", "xtb")]


@pytest.fixture
def begun(tmp_path):
    """A function that begins the script in a process group of its own, with `nbody` on its path."""
    (tmp_path / "nbody").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from ase_nbody.cli import main; main()" "$@"\n'
    )
    (tmp_path / "nbody").chmod(0o755)
    lists = tmp_path / "lists"
    lists.mkdir()
    lines = [COLUMNS, "water,O,gases,1,0,1,hand", "methyl,[CH3],radicals,1,0,2,hand"]
    (lists / "molecules.csv").write_text("\n".join(lines) + "\n")
    (lists / "dimers.csv").write_text(f"{COLUMNS}\nwater - ammonia,N.O,dimers: hydrogen bonds,2,0,1,hand\n")
    (lists / f"{OTHERS}.csv").write_text(f"{COLUMNS}\nmethanethiol,CS,thiols,2,0,1,hand\n")
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", SCRIPT, tmp_path / "out", "1", lists, "3"]
    return lambda: subprocess.Popen(command, env=environment, start_new_session=True)


@pytest.mark.slow
@pytest.mark.skipif(any(find_spec(name) is None for name in ("torchani", "tblite", "rdkit")), reason="needs teachers")
def test_all_files_are_made_after_a_kill_and_once(tmp_path, begun):
    out, run = tmp_path / "out", begun()
    while not (out / "molecules.xyz").exists() and run.poll() is None:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    sampled = (out / "molecules.xyz").stat().st_mtime_ns
    assert begun().wait() == 0
    assert (out / "molecules.xyz").stat().st_mtime_ns == sampled
    names = {name: [atoms.info["name"] for atoms in read(out / f"{name}.xyz", ":")] for name in LABELS}
    assert set(names["molecules-xtb"]) == {"water", "methyl"} and set(names["molecules-ani-1x"]) == {"water"}
    assert {atoms.info["name"] for atoms in read(out / f"{OTHERS}-xtb.xyz", ":")} == {"methanethiol"}
    assert not (out / f"{OTHERS}-ani-1x.xyz").exists()  # ANI does not know sulfur
    assert names["dimers-xtb"] == names["dimers-ani-1x"] != []
    assert all("forces_spread" in atoms.arrays for atoms in read(out / "dimers-ani-1x.xyz", ":"))
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert begun().wait() == 0
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
