"""benchmarks/pareto: the front, the table, rows that are kept or tried again, and the requests of its workers."""

from __future__ import annotations

import importlib
import json
import math
from argparse import Namespace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks" / "pareto"
ERRORS = {
    "forces_rmse_mev_per_angstrom": 80.0,
    "forces_mae_mev_per_angstrom": 40.0,
    "energy_rmse_mev_per_atom": 2.5,
}
KINDS = ("shipped", "universal")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of the folder or of benchmarks/peers and forgets it afterwards."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "peers")
    monkeypatch.syspath_prepend(FOLDER)

    def loaded(name: str) -> ModuleType:
        monkeypatch.delitem(importlib.sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.setitem(importlib.sys.modules, name, module)
        return module

    return loaded


def test_front_is_what_nothing_beats_in_both(load):
    front = load("report").front
    points = {"slow": (9.0, 1.0), "fast": (1.0, 5.0), "beaten": (2.0, 5.0), "middle": (3.0, 2.0), "worst": (8.0, 4.0)}
    assert front(points) == ["fast", "middle", "slow"]
    assert front({"tied, worse": (1.0, 6.0), "tied": (1.0, 5.0)}) == ["tied"]


def test_table_has_boxes_in_their_order_and_says_what_failed(load):
    report, systems = load("report"), load("systems")
    model, repeats = "lammps snap", systems.SYSTEMS["Si"].repeats
    times = [
        {"part": "times", "system": "Si", "model": model, "repeat": repeat, "atoms": 8 * repeat**3}
        | {"cpu_us": 10.0 * repeat, "wall_us": 20.0 * repeat}
        for repeat in reversed(repeats)
    ]
    failed = {"part": "errors", "system": "Si", "model": "lammps pod", "failed": "Si_param.pod was not trained"}
    lines = report.table([*times, {"part": "errors", "system": "Si", "model": model, **ERRORS}, failed])
    assert "µs, 512 atoms | µs, 4096 atoms" in lines[3]
    assert "| 80 | 40 | 2.5 | 40 | 80 | 80 |" in next(line for line in lines if line.startswith("| SNAP"))
    assert "- POD: not measured: Si_param.pod was not trained." in lines
    assert "| – | – | – |" in next(line for line in lines if line.startswith("| POD"))


def test_energies_of_another_level_of_theory_are_compared_without_their_shift(load):
    report = load("report")
    errors = ERRORS | {"energy_rmse_mev_per_atom_without_shift": 1.1}
    rows = [{"part": "errors", "system": "water", "model": f"ase_nbody {kind}", **errors} for kind in KINDS]
    lines = [line for line in report.table(rows) if line.startswith("| ours")]
    assert [line.split(" | ")[4] for line in lines] == ["2.5", "1.1"]


def test_a_row_is_measured_once_and_a_failure_again(load, tmp_path, monkeypatch):
    run = load("run")
    calls = []

    def measured(keys, settings, chosen):
        calls.extend(key["model"] for key in keys)
        return [key | ({"failed": "no environment"} if key["model"] == "lammps pod" else ERRORS) for key in keys]

    monkeypatch.setattr(run, "measured", measured)
    models = ["lammps snap", "lammps pod", "mace 64x0e"]
    chosen = Namespace(rows=tmp_path / "rows.jsonl", parts=("errors",), system=["Mo"], model=models, boxes=1)
    run.measure(None, chosen)
    run.measure(None, chosen)
    assert calls == ["lammps snap", "lammps pod", "lammps pod"]  # MACE has random weights, no errors
    chosen.parts = ("times",)
    run.measure(None, chosen)
    run.measure(None, chosen)
    assert calls[3:] == [*models, "lammps pod"]
    parts = [(row["part"], row["model"]) for row in run.rows_of(chosen.rows)]
    assert sorted(parts) == sorted([("errors", name) for name in models[:2]] + [("times", name) for name in models])


def test_again_drops_the_rows_that_are_wanted_and_no_others(load, tmp_path):
    run = load("run")
    chosen = Namespace(rows=tmp_path / "rows.jsonl", parts=("times",), system=["Mo"], model=["lammps pod"], boxes=1)
    wanted, kept = {"part": "times", "system": "Mo", "model": "lammps pod", "repeat": 6}, []
    for other in ({"part": "errors"}, {"system": "Cu"}, {"model": "lammps snap"}, {"repeat": 12}):
        row = wanted | other
        kept.append(row if row["part"] == "times" else {name: row[name] for name in row if name != "repeat"})
    run.write_rows(chosen.rows, [kept[0], wanted, *kept[1:]])
    run.forget(chosen)
    assert run.rows_of(chosen.rows) == kept


def test_models_are_wanted_for_their_systems_only(load):
    run = load("run")
    models = ["lammps pod", "lammps snap", "ase_nbody medium"]
    chosen = Namespace(parts=("errors", "times"), system=["Cu", "water"], model=models, boxes=2)
    keys = [key for keys in run.wanted(chosen) for key in keys]
    assert {key["model"] for key in keys if key["system"] == "water"} == {"lammps pod"}
    assert {key["model"] for key in keys if key["system"] == "Cu"} == set(models)
    repeats = [key["repeat"] for key in keys if key["part"] == "times" and key["model"] == "lammps pod"]
    assert repeats == [5, 1, 10, 2]


def test_models_take_turns_and_the_best_round_counts(load):
    turns = load("turns")
    run = load("run")
    order = []

    class Models:
        def __init__(self, times):
            self.times = iter(times)

        def ask(self, model, do, **request):
            if do == "prepare":
                return {"atoms": 64}
            order.append(model)
            value = next(self.times, None)
            if value is None:
                raise turns.NotMeasuredError("out of memory")
            return {"cpu_us": value, "wall_us": 10 - value, "pair": 0.1 * value}

    keys = [{"model": name, "system": "Si", "repeat": 2} for name in "ab"]
    rows = run.time_rows([Models([9, 4, 2, 3]), Models([1, 1])], keys, Namespace(data=Path(), models=Path(), rounds=3))
    assert order == ["a", "b", "a", "b", "a", "b", "a"]
    assert [rows[0][name] for name in ("cpu_us", "cpu_us_median", "wall_us", "pair")] == [2, 3, 6, 0.2]
    assert rows[0]["steps"] == run.MOST_STEPS and rows[0]["atoms"] == 64
    assert rows[1]["failed"] == "out of memory" and "cpu_us" not in rows[1]


def test_a_slow_model_takes_fewer_rounds(load):
    run = load("run")
    second = 1e6 / 64  # microseconds for each of 64 atoms

    class Models:
        def ask(self, model, do, **request):
            return {"atoms": 64} if do == "prepare" else {"cpu_us": 12 * second, "wall_us": 12 * second}

    keys = [{"model": "slow", "system": "Si", "repeat": 2}]
    (row,) = run.time_rows([Models()], keys, Namespace(data=Path(), models=Path(), rounds=8))
    assert run.PATIENCE == 30.0 and row["steps"] == 1 and row["rounds"] == 3


def test_worker_gives_microseconds_for_each_atom_and_step(load):
    worker = load("worker")
    one = object.__new__(worker.Worker)
    one.atoms, one.steps_of_box = 50, lambda number: {"cpu": 0.001 * number, "wall": 0.003 * number, "pair": 0.9}
    assert one.steps(7) == {"cpu_us": pytest.approx(20.0), "wall_us": pytest.approx(60.0), "pair": 0.9}


def test_velocities_have_the_temperature_and_no_drift(load):
    from ase import units

    systems = load("systems")
    atoms = systems.box("Cu", Path(), 5)
    atoms.set_velocities(systems.velocities(atoms) / (1000 * units.fs))
    assert atoms.get_temperature() == pytest.approx(systems.TEMPERATURE, rel=0.06)  # spread sqrt(2 / 1500) is 4 %
    assert abs(atoms.get_velocities().mean(axis=0)).max() < 1e-9


def test_a_step_moves_atoms_as_far_as_their_thermal_speed(load):
    from ase import units
    from ase.calculators.lj import LennardJones

    atoms = Atoms("H500Ar500", positions=10.0 * np.arange(3000).reshape(1000, 3), calculator=LennardJones(rc=3.0))
    start, timestep = atoms.positions.copy(), 0.5
    load("worker").calculations(atoms, timestep)(1)
    moved = ((atoms.positions - start) ** 2).reshape(2, -1).mean(axis=1) ** 0.5
    expected = np.sqrt(units.kB * 300.0 / atoms.get_masses()[[0, 500]]) * timestep * units.fs
    assert moved == pytest.approx(expected, rel=0.05)  # spread 1 / sqrt(3000) is 2 %


def test_a_box_of_the_liquid_repeats_its_first_structure(load, tmp_path):
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = [molecule("H2O", vacuum=3.0, pbc=True) for _ in range(2)]
    frames[1].positions += 1.0
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((3, 3)))
    (tmp_path / "water").mkdir()
    write(tmp_path / "water" / "water_test.xyz", frames)
    box = load("systems").box("water", tmp_path, 2)
    assert len(box) == 24 and box.calc is None and box.pbc.all()
    assert box.cell.array == pytest.approx(2 * frames[0].cell.array)
    assert box.positions[:3] == pytest.approx(frames[0].positions, abs=1e-7)


def test_request_is_answered_or_says_why_not(load):
    serving = load("serving")
    worker = SimpleNamespace(root=lambda value: {"root": math.sqrt(value)})
    assert serving.answer(worker, {"do": "root", "value": 9.0}) == {"root": 3.0}
    assert "ValueError" in serving.answer(worker, {"do": "root", "value": -1.0})["failed"]


def test_report_writes_between_the_marks_only(load, tmp_path):
    report = load("report")
    row = {"system": "Si", "model": "lammps snap"}
    times = {"part": "times", "repeat": 4, "atoms": 512, "cpu_us": 10.0, "wall_us": 20.0}
    rows = [row | {"part": "errors"} | ERRORS, row | times, row | times | {"model": "nep calorine"}]
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}old\n{report.END}\nafter\n")
    report.write(rows, tmp_path)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert (tmp_path / "pareto.png").stat().st_size > 10_000
    readme.write_text("nothing")
    with pytest.raises(ValueError, match="no lines"):
        report.write(rows, tmp_path)


def test_readme_has_the_table_of_the_rows(load):
    rows = [json.loads(line) for line in (FOLDER / "rows.jsonl").read_text().splitlines()]
    assert "\n".join(load("report").table(rows)) in (FOLDER / "README.md").read_text()
