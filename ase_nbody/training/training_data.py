"""What a training learns from: files that are read, split, and counted from the same reference energies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from ase_nbody.data import (
    Dataset,
    all_isolated_energies,
    default_validation_size,
    merge,
    read_dataset,
    reference_energies,
    split,
    without_isolated_atoms,
)
from ase_nbody.data.copies import learnt_words
from ase_nbody.model_file import DataFile, TheoryLevel
from ase_nbody.training.display import Display, printable
from ase_nbody.training.levels import as_first, level_of
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.start import Start, read_start, read_start_with_levels

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and is judged by.

    Attributes:
        train: structures that are learnt.
        valid: structures that choose the best weights.
        tests: structures evaluated at the end, by file.
        references: energy of each isolated element, eV.
        references_source: where these come from.
        label_source: where the labels were found, for each file.
        files: names and hashes of all files.
        start: model that the training begins with; None: random weights.
        levels: levels of theory, from whose first `references` are; one or none: all labels are of one level.
    """

    train: Dataset
    valid: Dataset
    tests: tuple[Dataset, ...]
    references: dict[str, float]
    references_source: str
    label_source: str
    files: tuple[DataFile, ...]
    start: Start | None = None
    levels: tuple[TheoryLevel, ...] = ()


def check_files(settings: TrainingSettings) -> None:
    """Refuse names of data files that are not there, before one of them is read.

    Raises:
        ValueError: they are listed.
    """
    others = [path for path in (settings.valid, settings.isolated_atoms) if path is not None]
    of_levels = [path for paths in settings.levels.values() for path in paths]
    problems = [
        f"{path} is not a file" if path.exists() else f"{path}: there is no such file"
        for path in dict.fromkeys((*settings.data, *of_levels, *others, *settings.test))
        if not path.is_file()
    ]
    if problems:
        raise ValueError("; ".join(problems))


def read_training_data(settings: TrainingSettings, display: Display) -> TrainingData:
    """Read the files, print what labels were found, and split.

    Raises:
        ValueError: a file cannot be read or has no labels, other files have elements that the data lack, or the data
            have elements that the start lacks.
    """
    start = None if settings.start is None else _start(settings)
    groups = settings.levels or {"": settings.data}
    several = [_read_level(name, paths, settings, start, display) for name, paths in groups.items()]
    levels = [one.level for one in several]
    _check_same_elements(levels)
    tests = tuple(without_isolated_atoms(_read(path, settings, start, display)) for path in settings.test)
    for other in (*(one.valid for one in several), *tests):
        _check_elements(
            other,
            levels[0].reference_energies,
            "the training data lack",
            "add structures with these elements to --data",
        )
    train = merge([as_first(one.train, number, levels) for number, one in enumerate(several)])
    valid = merge([as_first(one.valid, number, levels) for number, one in enumerate(several)])
    others = (*([] if settings.valid is None else [valid]), *tests)
    for words in dict.fromkeys(learnt_words(other, train) for other in others):
        if words is not None:
            display.warn(words)
    datasets = [dataset for one in several for dataset in one.files]
    n_test = sum(len(test) for test in tests)
    display.say(f"{len(train)} structures to train on, {len(valid)} for validation, {n_test} for test")
    return TrainingData(
        train=train,
        valid=valid,
        tests=tuple(as_first(test, level_of(test, levels), levels) for test in tests),
        references=levels[0].reference_energies,
        references_source=levels[0].reference_energies_source,
        label_source=printable(merge(datasets).label_source),
        files=_data_files(datasets, valid if settings.valid is not None else None, tests),
        start=start,
        levels=tuple(levels) if settings.levels else (),
    )


@dataclass(frozen=True)
class _LevelData:
    """Labels of one level of theory: its files, and what of them is learnt and what is set aside."""

    level: TheoryLevel
    files: tuple[Dataset, ...]
    train: Dataset
    valid: Dataset


def _read_level(
    name: str, paths: Sequence[Path], settings: TrainingSettings, start: Start | None, display: Display
) -> _LevelData:
    read = {path: _read(path, settings, start, display) for path in dict.fromkeys(paths)}
    merged = merge(list(read.values()))
    references, source = _references(settings, merged, start, name, display)
    energies = ", ".join(f"{element} {energy:.4f} eV" for element, energy in references.items())
    display.say(f"{name}: {source}: {energies}" if name else f"{source}: {energies}")
    train, valid = _split(without_isolated_atoms(merged), settings, start, display)
    return _LevelData(
        level=TheoryLevel(name=name, reference_energies=references, reference_energies_source=source),
        files=tuple(read.values()),
        train=_repeated(train, [read[path] for path in paths]),
        valid=valid,
    )


def _start(settings: TrainingSettings) -> Start:
    """The start, with all of its levels of theory where the training has several.

    Raises:
        ValueError: the levels of the training do not begin with its own.
    """
    assert settings.start is not None
    dtype = DTYPES[settings.dtype]
    if not settings.levels:
        return read_start(settings.start, dtype, settings.start_level)
    start = read_start_with_levels(settings.start, dtype)
    names = [level.name for level in start.information.levels]
    if names != list(settings.levels)[: len(names)]:
        raise ValueError(
            f"the start '{settings.start}' has the levels of theory {', '.join(names)}, and the training "
            f"{', '.join(settings.levels)}; give the start's first, in its order, and any new ones after them, or data "
            "and start_level for one of them"
        )
    return start


def _split(
    usable: Dataset, settings: TrainingSettings, start: Start | None, display: Display
) -> tuple[Dataset, Dataset]:
    if settings.valid is None:
        return split(usable, settings.n_valid or default_validation_size(len(usable)), settings.seed)
    return usable, without_isolated_atoms(_read(settings.valid, settings, start, display))


def _data_files(train: Sequence[Dataset], valid: Dataset | None, tests: Sequence[Dataset]) -> tuple[DataFile, ...]:
    roles: list[tuple[Literal["train", "valid", "test"], Dataset]] = [("train", dataset) for dataset in train]
    roles += [] if valid is None else [("valid", valid)]
    roles += [("test", test) for test in tests]
    return tuple(
        DataFile(name=printable(Path(d.source).name), sha256=d.sha256, role=role, n_structures=len(d))
        for role, d in roles
    )


def _check_same_elements(levels: Sequence[TheoryLevel]) -> None:
    for level in levels[1:]:
        differing = set(level.reference_energies) ^ set(levels[0].reference_energies)
        if differing:
            raise ValueError(
                f"the levels of theory '{levels[0].name}' and '{level.name}' have different elements: only one has "
                f"{', '.join(sorted(differing))}; add structures with them to the other, or leave them out"
            )


def _repeated(train: Dataset, given: Sequence[Dataset]) -> Dataset:
    """Each structure as often as its file is given; after the split, so that none is in both parts."""
    times = Counter(id(atoms) for dataset in given for atoms in dataset.structures)
    repeated = train.subset(i for i, atoms in enumerate(train.structures) for _ in range(times[id(atoms)]))
    return replace(repeated, sha256=", ".join(dataset.sha256 for dataset in given))


def _read(path: Path, settings: TrainingSettings, start: Start | None, display: Display) -> Dataset:
    dataset = read_dataset(
        path,
        energy_key=settings.energy_key,
        forces_key=settings.forces_key,
        stress_key=settings.stress_key,
        further=() if start is None else start.potential.further_properties,
        further_keys=settings.further_keys,
    )
    _show(dataset, "structures", display)
    return dataset


def _show(dataset: Dataset, what: str, display: Display) -> None:
    display.say(f"{dataset.source}: {len(dataset)} {what}, {dataset.label_source}")
    for note in dataset.notes:
        display.warn(note)


def _references(
    settings: TrainingSettings, merged: Dataset, start: Start | None, level: str, display: Display
) -> tuple[dict[str, float], str]:
    known = None if start is None else start.reference_energies(level)
    if start is not None and known is not None:
        _check_elements(
            merged, known[0], f"the start '{settings.start}' lacks", "start from another model or train without start"
        )
        return dict(known[0]), f"{known[1]}, taken over from {start.information.name}"
    given = None if settings.isolated_atoms is None else _isolated(settings.isolated_atoms, settings, display)
    words = "" if settings.isolated_atoms is None else f"isolated atoms in {printable(settings.isolated_atoms.name)}"
    references = reference_energies(merged, merged.elements, given, words)
    if references.undetermined:
        display.warn(_undetermined_words(references.undetermined))
    return references.energies, references.source


def _isolated(path: Path, settings: TrainingSettings, display: Display) -> dict[str, float]:
    try:
        atoms = read_dataset(path, energy_key=settings.isolated_energy_key or settings.energy_key)
    except ValueError as error:
        raise ValueError(
            f"isolated atoms, {error}; --isolated-energy-key names their energies where --energy-key does not"
        ) from None
    _show(atoms, "isolated atoms", display)
    return all_isolated_energies(atoms)


def _undetermined_words(elements: Sequence[str]) -> str:
    return (
        f"the compositions of the data do not determine the reference energies of {', '.join(elements)}. "
        "Energies of other compositions, such as the fragments of a broken bond, will be shifted by unknown constants; "
        "forces, and energies within a composition, will not. Add structures of other compositions, or give "
        "--isolated-atoms"
    )


def _check_elements(dataset: Dataset, known: Collection[str], lacking: str, advice: str) -> None:
    unknown = sorted(set(dataset.elements) - set(known))
    if unknown:
        raise ValueError(
            f"{dataset.source} has {', '.join(unknown)}, which {lacking} ({', '.join(known)}); "
            f"{advice}, or leave these structures out"
        )
