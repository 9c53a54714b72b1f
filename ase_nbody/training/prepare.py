"""From settings to data and network: what is checked, read, split and built before the first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ase_nbody.architectures import Architecture, Network, NetworkSettings, architectures
from ase_nbody.data import (
    Dataset,
    Statistics,
    all_isolated_energies,
    default_validation_size,
    merge,
    read_dataset,
    reference_energies,
    split,
    statistics,
    without_isolated_atoms,
)
from ase_nbody.model_file import DataFile
from ase_nbody.training.display import Display, printable
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.start import Start, read_start

DTYPES = {"float32": torch.float32, "float64": torch.float64}
PLACEHOLDER = ("H",)  # the elements are not known before the data are read


@dataclass(frozen=True)
class TrainingData:
    """What a training learns from and is judged by.

    Attributes:
        train: structures that are learnt.
        valid: structures that choose the best weights.
        tests: structures evaluated at the end, by file.
        references: energy of each isolated element, eV.
        references_source: where these come from.
        found: where the labels were found, for each file.
        files: names and hashes of all files.
        start: model that the training begins with; None: random weights.
    """

    train: Dataset
    valid: Dataset
    tests: tuple[Dataset, ...]
    references: dict[str, float]
    references_source: str
    found: str
    files: tuple[DataFile, ...]
    start: Start | None = None


def check_files(settings: TrainingSettings) -> None:
    """Refuse names of data files that are not there, before one of them is read.

    Raises:
        ValueError: they are listed.
    """
    others = [path for path in (settings.valid, settings.isolated_atoms) if path is not None]
    problems = [
        f"{path} is not a file" if path.exists() else f"{path}: there is no such file"
        for path in dict.fromkeys((*settings.data, *others, *settings.test))
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
    start = None if settings.start is None else read_start(settings.start, DTYPES[settings.dtype])
    parts = {path: _read(path, settings, display) for path in dict.fromkeys(settings.data)}
    merged = merge(list(parts.values()))
    references, source = _references(settings, merged, start, display)
    display.say(source + ": " + ", ".join(f"{e} {v:.4f} eV" for e, v in references.items()))
    usable = without_isolated_atoms(merged)
    if settings.valid is None:
        train, valid = split(usable, settings.n_valid or default_validation_size(len(usable)), settings.seed)
    else:
        train, valid = usable, without_isolated_atoms(_read(settings.valid, settings, display))
    train = _repeated(train, [parts[path] for path in settings.data])
    tests = tuple(without_isolated_atoms(_read(path, settings, display)) for path in settings.test)
    for other in (valid, *tests):
        _check_elements(other, references, "the training data lack", "add structures with these elements to --data")
    n_test = sum(len(test) for test in tests)
    display.say(f"{len(train)} structures to train on, {len(valid)} for validation, {n_test} for test")
    files = [
        DataFile(name=printable(Path(p.source).name), sha256=p.sha256, role="train", n_structures=len(p))
        for p in parts.values()
    ]
    if settings.valid is not None:
        files.append(
            DataFile(name=printable(settings.valid.name), sha256=valid.sha256, role="valid", n_structures=len(valid))
        )
    files += [
        DataFile(name=printable(Path(t.source).name), sha256=t.sha256, role="test", n_structures=len(t)) for t in tests
    ]
    return TrainingData(train, valid, tests, references, source, printable(merged.found), tuple(files), start)


def check_network(settings: TrainingSettings) -> None:
    """Refuse settings of a network that cannot be built, whatever its elements will be.

    Raises:
        ValueError: the architecture, or one of its settings, is not known or has a value that is not allowed.
    """
    if settings.start is None:
        architecture = _architecture(settings)
        chosen = _network_settings(architecture, _chosen(settings, architecture, PLACEHOLDER))
        _built(architecture, chosen, settings.seed)


def build_network(settings: TrainingSettings, data: TrainingData) -> tuple[Network, Statistics]:
    """The start's network, or one of the architecture and preset with random weights; and statistics at its cutoff.

    Raises:
        ValueError: as `check_network`.
    """
    if data.start is not None:
        started = data.start.potential.network
        return started, statistics(data.train, data.references, started.settings.cutoff)
    architecture = _architecture(settings)
    chosen = _chosen(settings, architecture, tuple(data.references))
    cutoff = _network_settings(architecture, chosen).cutoff
    found = statistics(data.train, data.references, cutoff)
    complete = _network_settings(architecture, {"average_neighbours": max(found.average_neighbours, 1.0), **chosen})
    return _built(architecture, complete, settings.seed).to(DTYPES[settings.dtype]), found


def training_origin(settings: TrainingSettings, data: TrainingData) -> dict[str, Any]:
    """What decides a training, as JSON values by name: settings that change its numbers, and hashes of its files."""
    elsewhere = {
        *("output", "force", "device", "data", "valid", "test", "start"),
        *("isolated_atoms", "isolated_energy_key"),
        *("checkpoint_seconds", "validation_atoms", "method", "licence", "repulsion"),
        *("purpose", "not_for"),
    }
    chosen = settings.model_dump(mode="json", exclude=elsewhere)
    return {
        **chosen,
        "data": data.train.sha256,
        "valid": data.valid.sha256,
        "reference_energies": data.references,
        "start": None if data.start is None else data.start.sha256,
    }


def _repeated(train: Dataset, given: Sequence[Dataset]) -> Dataset:
    """Each structure as often as its file is given; after the split, so that none is in both parts."""
    times = Counter(id(atoms) for dataset in given for atoms in dataset.structures)
    repeated = train.subset(i for i, atoms in enumerate(train.structures) for _ in range(times[id(atoms)]))
    return replace(repeated, sha256=", ".join(dataset.sha256 for dataset in given))


def _read(path: Path, settings: TrainingSettings, display: Display) -> Dataset:
    dataset = read_dataset(
        path, energy_key=settings.energy_key, forces_key=settings.forces_key, stress_key=settings.stress_key
    )
    _show(dataset, "structures", display)
    return dataset


def _show(dataset: Dataset, what: str, display: Display) -> None:
    display.say(f"{dataset.source}: {len(dataset)} {what}, {dataset.found}")
    for note in dataset.notes:
        display.warn(note)


def _references(
    settings: TrainingSettings, merged: Dataset, start: Start | None, display: Display
) -> tuple[dict[str, float], str]:
    if start is not None:
        known = start.information.reference_energies
        _check_elements(
            merged, known, f"the start '{settings.start}' lacks", "start from another model or train without start"
        )
        return dict(known), f"{start.information.reference_energies_source}, taken over from {start.information.name}"
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


def _architecture(settings: TrainingSettings) -> Architecture:
    known = architectures()
    if settings.architecture not in known:
        raise ValueError(f"there is no architecture '{settings.architecture}'; known are {', '.join(known)}")
    return known[settings.architecture]


def _chosen(settings: TrainingSettings, architecture: Architecture, elements: tuple[str, ...]) -> dict[str, Any]:
    return {"elements": elements, **architecture.presets[settings.preset], **settings.model}


def _built(architecture: Architecture, settings: NetworkSettings, seed: int) -> Network:
    build: Callable[..., Network] = architecture.network
    return build(settings, generator=torch.Generator().manual_seed(seed))


def _network_settings(architecture: Architecture, chosen: Mapping[str, Any]) -> NetworkSettings:
    try:
        return architecture.settings(**chosen)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ValueError(
            f"settings of architecture '{architecture.name}': {problems}; it has "
            f"{', '.join(architecture.settings.model_fields)}"
        ) from None
