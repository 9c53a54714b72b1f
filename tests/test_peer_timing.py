"""benchmarks/peer_timing.py: processes in turns, the best of each in one row, and forces that must agree."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def timing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "peer_timing", raising=False)
    return importlib.import_module("peer_timing")


def row(ms: float, force: float = 1.0) -> dict:
    return {"ms": ms, "first": ms / 10, "forces": [[force, 0.0, 0.0], [0.0, -2.0, 0.0]]}


def test_workers_take_turns(timing, tmp_path):
    notes = tmp_path / "notes"
    code = "import sys; open(sys.argv[1], 'a').write(sys.argv[2]); print('noise'); print(sys.argv[3])"
    commands = {
        name: [sys.executable, "-c", code, str(notes), name, json.dumps(row(n))] for n, name in enumerate("ab", start=1)
    }
    rows = timing.in_turns(commands, 2)
    assert notes.read_text() == "abab" and rows == {"a": [row(1)] * 2, "b": [row(2)] * 2}
    with pytest.raises(SystemExit, match=r"b failed: ZeroDivisionError"):
        timing.in_turns({"b": [sys.executable, "-c", "1 / 0"]}, 1)


def test_the_row_has_the_best_of_each_and_as_many_columns_as_the_head(timing):
    rows = {"ase_nbody": [row(3.0), row(2.0)], "slow": [row(50.0), row(40.0)], "fast": [row(5.0, 1.001), row(9.0)]}
    line = timing.line(rows)
    assert line == "| 2 | 2.0 | 0.2 | 40.0 | 20.0x | 0e+00 | 5.0 | 2.5x | 1e-03 |"
    assert {text.count("|") for text in (line, *timing.head(["slow", "fast"]).splitlines())} == {10}


def test_other_forces_are_no_comparison(timing):
    with pytest.raises(ValueError, match=r"forces of other differ by 5\.0e-03 eV/angstrom"):
        timing.line({"ase_nbody": [row(1.0)], "other": [row(1.0, 1.005)]})
