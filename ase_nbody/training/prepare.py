"""From settings to data and network: what is read, split and built before the first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ase_nbody.architectures import Architecture, Network, NetworkSettings, architectures
from ase_nbody.data import (
    Dataset,
    Statistics,
    default_validation_size,
    isolated_energies,
    merge,
    read_dataset,
    reference_energies,
    split,
    statistics,
    without_isolated_atoms,
)
from ase_nbody.model_file import DataFile
from ase_nbody.training.display import Display
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.start import Start, read_start

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


def read_training_data(settings: TrainingSettings, display: Display) -> TrainingData:
    """Read the files, print what labels were found, and split.

    Raises:
        ValueError: a file cannot be read or has no labels, other files have elements that the data lack, or the data
            have elements that the start lacks.
    """
    start = None if settings.start is None else read_start(settings.start, DTYPES[settings.dtype])
    parts = {path: _read(path, settings, display) for path in dict.fromkeys(settings.data)}
    merged = merge(list(parts.values()))
    references, source = _references(settings, merged, start)
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
        DataFile(name=Path(p.source).name, sha256=p.sha256, role="train", n_structures=len(p)) for p in parts.values()
    ]
    if settings.valid is not None:
        files.append(DataFile(name=settings.valid.name, sha256=valid.sha256, role="valid", n_structures=len(valid)))
    files += [DataFile(name=Path(t.source).name, sha256=t.sha256, role="test", n_structures=len(t)) for t in tests]
    return TrainingData(train, valid, tests, references, source, merged.found, tuple(files), start)


def build_network(settings: TrainingSettings, data: TrainingData) -> tuple[Network, Statistics]:
    """The start's network, or one of the architecture and preset with random weights; and statistics at its cutoff.

    Raises:
        ValueError: the architecture, or one of its settings, is not known.
    """
    if data.start is not None:
        started = data.start.potential.network
        return started, statistics(data.train, data.references, started.settings.cutoff)
    known = architectures()
    if settings.architecture not in known:
        raise ValueError(f"there is no architecture '{settings.architecture}'; known are {', '.join(known)}")
    architecture = known[settings.architecture]
    chosen = {"elements": tuple(data.references), **architecture.presets[settings.preset], **settings.model}
    cutoff = _network_settings(architecture, chosen).cutoff
    found = statistics(data.train, data.references, cutoff)
    complete = _network_settings(architecture, {"average_neighbours": max(found.average_neighbours, 1.0), **chosen})
    build: Callable[..., Network] = architecture.network
    network = build(complete, generator=torch.Generator().manual_seed(settings.seed))
    return network.to(DTYPES[settings.dtype]), found


def training_origin(settings: TrainingSettings, data: TrainingData) -> dict[str, Any]:
    """What decides a training, as JSON values by name: settings that change its numbers, and hashes of its files."""
    elsewhere = {
        *("output", "force", "device", "data", "valid", "test", "isolated_atoms", "start"),
        *("checkpoint_seconds", "validation_atoms", "method", "licence"),
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
    display.say(f"{path}: {len(dataset)} structures, {dataset.found}")
    return dataset


def _references(settings: TrainingSettings, merged: Dataset, start: Start | None) -> tuple[dict[str, float], str]:
    if start is None:
        if settings.isolated_atoms is None:
            return reference_energies(merged, merged.elements)
        given = isolated_energies(settings.isolated_atoms)
        return reference_energies(merged, merged.elements, given, f"isolated atoms in {settings.isolated_atoms.name}")
    known = start.information.reference_energies
    _check_elements(
        merged, known, f"the start '{settings.start}' lacks", "start from another model or train without start"
    )
    return dict(known), f"{start.information.reference_energies_source}, taken over from {start.information.name}"


def _check_elements(dataset: Dataset, known: Collection[str], lacking: str, advice: str) -> None:
    unknown = sorted(set(dataset.elements) - set(known))
    if unknown:
        raise ValueError(
            f"{dataset.source} has {', '.join(unknown)}, which {lacking} ({', '.join(known)}); "
            f"{advice}, or leave these structures out"
        )


def _network_settings(architecture: Architecture, chosen: dict[str, Any]) -> NetworkSettings:
    try:
        return architecture.settings(**chosen)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ValueError(
            f"settings of architecture '{architecture.name}': {problems}; it has "
            f"{', '.join(architecture.settings.model_fields)}"
        ) from None
