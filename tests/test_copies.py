"""Copies of a structure are not learnt and held out at once, and tests that are learnt are told."""

from __future__ import annotations

import numpy as np
import pytest
from adaptation import dataset_of, frames_of, start_potential, teacher_of
from ase import Atoms
from ase.build import bulk, molecule

from ase_nbody.calibration import calibrate
from ase_nbody.calibration.errors import CalibrationError
from ase_nbody.data import labelled_dataset, split
from ase_nbody.data.copies import copy_numbers, learnt_words
from ase_nbody.meta.held_out import folds
from ase_nbody.meta.settings import AdaptationSettings


def rattled(n: int, atoms: Atoms | None = None) -> list[Atoms]:
    frames = []
    for seed in range(n):
        frames.append((atoms or molecule("CH3OH")).copy())
        frames[-1].rattle(0.05, seed=seed)
    return frames


def test_copies_are_told_from_what_is_only_alike() -> None:
    (atoms,) = rattled(1)
    moved, swapped, periodic = atoms.copy(), atoms.copy(), atoms.copy()
    moved.positions[2, 1] += 1e-5
    swapped.numbers[[0, 1]] = swapped.numbers[[1, 0]]
    periodic.cell, periodic.pbc = np.eye(3) * 9.0, True
    rounded = Atoms(atoms.numbers, np.round(atoms.positions, 8))
    assert copy_numbers([atoms, moved, swapped, periodic, rounded]).tolist() == [0, 1, 2, 3, 0]
    assert copy_numbers([bulk("Cu", a=3.6), bulk("Cu", a=3.61), bulk("Cu", a=3.6)]).tolist() == [0, 1, 0]
    assert copy_numbers([Atoms("H", [[0.0, 0, 0]]), Atoms("H", [[-0.0, 0, -1e-9]])]).tolist() == [0, 0]


@pytest.mark.parametrize(("n_different", "times"), [(50, 1), (6, 5), (10, 3), (2, 12)])
def test_folds_hold_out_all_copies_of_a_structure(n_different: int, times: int) -> None:
    frames = rattled(n_different) * times
    numbers = copy_numbers(frames)
    parts = folds(frames, AdaptationSettings())
    assert len(parts) == (1 if n_different == 50 else 3 if n_different > 2 else 2)
    for part in parts:
        assert not set(numbers[list(part.learnt)]) & set(numbers[list(part.held_out)])
        assert sorted(part.learnt + part.held_out) == list(range(len(frames)))
        assert len(part.held_out) == times * max(1, round(0.2 * n_different))


def test_copies_of_one_structure_cannot_be_learnt_and_held_out() -> None:
    with pytest.raises(ValueError, match=r"1 structure\(s\), copies aside, cannot be learnt and held out"):
        folds(rattled(1) * 24, AdaptationSettings())
    data = labelled_dataset(frames_of(teacher_of(start_potential()), 1) * 8)
    with pytest.raises(CalibrationError, match=r"1 structure\(s\), isolated atoms and copies aside"):
        calibrate.posterior_of_others(start_potential(), data)
    with pytest.raises(ValueError, match="every structure is there more than 3 times"):
        split(data, 3, 0)


def test_standard_deviations_are_by_structures_that_have_no_copy_among_the_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts: list[tuple[list[int], list[int]]] = []
    monkeypatch.setattr(calibrate, "posterior_in_turn", lambda potential, data, folds, errors: parts.extend(folds))
    start = start_potential()
    frames = frames_of(teacher_of(start), 7) * 3
    calibrate.posterior_of_others(start, labelled_dataset(frames))
    numbers = copy_numbers(frames)
    assert len(parts) == calibrate.FOLDS
    assert sorted(n for _, held_out in parts for n in held_out) == list(range(len(frames)))
    assert all(not set(numbers[learnt]) & set(numbers[held_out]) for learnt, held_out in parts)


@pytest.mark.parametrize("n_valid", [3, 4, 7])
def test_a_split_leaves_copies_on_one_side(n_valid: int) -> None:
    frames = rattled(10) + rattled(5) * 2
    data = labelled_dataset([_with_energy(atoms) for atoms in frames])
    for seed in range(10):
        train, valid = split(data, n_valid, seed)
        assert 1 <= len(valid) <= n_valid and len(train) + len(valid) == len(frames)
        assert learnt_words(valid, train) is None


def test_a_test_that_is_learnt_is_told() -> None:
    teacher = teacher_of(start_potential())
    learnt, other = dataset_of(teacher, 4), dataset_of(teacher, 3, seed=50)
    assert learnt_words(other, learnt) is None
    mixed = labelled_dataset([*frames_of(teacher, 2), *frames_of(teacher, 3, seed=50)], "mixed.xyz")
    words = learnt_words(mixed, learnt)
    assert words is not None and words.startswith("mixed.xyz: 2 of 5 structures are copies")


def _with_energy(atoms: Atoms) -> Atoms:
    atoms.info["energy"] = 0.0
    return atoms
