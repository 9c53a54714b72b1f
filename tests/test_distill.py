"""Distillation: its parts, a whole run with EMT as the teacher, its card, its resuming and its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from command_line import run_command, tiny_model

from ase_nbody import NBodyCalculator
from ase_nbody.cli.card import card
from ase_nbody.data import ErrorReport
from ase_nbody.distillation import (
    DistillationReport,
    DistillationSettings,
    InaccurateStudentError,
    UnstableStudentError,
    distill,
    one_round,
)
from ase_nbody.distillation.growth import Disagreement, disagreement, learnable, picked, validation_numbers
from ase_nbody.distillation.rounds import FALL, Round, best_round, is_last, stalled, training_minutes
from ase_nbody.distillation.speed import Speed, milliseconds_per_step
from ase_nbody.distillation.structures import one_system, write_own_dynamics
from ase_nbody.distillation.student import OWN_DYNAMICS, chosen_round
from ase_nbody.distillation.teacher import Teacher, inversion_error, read_teacher
from ase_nbody.distillation.working_folder import WorkingFolder
from ase_nbody.labelling.references import LevelOfTheory, ase_reference
from ase_nbody.model_file import Envelope
from ase_nbody.model_information import read_information
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest
from ase_nbody.training.stopping import TrainingStoppedError

SMALL = DistillationSettings(
    epochs=40,
    structures=24,
    rounds=2,
    picoseconds=0.2,
    supercell_atoms=8,
    model={"levels": 1, "channels": 8, "cutoff": 4.0},
    processes=1,
    device="cpu",
)
NOWHERE = LevelOfTheory("springs", "test", "1")


def a_round(number: int = 0, error: float = 10.0, failure: str = "", last: bool = False) -> Round:
    return Round(
        number=number,
        n_train=10,
        n_labels=20,
        seconds=60.0,
        check_seconds=6.0,
        errors={"forces_mae_mev_per_angstrom": error},
        mean_force=100.0,
        n_outside=0,
        failure=failure,
        last=last,
    )


def labelled(atoms: Atoms) -> Atoms:
    frame = atoms.copy()
    frame.calc = EMT()
    forces, energy, stress = frame.get_forces(), frame.get_potential_energy(), frame.get_stress()
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces, stress=stress)
    return frame


def coppers(number: int) -> list[Atoms]:
    frames = []
    for seed in range(number):
        atoms = bulk("Cu", a=3.6, cubic=True)
        atoms.rattle(0.05, seed=seed)
        frames.append(labelled(atoms))
    return frames


# What is learnt next


def test_structures_outside_come_first_then_those_of_the_largest_disagreement() -> None:
    report = ErrorReport(n_structures=6, n_compositions=1, n_structures_without_shift=0, errors=())
    compared = Disagreement(report, np.array([0.5, 0.1, 0.9, 0.2, 0.8, 0.7]), 1.0, frozenset({1}))
    assert picked(compared, range(6), 3) == [1, 2, 4]
    assert picked(compared, [0, 3, 5], 2) == [0, 5]
    assert picked(compared, [3, 0], 9) == [0, 3]


def test_disagreement_is_that_of_the_worst_atom_of_each_structure(tmp_path: Path) -> None:
    frames = coppers(3)
    model = tiny_model(tmp_path, ("Cu",))
    compared = disagreement(model, frames, "cpu")
    calculator = NBodyCalculator(model, dtype="float32", outside="ignore")
    labels = [frame.get_forces() for frame in frames]
    ours = [result["forces"] for result in calculator.calculate_many(frames)]
    expected = [np.linalg.norm(a - b, axis=1).max() for a, b in zip(ours, labels, strict=True)]
    assert compared.largest == pytest.approx(expected, rel=1e-4)
    assert compared.mean_force == pytest.approx(np.abs(labels).mean())
    assert compared.outside == frozenset()  # the file says nothing of a training


def test_structures_outside_the_envelope_of_the_student_are_seen(tmp_path: Path) -> None:
    frames = coppers(3)
    distances = [frame.get_all_distances(mic=True)[np.triu_indices(4, 1)].min() for frame in frames]
    closest = sorted(distances)[0] + 1e-3
    model = tiny_model(tmp_path, ("Cu",), envelope=Envelope(closest_distances={"Cu-Cu": closest}))
    assert disagreement(model, frames, "cpu").outside == {int(np.argmin(distances))}


def test_structures_beyond_the_limits_of_sampling_are_not_learnt() -> None:
    fine, high, torn = coppers(3)
    lowest = fine.get_potential_energy() / 4
    forces, energy = np.zeros((4, 3)), fine.get_potential_energy()
    high.calc = SinglePointCalculator(high, energy=energy + 4.1, forces=forces)
    forces[2, 1] = 30.1
    torn.calc = SinglePointCalculator(torn, energy=energy, forces=forces)
    assert learnable([high, fine, torn], lowest) == [1]
    assert learnable([high, fine, torn], lowest + 0.1) == [0, 1]


def test_a_tenth_is_set_aside_and_one_at_least() -> None:
    generator = np.random.default_rng(0)
    assert [len(set(validation_numbers(n, generator))) for n in (0, 1, 3, 40, 100)] == [0, 1, 1, 4, 10]
    assert validation_numbers(100, generator) != validation_numbers(100, generator)


# Rounds


def test_an_error_that_does_not_fall_makes_the_next_round_the_last() -> None:
    falling = [a_round(0, 10.0), a_round(1, 10.0 * FALL - 0.1)]
    standing = [a_round(0, 10.0), a_round(1, 10.0 * FALL + 0.1)]
    assert not stalled(falling) and stalled(standing) and not stalled(falling[:1])
    assert stalled([a_round(0, 5.0), a_round(1, 9.0), a_round(2, 7.0)])  # the best before counts
    assert not is_last(falling, 5, 10.0, 300.0) and is_last(standing, 5, 10.0, 300.0)
    assert is_last(falling, 3, 10.0, 300.0) and is_last(falling, 5, 10.0, 119.0)


def test_rounds_share_the_budget_and_the_last_is_twice_as_long() -> None:
    left, spent, rounds = 600.0, [], []
    for number in range(4):
        spent.append(60.0 * training_minutes(rounds, 4, 10.0, left))
        left -= spent[-1] + 6.0
        rounds.append(a_round(number, 10.0 * 0.5**number))
    assert left == pytest.approx(0.0, abs=1e-6)
    assert spent[-1] == pytest.approx(2 * spent[2], rel=0.05)
    assert training_minutes(rounds[:1], 4, 10.0, 498.0) == pytest.approx(
        (498.0 - 3 * 6.0) / 4 / 60.0
    )  # less three checks
    assert training_minutes(rounds[:1], 4, 10.0, 0.0) == pytest.approx(0.2)  # never none at all


def test_the_best_round_has_the_smallest_error_of_those_that_stayed_whole() -> None:
    rounds = [a_round(0, 9.0), a_round(1, 3.0, failure="at 300 K"), a_round(2, 5.0), a_round(3, 6.0)]
    best = best_round(rounds)
    assert best is not None and best.number == 2
    assert best_round(rounds[1:2]) is None


# Refusals


def test_students_that_are_off_or_explode_are_refused_by_name() -> None:
    with pytest.raises(InaccurateStudentError, match=r"off by 16\.0 meV/Å .* 16% .* allowed are 15%.*--accept-worse"):
        chosen_round([a_round(0, 16.0)], accept_worse=False)
    assert chosen_round([a_round(0, 16.0)], accept_worse=True).number == 0
    assert chosen_round([a_round(0, 14.0)], accept_worse=False).number == 0
    with pytest.raises(UnstableStudentError, match=r"stopped in every round.*at 300 K the force"):
        chosen_round([a_round(0, 1.0, failure="at 300 K the force")], accept_worse=True)


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "two.xyz", [bulk("Cu"), bulk("Al")])
    with pytest.raises(ValueError, match="gives 2 systems, and a student is of one"):
        one_system(str(tmp_path / "two.xyz"))
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        distill("Cu", "ase:EMT", tmp_path / "student.xyz", settings=SMALL)
    with pytest.raises(ValueError, match="nosuch"):
        distill("Cu", "nosuch", tmp_path / "s.safetensors", settings=SMALL)
    with pytest.raises(ValueError, match="ASE has no calculator 'nosuch'"):
        distill("Cu", "ase:nosuch", tmp_path / "s.safetensors", settings=SMALL)
    with pytest.raises(ValueError, match="greater than 0"):
        DistillationSettings(temperatures=(0.0,))
    assert not list(tmp_path.glob("s*"))


def test_a_folder_of_another_distillation_is_refused(tmp_path: Path) -> None:
    folder = WorkingFolder(tmp_path / "s.safetensors")
    state = folder.begun({"seed": 0, "teacher": "a"}, (2, 5.0), force=False)
    assert folder.begun({"seed": 0, "teacher": "a"}, (2, 5.0), force=False) == state
    with pytest.raises(ValueError, match=r"another distillation: seed was 0, now 1\. .*--force"):
        folder.begun({"seed": 1, "teacher": "a"}, (2, 5.0), force=False)
    assert folder.begun({"seed": 1, "teacher": "a"}, (2, 5.0), force=True).origin["seed"] == 1
    (folder.path / "state.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        folder.begun({"seed": 1}, (2, 5.0), force=False)


def test_an_output_that_is_there_is_kept_unless_the_run_was_begun_with_force(tmp_path: Path) -> None:
    output = tmp_path / "s.safetensors"
    output.write_text("mine")
    folder = WorkingFolder(output)
    with pytest.raises(FileExistsError, match="--force"):
        folder.begun({}, (2, 5.0), force=False)
    assert not folder.path.exists()
    folder.begun({}, (2, 5.0), force=True)
    assert folder.begun({}, (2, 5.0), force=False).overwrites


def test_a_larger_budget_goes_on_after_the_last_round(tmp_path: Path) -> None:
    folder = WorkingFolder(tmp_path / "s.safetensors")
    state = folder.begun({}, (2, 5.0), force=False)
    folder.save(state.model_copy(update={"rounds": (a_round(0), a_round(1, last=True))}))
    assert folder.begun({}, (2, 5.0), force=False).is_done
    assert not folder.begun({}, (2, 6.0), force=False).is_done
    assert not folder.begun({}, (2, 6.0), force=False).is_done  # also when called again


# The teacher


class Springs(EMT):
    """Springs to the origin with a force that a mirror image does not turn round."""

    def __init__(self, handed: float) -> None:
        super().__init__()
        self.handed = handed

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = self.results["forces"] + self.handed * np.roll(np.abs(atoms.positions), 1, axis=1)


def test_what_tells_mirror_images_apart_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    same, other = (ase_reference(lambda handed=h: Springs(handed), NOWHERE) for h in (0.0, 0.1))
    atoms = bulk("Cu", cubic=True)
    assert inversion_error(same, atoms) < 1e-9 < 0.01 < inversion_error(other, atoms)
    with pytest.raises(ValueError, match="gives U no label"):
        inversion_error(same, Atoms("U", pbc=True, cell=np.eye(3) * 4))
    model = Teacher("model:universal", {"device": "cpu"}, NOWHERE)
    monkeypatch.setattr("ase_nbody.distillation.teacher.inversion_error", lambda teacher, atoms: 0.02)
    averaged = model.for_structure(atoms)
    assert averaged.options == {"device": "cpu", "average_over_inversion": "true"}
    assert averaged.for_structure(atoms) is averaged
    assert averaged.fast_options == {"device": "cpu", "dtype": "float32"}
    assert Teacher("ase:EMT", {}, NOWHERE).for_structure(atoms).options == {}
    monkeypatch.setattr("ase_nbody.distillation.teacher.inversion_error", lambda teacher, atoms: 1e-5)
    assert model.for_structure(atoms) is model


def test_teachers_are_models_or_references() -> None:
    copper = read_teacher("copper", {}, "cpu")
    assert copper.spec == "model:copper" and copper.is_model and copper.licence
    assert "trained on PBE" in copper.words
    assert copper.fast_calculator() is not None
    emt = read_teacher("ase:EMT", {"asap_cutoff": "True"}, "cpu")
    assert (
        not emt.is_model
        and emt.options == {"asap_cutoff": "True"}
        and emt.words.startswith("EMT, asap_cutoff=True (ase")
    )


# Dynamics and speed


def test_own_dynamics_covers_temperatures_and_cells_and_says_where_it_was_stopped(tmp_path: Path) -> None:
    start = bulk("Cu", a=3.6, cubic=True)
    model = tiny_model(tmp_path, ("Cu",), envelope=Envelope(force_max=50.0))
    settings = SMALL.model_copy(update={"temperatures": (10.0, 20.0)})
    files = tmp_path / "frames.xyz", tmp_path / "end.json"
    write_own_dynamics(model, start, settings, 1, 8, files, StopRequest())
    frames = read(files[0], ":")
    assert len(frames) == 8 and files[1].read_text() == "[]\n"
    assert [frame.info["sampled_by"] for frame in frames] == ["md 10 K"] * 4 + ["md 20 K"] * 4
    assert len({round(frame.get_volume(), 6) for frame in frames}) == 2
    settings = SMALL.model_copy(update={"temperatures": (1e8,)})  # the student explodes
    write_own_dynamics(model, start, settings, 1, 8, files, StopRequest())
    assert "at 1e+08 K" in files[1].read_text()
    assert read(files[0], ":")[-1].info["sampled_by"] == "md, stopped"
    with pytest.raises(SimulationStoppedError):
        write_own_dynamics(model, start, SMALL, 1, 8, files, StopRequest(2))


def test_speed_is_that_of_a_step() -> None:
    atoms = bulk("Cu", cubic=True)
    before = atoms.positions.copy()
    assert 0.01 < milliseconds_per_step(EMT(), atoms, 300.0, 1.0, 0.05) < 1000.0
    assert (atoms.positions == before).all()
    speed = Speed(64, 2.0, 50.0)
    assert speed.ratio == 25.0 and "25 times as long" in str(speed)


# A whole run


@pytest.fixture(scope="module")
def stopped_and_gone_on(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillationReport, list[str]]:
    """A student of EMT copper whose second training was interrupted at its first step, and went on."""
    output = tmp_path_factory.mktemp("distill") / "copper.safetensors"
    request, lines = StopRequest(), []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("round 2: training"):
            request.signal = 2

    settings = SMALL.model_copy(update={"accept_worse": True})
    with pytest.raises(TrainingStoppedError):
        distill("Cu", "ase:EMT", output, settings=settings, say=say, stop=request)
    assert not output.exists()
    first = (output.with_suffix(".distill") / "student-0.safetensors").stat().st_mtime_ns
    report = distill("Cu", "ase:EMT", output, settings=settings, command="nbody distill", say=lines.append)
    assert (report.folder / "student-0.safetensors").stat().st_mtime_ns == first
    return output, report, lines


def test_a_student_is_far_better_than_no_forces(stopped_and_gone_on: Any) -> None:
    output, report, _ = stopped_and_gone_on
    frames = coppers(5)
    student = NBodyCalculator(output, outside="ignore")
    ours = np.array([result["forces"] for result in student.calculate_many(frames)])
    labels = np.array([frame.get_forces() for frame in frames])
    assert np.abs(ours - labels).mean() < 0.5 * np.abs(labels).mean()
    assert report.chosen.relative_error < 0.5 and report.speed.student > 0


def test_rounds_grow_by_the_structures_of_the_largest_disagreement(stopped_and_gone_on: Any) -> None:
    _, report, lines = stopped_and_gone_on
    first, second = report.rounds
    assert (first.last, second.last) == (False, True) and first.n_labels < second.n_labels
    assert first.n_train < second.n_train <= SMALL.structures
    folder = WorkingFolder(report.output)
    frames = read(folder.labelled_dynamics(0), ":")
    compared = disagreement(folder.student(0), frames, "cpu")
    assert first.errors == compared.report.to_json_dict()
    learnt = {frame.positions.round(6).tobytes() for frame in read(folder.train(1), ":")}
    aside = {frame.positions.round(6).tobytes() for frame in read(folder.valid(1), ":")}
    assert not learnt & aside
    keys = [frame.positions.round(6).tobytes() for frame in frames]
    chosen = {n for n, key in enumerate(keys) if key in learnt}
    left = {n for n, key in enumerate(keys) if key not in learnt | aside}
    rank = {n: (n not in compared.outside, -compared.largest[n]) for n in range(len(frames))}
    assert chosen and left and max(rank[n] for n in chosen) < min(rank[n] for n in left)
    assert len([line for line in lines if line.startswith("round 1: training")]) == 1  # not again after the stop


def test_the_card_says_whose_student_it_is(stopped_and_gone_on: Any) -> None:
    output, report, _ = stopped_and_gone_on
    information = read_information(output)
    assert information.name == "copper" and information.method.startswith("student of EMT (ase")
    assert "Cu at 300 K" in information.purpose and "anything but Cu" in information.not_for
    errors = information.errors[OWN_DYNAMICS]
    for name in ("forces_mae_mev_per_angstrom", "energy_mae_mev_per_atom", "stress_mae_mev_per_cubic_angstrom"):
        assert errors[name] > 0
    record = information.training["distillation"]
    assert record["temperatures"] == [300.0] and record["system"] == "Cu" and len(record["rounds"]) == 2
    assert record["ms_per_step"]["student"] > 0 and information.training["command"] == "nbody distill"
    assert information.envelope.closest_distances.keys() == {"Cu-Cu"}
    shown = card(information, output.name, "0")
    assert f"| student of | {report.teacher} for Cu at 300 K |" in shown and OWN_DYNAMICS in shown
    squeezed = bulk("Cu", a=2.6, cubic=True)
    assert not NBodyCalculator(output, outside="ignore").get_envelope(squeezed).inside
    assert report.teacher.startswith("EMT")


def test_a_run_that_is_done_is_not_done_again(stopped_and_gone_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    output, report, _ = stopped_and_gone_on
    with pytest.raises(FileExistsError, match=r"copper\.safetensors is there already"):
        distill("Cu", "ase:EMT", output, settings=SMALL)
    kept = output.read_bytes()
    output.unlink()
    for name in ("train", "label", "write_sample", "write_own_dynamics"):
        monkeypatch.setattr(one_round, name, None)
    settings = SMALL.model_copy(update={"accept_worse": True})
    try:
        with pytest.raises(ValueError, match="seed was 0, now 1"):
            distill("Cu", "ase:EMT", output, settings=settings.model_copy(update={"seed": 1}))
        again = distill("Cu", "ase:EMT", output, settings=settings, command="nbody distill")
        assert again.rounds == report.rounds
    finally:
        output.write_bytes(kept)


# The command


def test_the_command_refuses_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, told in (
        (("--teacher", "nosuch", "--output", "s.safetensors"), "nosuch"),
        (("--teacher", "ase:EMT", "--output", "s.xyz"), "must end in .safetensors"),
        (("--teacher", "ase:EMT", "--output", "s.safetensors", "--temperature", -1), "greater than 0"),
        (("--teacher", "ase:EMT", "--output", "s.safetensors", "--preset", "huge"), "'small', 'medium' or 'large'"),
        (("--teacher", "ase:EMT", "--output", "s.safetensors", "--set", "levels"), "--set takes NAME=VALUE"),
    ):
        status, _, error = run_command(monkeypatch, capsys, "distill", "Cu", *words)
        assert status == 1 and error.startswith("Error: ") and told in error, error
    assert not list(tmp_path.iterdir())


def test_the_command_prints_a_table_and_the_speed(
    stopped_and_gone_on: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, report, _ = stopped_and_gone_on
    asked = {}

    def made(structure: str, teacher: str, output: Path, **given: Any) -> DistillationReport:
        asked.update(given, structure=structure, teacher=teacher)
        return report

    monkeypatch.setattr("ase_nbody.cli.runs.distill_run.student_of", made)
    words = ("Cu", "--teacher", "ase:EMT", "--temperature", 300, "--temperature", 600, "--set", "levels=1")
    words += ("--option", "asap_cutoff=True", "--minutes", 2, "--output", "s.safetensors")
    monkeypatch.setattr("sys.argv", ["nbody", "distill"])
    from ase_nbody.cli import app

    app(["distill", *map(str, words)], standalone_mode=False)
    out = capsys.readouterr().out
    settings = asked["settings"]
    assert settings.temperatures == (300.0, 600.0) and settings.model == {"levels": 1} and settings.minutes == 2.0
    assert settings.options == {"asap_cutoff": "True"} and settings.device == "auto"
    rows = [line.split() for line in out.splitlines()]
    assert ["1", str(report.rounds[0].n_train)] in [row[:2] for row in rows]
    assert f"{report.rounds[1].error:.2f}" in out and "times as long" in out


@pytest.mark.slow
def test_a_whole_run_by_the_clock_gives_a_good_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--teacher", "ase:EMT", "--minutes", 3, "--structures", 120, "--supercell-atoms", 32, "--picoseconds", 1)
    status, out, error = run_command(
        monkeypatch, capsys, "distill", "Cu", *words, "--processes", 1, "--output", "copper.safetensors"
    )
    assert status == 0, error
    information = read_information(tmp_path / "copper.safetensors")
    assert information.training["distillation"]["relative_force_error"] < 0.15
    assert "learnt" in out and information.errors[OWN_DYNAMICS]["forces_mae_mev_per_angstrom"] < 40.0
