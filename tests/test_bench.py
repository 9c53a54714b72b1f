"""`nbody bench`: structures, figures, what is printed and written, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write
from ase.neighborlist import neighbor_list
from command_line import run_command, tiny_model
from toy_network import ARCHITECTURE as TOY
from toy_network import toy_potential

from ase_nbody.architectures import architectures
from ase_nbody.calculator import NBodyCalculator
from ase_nbody.cli.runs.bench_figures import (
    BATCHES,
    LEAST_STEPS,
    WARM_UP,
    Dynamics,
    FreshProcess,
    fresh_process,
    measured_dynamics,
    measured_many,
    n_cores,
    parts_of_step,
    peak_memory_mib,
)
from ase_nbody.cli.runs.bench_floor import Floor, floor_of_step
from ase_nbody.cli.runs.bench_report import Report, StructureFigures
from ase_nbody.cli.runs.bench_structures import GAP, default_structures
from ase_nbody.cli.runs.bench_tables import print_report
from ase_nbody.compiler.machine import Machine
from ase_nbody.model_file import model_information, save_model
from ase_nbody.timings import Timings

NETWORK = architectures()["nbody"].network


@dataclass(frozen=True)
class Work:
    multiply_adds: float
    bytes: float


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models"), ("H", "C", "O"))


@pytest.fixture
def nbody(monkeypatch, capsys, tmp_path):
    """Run a command line in an empty folder; gives exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("ase_nbody.compiler.machine.COPIED_BYTES", 2**20)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    threads = torch.get_num_threads()
    yield partial(run_command, monkeypatch, capsys)
    torch.set_num_threads(threads)


def keys(figures: object) -> Iterable[str]:
    if isinstance(figures, dict):
        for key, value in figures.items():
            yield key
            yield from keys(value)
    if isinstance(figures, list):
        for value in figures:
            yield from keys(value)


# Structures


@pytest.mark.parametrize(
    "elements, names",
    [
        (("H", "C", "O"), ["CH3CH2OH", "27 CH3CH2OH"]),
        (("H", "C", "O", "Cu"), ["CH3CH2OH", "27 CH3CH2OH"]),
        (("Si",), ["64 Si", "512 Si"]),
        (("Mg",), ["54 Mg", "432 Mg"]),  # no cubic cell
        (("F", "Cu"), ["108 Cu", "500 Cu"]),  # no crystal of the first
    ],
)
def test_default_structures_suit_the_elements(elements, names):
    structures = default_structures(elements)
    assert list(structures) == names
    small, large = structures.values()
    assert set(small.symbols) == set(large.symbols) <= set(elements)
    assert large.pbc.all() and not large.get_initial_magnetic_moments().any()


def test_molecules_in_the_box_keep_their_distance():
    one, box = default_structures(("H", "C", "O")).values()
    number = np.arange(len(box)) // len(one)
    i, j, distances = neighbor_list("ijd", box, 3.0)
    assert distances[number[i] != number[j]].min() > GAP - 0.01
    assert len(np.unique(number)) == 27


def test_elements_without_structures_are_named():
    with pytest.raises(ValueError, match=r"model's elements \(F\); give a file as --structure"):
        default_structures(("F",))


# Figures


def test_parts_of_a_step_add_up():
    timings = Timings()
    timings.seconds = {"neighbours": 0.002, "edges": 0.003, "messages 1": 0.01, "evaluation": 0.02, "results": 0.004}
    parts, evaluation = parts_of_step(timings, 2, mean=20.0)
    assert parts == pytest.approx({"neighbours": 1.0, "evaluation": 10.0, "results": 2.0, "ASE": 7.0})
    assert evaluation == pytest.approx({"edges": 1.5, "messages 1": 5.0, "other": 3.5})
    assert list(evaluation) == ["edges", "messages 1", "other"]


def test_an_evaluation_without_parts_has_none():
    timings = Timings()
    timings.seconds = {"neighbours": 0.001, "evaluation": 0.002, "results": 0.003}
    assert parts_of_step(timings, 1, mean=10.0)[1] == {}


def dynamics(evaluation: float, step: float) -> Dynamics:
    return Dynamics(10, step, step, 1.0, 1.0, 0.0, 300.0, {"evaluation": evaluation, "ASE": step - evaluation}, {})


def test_the_floor_is_the_slower_of_operations_and_bytes():
    machine = Machine(threads=1, multiply_adds_per_s=1e9, copy_bytes_per_s=1e10)
    work = {"messages 1": Work(3e6, 1e6), "nodes 1": Work(1e6, 19e6)}
    floor = floor_of_step(work, machine, dynamics(8.0, 10.0))
    assert (floor.multiply_adds_per_step, floor.bytes_per_step) == (4e6, 20e6)
    assert floor.floor_ms_per_step == pytest.approx(4.0)  # operations 4 ms, bytes 2 ms
    assert floor.parts_floor_ms_per_step == pytest.approx({"messages 1": 3.0, "nodes 1": 1.9})
    assert floor.evaluation_over_floor == pytest.approx(2.0)
    assert floor.step_over_floor == pytest.approx(2.5)
    slow_memory = Machine(threads=1, multiply_adds_per_s=1e9, copy_bytes_per_s=1e9)
    assert floor_of_step(work, slow_memory, dynamics(8.0, 10.0)).floor_ms_per_step == pytest.approx(20.0)


def test_dynamics_is_counted_after_warming_up():
    calculator = NBodyCalculator(toy_potential(("Cu",)), device="cpu")
    atoms = bulk("Cu", cubic=True)
    atoms.calc = calculator
    figures = measured_dynamics(atoms, 0.05)
    assert figures.steps >= LEAST_STEPS
    assert calculator.evaluations == 1 + WARM_UP + figures.steps
    assert calculator.timings.calls["evaluation"] == figures.steps
    assert sum(figures.parts_ms_per_step.values()) == pytest.approx(figures.mean_ms_per_step)
    assert min(figures.parts_ms_per_step.values()) > 0
    assert figures.us_per_atom_and_step == pytest.approx(1000 * figures.median_ms_per_step / 4)
    steps_per_day = 24 * 3600 * 1000 / figures.median_ms_per_step
    assert figures.ns_per_day == pytest.approx(steps_per_day * 0.5e-6)


def test_lists_are_counted():
    atoms = molecule("H2O")
    atoms.calc = NBodyCalculator(toy_potential(), device="cpu", skin=0.0)
    assert measured_dynamics(atoms, 0.0).lists_built_per_step == 1.0


def test_many_structures_are_displaced_copies():
    calculator = NBodyCalculator(toy_potential(), device="cpu")
    atoms = molecule("H2O")
    before = atoms.positions.copy()
    many = measured_many(calculator, atoms, 0.0)
    assert (atoms.positions == before).all() and atoms.calc is None
    assert list(many.calculate_many_structures_per_s) == list(BATCHES)
    assert min(many.loop_structures_per_s, *many.calculate_many_structures_per_s.values()) > 0
    assert calculator.evaluations == 2 * (sum(BATCHES) + BATCHES[-1])
    assert not np.allclose(calculator.atoms.positions, before, atol=0.01)


def test_memory_and_cores_are_those_of_the_process():
    assert 50 < peak_memory_mib() < 100_000  # torch alone takes more
    assert n_cores() >= 1


def test_a_process_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match=r"failed with status 1: .*absent\.safetensors"):
        fresh_process(tmp_path / "absent.safetensors", "cpu", "float64", 1, molecule("H2O"))


# The command


def test_bench_prints_and_writes_all_figures(nbody, model, monkeypatch):
    counted = {"messages 1": Work(2e6, 1e3), "nodes 1": Work(1e6, 1e3)}
    monkeypatch.setattr(NETWORK, "work", lambda network, graph: counted, raising=False)
    write("water.xyz", molecule("H2O"))
    command = ("bench", model, "--structure", "CH3OH", "--structure", "water.xyz", "--threads", 1, "--seconds", 0.1)
    status, out, err = nbody(*command, "--json", "out/o.json")
    assert (status, err) == (0, "")
    for text in (
        "CH3OH",
        "water.xyz",
        "from import to first forces",
        "neighbours per atom",
        "ns per day",
        "lists built",
    ):
        assert text in out
    for text in ("evaluation", "ASE", "peak multiply-adds", "step / floor", "calculate_many of 64", "out/o.json"):
        assert text in out
    report = json.loads(Path("out/o.json").read_text())
    assert (report["dtype"], report["device"], report["architecture"]) == ("float64", "cpu", "nbody")
    assert [machine["threads"] for machine in report["machines"]] == [1]
    methanol, water = report["structures"]
    assert (methanol["n_atoms"], water["n_atoms"], water["n_edges"]) == (6, 3, 6)
    assert water["floor"]["multiply_adds_per_step"] == 3e6
    floor = 3e9 / report["machines"][0]["multiply_adds_per_s"]
    assert water["floor"]["floor_ms_per_step"] == pytest.approx(floor)
    assert water["floor"]["step_over_floor"] == pytest.approx(water["dynamics"]["mean_ms_per_step"] / floor)
    fresh = report["fresh_process"]
    assert fresh["import_to_first_forces_s"] == pytest.approx(
        fresh["import_s"] + fresh["load_s"] + fresh["first_evaluation_s"]
    )
    assert "NaN" not in Path("out/o.json").read_text()
    timed = {"load_s", "median_ms_per_step", "us_per_atom_and_step", "ns_per_day", "peak_memory_mib", "timestep_fs"}
    assert timed <= set(keys(report))


@pytest.fixture
def quick(monkeypatch):
    """Without the process that measures loading."""
    times = dict.fromkeys(("import_s", "load_s", "first_evaluation_s", "second_evaluation_s"), 1.0)
    fresh = FreshProcess(**times, import_to_first_forces_s=3.0)
    monkeypatch.setattr("ase_nbody.cli.runs.bench_report.fresh_process", lambda *arguments: fresh)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_architecture_that_does_not_count(nbody, quick, monkeypatch, dtype):
    monkeypatch.setattr("ase_nbody.architectures.architectures", lambda: {"toy": TOY})
    potential = toy_potential()
    save_model(
        Path("toy.safetensors"),
        potential,
        model_information(potential, name="toy", reference_energies_source="given"),
    )
    command = ("bench", "toy.safetensors", "--structure", "H2O", "--seconds", 0, "--dtype", dtype)
    status, out, _ = nbody(*command, "--json", "o.json")
    assert status == 0
    assert "peak multiply-adds" in out and "toy does not count" in out and "step / floor" not in out
    assert json.loads(Path("o.json").read_text())["structures"][0]["floor"] is None


def test_threads_follow_the_size_unless_asked_for(nbody, model, quick, monkeypatch):
    monkeypatch.setattr("ase_nbody.cli.inputs.ATOMS_OF_ONE_THREAD", 4)
    monkeypatch.setattr("ase_nbody.cli.runs.bench_report.ATOMS_OF_ONE_THREAD", 4)
    torch.set_num_threads(2)
    command = ("bench", model, "--structure", "H2O", "--structure", "CH4", "--seconds", 0, "--json")
    assert nbody(*command, "o.json")[0] == 0
    report = json.loads(Path("o.json").read_text())
    assert [one["threads"] for one in report["structures"]] == [1, 2]
    assert [one["many"] is None for one in report["structures"]] == [False, True]
    assert [machine["threads"] for machine in report["machines"]] == [1, 2]


def test_parts_of_the_evaluation_stand_below_it_with_their_floors(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "160")
    floor = Floor(1e6, 1e6, 2.0, {"edges": 0.5, "messages 1": 1.5}, 4.0, 5.0)
    parts = {"neighbours": 0.5, "evaluation": 8.0, "results": 0.5, "ASE": 1.0}
    inner = {"edges": 1.0, "messages 1": 6.0, "other": 1.0}
    dynamics = Dynamics(10, 10.0, 10.0, 1.0, 1.0, 0.0, 300.0, parts, inner)
    one = StructureFigures("H2O", 3, 6, 2.0, 1, dynamics, floor, None, 100.0)
    machine, fresh = Machine(1, 1e9, 1e9), FreshProcess(1.0, 1.0, 1.0, 1.0, 3.0)
    general = ("m", "nbody", "cpu", "float64", "0", "0", "cpu", 2, None, 0.5, 300.0)
    print_report(Report(*general, fresh, [machine], [one]))
    table = capsys.readouterr().out.partition("where the time of H2O goes")[2].partition("floor, float64")[0]
    rows = [re.sub(r"[│ ]+", " ", line).split() for line in table.splitlines() if line.startswith("│")]
    assert rows == [
        ["neighbours", "0.500", "5.0"],
        ["evaluation", "8.000", "80.0", "2.000", "4.0"],
        ["edges", "1.000", "10.0", "0.500", "2.0"],
        ["messages", "1", "6.000", "60.0", "1.500", "4.0"],
        ["other", "1.000", "10.0"],
        ["results", "0.500", "5.0"],
        ["ASE", "1.000", "10.0"],
        ["step", "10.000", "100.0"],
    ]


def test_a_busy_machine_is_told(nbody, model, quick, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (0.6 * n_cores(), 0.0, 0.0))
    status, _, err = nbody("bench", model, "--structure", "H2O", "--seconds", 0)
    assert status == 0 and "other programs are running" in err


def test_a_structure_that_gets_hot_is_told(nbody, model, quick, monkeypatch):
    monkeypatch.setattr("ase_nbody.cli.runs.bench_report.HOT", 0.01)
    status, _, err = nbody("bench", model, "--structure", "H2O", "--seconds", 0)
    assert status == 0 and "H2O heated to" in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--structure", "SO2"], "element 'S' is not in this model (H, C, O)"),
        (["--structure", "absent.xyz"], "no file 'absent.xyz'"),
        (["--structure", "text.xyz"], "cannot read a structure"),
        (["--device", "typewriter"], "device 'typewriter' is not there"),
        (["--json", "text.xyz"], "--force"),
    ],
)
def test_bench_refuses(nbody, model, arguments, message):
    Path("text.xyz").write_text("hello\nworld\n")
    status, _, err = nbody("bench", model, "--seconds", 0, *arguments)
    assert status == 1
    assert message in err and "Traceback" not in err
    assert Path("text.xyz").read_text() == "hello\nworld\n"


def test_bench_has_help(nbody):
    status, out, _ = nbody("bench", "--help")
    assert status == 0 and "--seconds" in out
