"""Levels of theory of a training: files, reference energies, and labels counted from those of the first level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ase_nbody.data import Dataset
from ase_nbody.model_file import TheoryLevel


def as_first(dataset: Dataset, number: int, levels: Sequence[TheoryLevel]) -> Dataset:
    """A dataset of one level with energies as a potential with the first level's reference energies is to give them.

    Args:
        dataset: labels of the level.
        number: of the level.
        levels: all levels.
    """
    if number == 0:
        return dataset
    own, first = levels[number].reference_energies, levels[0].reference_energies
    labels = []
    for atoms, label in zip(dataset.structures, dataset.labels, strict=True):
        shift = sum(first[symbol] - own[symbol] for symbol in atoms.symbols)
        energy = None if label.energy is None else label.energy + shift
        labels.append(replace(label, energy=energy, level=number))
    return replace(dataset, labels=tuple(labels))


def level_of(dataset: Dataset, levels: Sequence[TheoryLevel]) -> int:
    """Number of the level of theory that a dataset states, with or without a program; 0 where it states none of them.

    Args:
        dataset: as read, which states "PBE/def2-svp (pyscf 2.14.0)", for example.
        levels: whose names users gave, such as "PBE/def2-svp".
    """
    stated = dataset.level_of_theory or ""
    same = (n for n, level in enumerate(levels) if stated == level.name or stated.startswith(f"{level.name} ("))
    return next(same, 0)


def by_level(dataset: Dataset, levels: Sequence[TheoryLevel]) -> Mapping[str, tuple[int, Dataset]]:
    """Structures of each level by its name, with its number; one nameless dataset where there is one level only."""
    if len(levels) < 2:
        return {"": (0, dataset)}
    datasets = {}
    for number, level in enumerate(levels):
        chosen = [n for n, label in enumerate(dataset.labels) if label.level == number]
        if chosen:
            datasets[level.name] = (number, dataset.subset(chosen))
    return datasets
