"""Labelling: the right labels in the right order, failures apart, checks, files, and runs that go on."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import read
from killed_labelling import run_and_kill
from label_teacher import Doubtful, Springs, structures

from ase_nbody.data import read_dataset
from ase_nbody.labelling import (
    Checks,
    Failure,
    InconsistentLabelsError,
    Label,
    LabellingStoppedError,
    LabelSettings,
    label,
    reference,
)
from ase_nbody.labelling.checks import inconsistency
from ase_nbody.labelling.frames import kept_frame
from ase_nbody.labelling.journal import Journal, JournalEntry, JournalError, structure_hash
from ase_nbody.labelling.judgement import judged
from ase_nbody.labelling.labelled_files import LabelledFiles
from ase_nbody.labelling.report import counted_reasons
from ase_nbody.labelling.tasks import computed, tasks_of
from ase_nbody.stopping import StopRequest

SPRINGS = "label_teacher:springs"
TESTS = Path(__file__).parent


def one_process(**options):
    return LabelSettings(processes=1, **options)


def check_labels(frames, originals):
    """Positions and names of the originals, and the labels that springs give."""
    assert len(frames) == len(originals)
    for frame, atoms in zip(frames, originals, strict=True):
        assert frame.info["name"] == atoms.info["name"]
        np.testing.assert_allclose(frame.positions, atoms.positions, atol=1e-7)
        again = atoms.copy()
        again.calc = Springs()
        assert frame.get_potential_energy() == pytest.approx(again.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frame.get_forces(), again.get_forces(apply_constraint=False), atol=1e-7)
        if atoms.pbc.any():
            np.testing.assert_allclose(frame.get_stress(), again.get_stress(), atol=1e-9)


@pytest.mark.parametrize("name", ["out put.xyz", "out.xyz.gz", "out.db"])
def test_labels_in_the_order_of_the_input_and_read_back(tmp_path, name):
    originals = structures(9)
    progress = []
    report = label(originals, SPRINGS, tmp_path / name, settings=LabelSettings(processes=2), observer=progress.append)
    assert (report.n_labels, report.n_failures, report.n_compared) == (9, 0, 5)
    assert [p.done for p in progress] == list(range(10)) and progress[-1].total == 9
    dataset = read_dataset(tmp_path / name)
    assert "energy from the calculator (9 of 9 frames)" in dataset.label_source
    if name.endswith(".gz"):
        with gzip.open(tmp_path / name, "rt") as file:
            frames = read(file, ":", format="extxyz")
    elif name.endswith(".db"):
        rows = list(connect(tmp_path / name).select(level_of_theory=SPRINGS.replace(":", ":")))
        frames = [row.toatoms(add_additional_information=True) for row in rows]
        for frame in frames:
            frame.info |= frame.info.pop("key_value_pairs")
        assert connect(tmp_path / name).metadata["level_of_theory"]["version"] == "1.5"
    else:
        frames = read(tmp_path / name, ":")
    check_labels(frames, originals)
    assert {(f.info["level_of_theory"], f.info["program"]) for f in frames} == {(SPRINGS, "label_teacher 1.5")}
    assert dataset.labels[3].stress is not None and dataset.labels[0].stress is None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, LabelledFiles(Path(name)).sidecar.name])
    facts = json.loads(LabelledFiles(tmp_path / name).sidecar.read_text())
    assert facts["level_of_theory"]["program"] == "label_teacher" and facts["n_labels"] == 9


def test_structures_that_fail_stand_apart_with_their_reason(tmp_path):
    originals = structures(4)
    bad = [Atoms(symbol, info={"name": symbol}) for symbol in ("He", "Ne", "Ar", "Kr", "Xe")]
    nan, close, empty = molecule("H2O"), Atoms("H2"), Atoms()
    nan.positions[1, 2] = np.nan
    charged = molecule("CH4")
    charged.info |= {"charge": 1, "name": "ion"}
    mixed = [originals[0], *bad[:3], originals[1], *bad[3:], nan, close, empty, charged, *originals[2:]]
    report = label(mixed, SPRINGS, tmp_path / "out.xyz", settings=LabelSettings(processes=2, time_limit=3))
    check_labels(read(tmp_path / "out.xyz", ":"), originals)
    reasons = {frame.info["number"]: frame.info["reason"] for frame in read(tmp_path / "out-failures.xyz", ":")}
    wanted = {
        1: "exit status 3",
        2: "signal 11 (SIGSEGV)",
        3: "time limit",
        5: "RuntimeError: no convergence",
        6: "not finite: forces",
        7: "positions are not finite",
        8: "angstrom apart",
        9: "no atoms",
        10: "neither charge nor spin",
    }
    assert reasons.keys() == wanted.keys() and report.n_failures == 9
    for number, words in wanted.items():
        assert words in reasons[number]
    assert sum(report.failures.values()) == 9


def test_equal_structures_are_computed_once(tmp_path):
    log = tmp_path / "log"
    originals = structures(3) * 3
    for n, atoms in enumerate(originals):
        atoms = originals[n] = atoms.copy()
        atoms.info["name"] = f"copy {n}"
    settings = one_process(options={"log": str(log)}, checks=Checks(consistency=False))
    report = label(originals, SPRINGS, tmp_path / "out.xyz", settings=settings)
    assert len(log.read_text().splitlines()) == 3 and report.progress.computed == 3 and report.n_labels == 9
    check_labels(read(tmp_path / "out.xyz", ":"), originals)


def test_charge_makes_another_structure():
    neutral, charged = molecule("CH4"), molecule("CH4")
    charged.info["charge"] = 1
    moved = molecule("CH4")
    moved.positions[0, 0] += 1e-9
    magnetic = molecule("CH4")
    magnetic.set_initial_magnetic_moments([1, 0, 0, 0, 0])
    named = molecule("CH4")
    named.info["name"] = "methane"
    hashes = [structure_hash(atoms) for atoms in (neutral, charged, moved, magnetic)]
    assert len(set(hashes)) == 4 and structure_hash(named) == hashes[0]


def test_labels_of_the_input_are_replaced_and_the_rest_is_kept(tmp_path):
    atoms = molecule("H2O")
    atoms.info |= {"name": "wäter", "REF_energy": 7.0, "weight": 2.5, "tags of mine": ["a", 1], "object": object()}
    atoms.arrays["DFT_forces"] = np.ones((3, 3))
    atoms.arrays["layer"] = np.arange(3)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=5.0, forces=np.ones((3, 3)))
    report = label([atoms], SPRINGS, tmp_path / "out.xyz", settings=one_process())
    assert report.dropped == ("DFT_forces", "REF_energy", "object", "the calculator's results")
    frame = read(tmp_path / "out.xyz")
    check_labels([frame], [atoms])
    assert frame.info["weight"] == 2.5 and frame.info["tags of mine"] == ["a", 1] and not frame.constraints
    assert (frame.arrays["layer"] == np.arange(3)).all()
    assert "REF_energy" not in frame.info and "DFT_forces" not in frame.arrays
    assert atoms.info["REF_energy"] == 7.0 and atoms.calc.results["energy"] == 5.0  # the input is not changed
    assert np.linalg.norm(frame.get_forces()[0]) > 0  # that of the fixed atom too


@pytest.mark.parametrize(
    "options, words",
    [
        ({"factor": "1.1"}, "along the direction of the forces the energy changes by"),
        ({"stress_factor": "-1"}, "with a strain along the stress"),
    ],
)
def test_energies_that_do_not_fit_stop_the_run_and_lose_nothing(tmp_path, options, words):
    originals = [atoms for atoms in structures(40) if atoms.pbc.any()]
    with pytest.raises(InconsistentLabelsError, match=words):
        label(originals, SPRINGS, tmp_path / "out.xyz", settings=one_process(options=options))
    with pytest.raises(InconsistentLabelsError, match="5 of 5 structures"):
        label(originals, SPRINGS, tmp_path / "out.xyz", settings=one_process(options=options))
    relaxed = one_process(options=options, checks=Checks(consistency=False))
    report = label(originals, SPRINGS, tmp_path / "out.xyz", settings=relaxed)
    assert report.n_labels == len(originals) and report.progress.resumed == 5


def test_consistent_energies_pass_also_without_forces():
    springs = reference(SPRINGS)
    for atoms in (*structures(8), Atoms("H"), bulk("Cu")):
        (outcome,) = springs.label([atoms])
        assert inconsistency(atoms, outcome, springs, Checks()) == ""
    wrong = Label(outcome.energy, outcome.forces + 0.5, outcome.stress)
    assert "the forces say" in inconsistency(atoms, wrong, springs, Checks())


def test_judgement_of_single_labels():
    atoms = molecule("H2O")
    forces = np.array([[1.0, 0, 0], [-0.5, 0, 0], [-0.5, 0, 0]])
    good = Label(-1.0, forces, None, {}, {"forces_spread": np.array([[0.02] * 3, [0.0] * 3, [0.01] * 3])})
    assert judged(atoms, good, Checks()) is good
    assert judged(atoms, good, Checks(drop_spread=35)) is good

    def reason(value, **checks):
        outcome = judged(atoms, value, Checks(**checks))
        assert isinstance(outcome, Failure)
        return outcome.reason

    assert "disagrees by 35 meV" in reason(good, drop_spread=34)
    assert "sum to 0.06 eV" in reason(Label(0.0, forces + np.array([0.02, 0, 0])))
    assert "not finite: energy" in reason(Label(np.inf, forces))
    assert "not finite: stress" in reason(Label(0.0, forces, np.full(6, np.nan)))
    assert "shape" in reason(Label(0.0, forces[:2]))
    assert "is no force" in reason(Label(0.0, 1e6 * forces))
    assert "is no energy" in reason(Label(1e9, forces))
    with pytest.raises(ValueError, match="no spread"):
        judged(atoms, Label(0.0, forces), Checks(drop_spread=10))


def test_the_journal_returns_what_it_was_given(tmp_path):
    label_ = Label(-1.25, np.random.default_rng(0).normal(size=(4, 3)), np.arange(6.0), {"a": "é", "b": 1.5})
    spread = Label(1e-300, np.zeros((1, 3)), None, {}, {"forces_spread": np.ones((1, 3)), "x": np.arange(1.0)})
    with Journal(tmp_path / "j") as journal:
        journal.claim({"reference": "a"}, [b"1", b"2", b"3"], force=False)
        journal.add(
            [(b"1", JournalEntry(label_, "")), (b"2", JournalEntry(spread)), (b"3", JournalEntry(Failure("é")))]
        )
    with Journal(tmp_path / "j") as journal:
        assert journal.hashes() == {b"1", b"2", b"3"}
        for key, value, consistency in ((b"1", label_, ""), (b"2", spread, None)):
            entry = journal.entry(key)
            assert entry.consistency == consistency and entry.outcome.energy == value.energy
            assert (entry.outcome.forces == value.forces).all() and dict(entry.outcome.extra_info) == value.extra_info
            assert (entry.outcome.stress is None) == (value.stress is None)
            assert entry.outcome.extra_arrays.keys() == value.extra_arrays.keys()
        assert (journal.entry(b"1").outcome.stress == np.arange(6.0)).all()
        assert journal.entry(b"2").outcome.extra_arrays["forces_spread"].shape == (1, 3)
        assert journal.entry(b"3").outcome == Failure("é")
        journal.drop_failures()
        assert journal.hashes() == {b"1", b"2"}


def test_a_journal_belongs_to_one_process_and_one_run(tmp_path):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.claim({"reference": "a", "level": {"version": "1"}}, [b"1"], force=False)
        journal.add([(b"1", JournalEntry(Failure("no")))])
        with pytest.raises(BlockingIOError, match="another nbody label is at work"):
            Journal(path)
    with Journal(path) as journal:
        journal.claim({"reference": "a", "level": {"version": "1"}}, [b"1", b"2"], force=False)  # one more
        with pytest.raises(JournalError, match="level version was '1', now '2'"):
            journal.claim({"reference": "a", "level": {"version": "2"}}, [b"1"], force=False)
        with pytest.raises(JournalError, match="1 of these structures are not in the input"):
            journal.claim({"reference": "a", "level": {"version": "1"}}, [b"2"], force=False)
        journal.claim({"reference": "b"}, [b"1"], force=True)
        assert journal.hashes() == set()
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(JournalError, match="is no journal"):
        Journal(tmp_path / "text")


def test_a_stopped_run_goes_on_and_a_finished_one_is_not_overwritten(tmp_path):
    originals, output = structures(12), tmp_path / "out.xyz"
    stop, log = StopRequest(), tmp_path / "log"
    settings = LabelSettings(processes=2, options={"log": str(log)}, checks=Checks(consistency=False))

    def watch(progress):
        if progress.done >= 4:
            stop.signal = signal.SIGTERM

    with pytest.raises(LabellingStoppedError, match="signal 15") as stopped:
        label(originals, SPRINGS, output, settings=settings, observer=watch, stop=stop)
    done = stopped.value.progress.done
    assert 4 <= done <= 6 and not output.exists()
    with pytest.raises(JournalError, match=r"reference was .* now 'ase:EMT'"):
        label(originals, "ase:EMT", output, settings=settings)
    more = [*originals, *structures(2, seed=1)]
    report = label(more, SPRINGS, output, settings=settings)
    assert report.progress.resumed == done and len(log.read_text().splitlines()) == 14
    check_labels(read(output, ":"), more)
    with pytest.raises(FileExistsError, match="--force"):
        label(more, SPRINGS, output, settings=settings)
    assert not LabelledFiles(output).journal.exists()
    label(originals[:1], SPRINGS, output, settings=LabelSettings(processes=1, force=True))
    check_labels(read(output, ":"), originals[:1])


def test_failures_are_tried_again_when_asked_for(tmp_path):
    originals, log = [*structures(3), Atoms("Kr")], tmp_path / "log"
    settings = one_process(options={"log": str(log)}, checks=Checks(consistency=False))
    with Journal(tmp_path / "out.xyz.journal"):
        pass

    def broken(progress):
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(originals, SPRINGS, tmp_path / "out.xyz", settings=settings, observer=broken)
    again = settings.model_copy(update={"retry_failures": True})
    assert label(originals, SPRINGS, tmp_path / "out.xyz", settings=again).n_failures == 1
    assert len(log.read_text().splitlines()) == 5


def test_wrong_requests_are_refused_before_anything_is_computed(tmp_path):
    (atoms,) = structures(1)
    with pytest.raises(ValueError, match="no structures"):
        label([], SPRINGS, tmp_path / "out.xyz")
    with pytest.raises(ValueError, match=r"\.xyz\.gz, .*not 'out\.cif'"):
        label([atoms], SPRINGS, tmp_path / "out.cif")
    with pytest.raises(ValueError, match="no calculator of ASE"):
        label([atoms], "label_teacher:no_calculator", tmp_path / "out.xyz")
    with pytest.raises(ValueError, match="cannot be made with colour=3"):
        label([atoms], SPRINGS, tmp_path / "out.xyz", settings=one_process(options={"colour": "3"}))
    (tmp_path / "out.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"out\.json is there already"):
        label([atoms], SPRINGS, tmp_path / "out.xyz")
    with pytest.raises(IsADirectoryError):
        label([atoms], SPRINGS, folder_named(tmp_path / "folder.xyz"))
    assert [path.name for path in tmp_path.iterdir()] in (["out.json", "folder.xyz"], ["folder.xyz", "out.json"])


def folder_named(path):
    path.mkdir()
    return path


def test_batches_that_crash_are_tried_one_by_one():
    frames, numbers = [Atoms("H")] * 12, [0, 1, *range(3, 12)]
    tasks = list(tasks_of(frames, numbers, 4, Checks(consistency=False)))
    assert [task.numbers for task in tasks] == [(0, 1, 3, 4), (5, 6, 7, 8), (9, 10, 11)]
    found = {}
    for task, entries in computed(tasks, Doubtful(), processes=2, time_limit=None, stop=StopRequest()):
        found |= dict(zip(task.numbers, entries, strict=True))
    assert sorted(found) == numbers
    assert found.pop(5).outcome == Failure("the process ended with exit status 1")
    assert all(entry.outcome.energy == n for n, entry in found.items())


def test_the_sample_that_is_looked_at_comes_first_and_is_spread_out():
    frames = [Atoms("H")] * 7000
    tasks = list(tasks_of(frames, range(7000), 256, Checks()))
    assert [task.numbers for task in tasks[:7]] == [(1000 * n,) for n in range(7)]
    assert all(task.checks for task in tasks[:7]) and not any(task.checks for task in tasks[7:])
    assert sorted(n for task in tasks for n in task.numbers) == list(range(7000))
    assert len(list(tasks_of(frames, [4, 2], 256, Checks()))) == 2


def test_an_empty_journal_belongs_to_nobody(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.claim({"reference": "a"}, [b"1"], force=False)
        journal.claim({"reference": "b"}, [b"1"], force=False)
        journal.add([(b"1", JournalEntry(Failure("no")))])
        with pytest.raises(JournalError, match="reference was 'b', now 'a'"):
            journal.claim({"reference": "a"}, [b"1"], force=False)


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.claim({"reference": "a"}, [b"1", b"2"], force=False)
        journal.add([(b"1", JournalEntry(Failure("no")))])
        journal._database.execute("PRAGMA max_page_count = 1")  # SQLite's own way to a full disk
        with pytest.raises(OSError, match=r"cannot write .*j: database or disk is full; what it holds is kept"):
            journal.add([(b"2", JournalEntry(Label(0.0, np.zeros((10000, 3)))))])
    with Journal(tmp_path / "j") as journal:
        assert journal.hashes() == {b"1"}


def test_no_label_leaves_no_output(tmp_path):
    report = label([Atoms("Kr")] * 2, SPRINGS, tmp_path / "out.xyz", settings=one_process())
    assert report.n_labels == 0 and report.failures == {"RuntimeError: no convergence": 2}
    assert not (tmp_path / "out.xyz").exists() and len(read(tmp_path / "out-failures.xyz", ":")) == 2


def test_reasons_that_differ_in_numbers_are_one():
    reasons = ["sum to 0.3 eV, not 0.05", "sum to 1e-1 eV, not 0.05", "H2O is wrong", "C2 is wrong"]
    assert counted_reasons(reasons) == {"sum to … eV, not …": 2, "H2O is wrong": 1, "C2 is wrong": 1}


def test_frames_that_are_kept_do_not_change_the_input():
    atoms = molecule("H2O")
    atoms.info |= {"energy": 1.0, "force_field": "GAFF"}
    kept = kept_frame(atoms)
    assert kept.info == {"force_field": "GAFF"} and atoms.info["energy"] == 1.0


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_gives_the_same_labels(tmp_path, kills, monkeypatch):
    count, options = 12 * kills, {"log": "log", "seconds": "0.01"}
    for _ in range(kills):
        assert run_and_kill(tmp_path, structures(count), SPRINGS, 9, **options) == -signal.SIGKILL
        assert not (tmp_path / "out.xyz").exists() and not (tmp_path / "out.json").exists()
    assert run_and_kill(tmp_path, structures(count), SPRINGS, 10 * count, **options) == 0
    inputs = read(tmp_path / "in.xyz", ":")
    (tmp_path / "whole").mkdir()
    monkeypatch.chdir(tmp_path / "whole")  # where it has a log of its own
    label(inputs, SPRINGS, tmp_path / "whole.xyz", settings=one_process(options=options))
    check_labels(read(tmp_path / "out.xyz", ":"), inputs)
    assert (tmp_path / "out.xyz").read_bytes() == (tmp_path / "whole.xyz").read_bytes()
    calculations = len((tmp_path / "log").read_text().splitlines())
    looks = 5 * 5 * (kills + 1)  # structures of each start that are looked at, calculations each
    assert calculations <= count + looks + 3 * kills  # a kill loses what two processes have in hand
