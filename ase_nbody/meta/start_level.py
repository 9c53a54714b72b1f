"""Which of its levels of theory a start is taken at: the one that is nearest to the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from ase_nbody.data import Dataset, without_isolated_atoms
from ase_nbody.meta.fitting import prepared, referenced
from ase_nbody.meta.held_out import score_of
from ase_nbody.meta.new_elements import with_new_elements
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.model_file import ModelInformation, load_model, read_information
from ase_nbody.potential import Potential

STRUCTURES = 50
"""As many are looked at, evenly spaced, where there are more."""


def scores_of_levels(path: Path, data: Dataset, settings: AdaptationSettings) -> Mapping[str, float]:
    """Errors of a start on labelled structures at each of its levels of theory, the smallest first.

    Args:
        path: model file of the start.
        data: labels, of any level of theory; reference energies are fitted to them for each.
        settings: of the adaptation, which say what errors weigh.

    Returns:
        What candidates of an adaptation are compared by (`Row.score`), by the name of the level; empty where the start
        is of one level.

    Raises:
        ValueError: elements that the start does not know, and that are refused.
    """
    levels = read_information(path).levels
    if len(levels) < 2:
        return {}
    some = _evenly_spaced(without_isolated_atoms(data))
    scores = {}
    for level in levels:
        start, _ = load_model(path, dtype=torch.float32, level=level.name)
        own = replace(with_new_elements(start, data).potential, repulsion=None)
        structures = prepared(some, own)
        scores[level.name] = score_of(referenced(own, structures).potential, structures, settings)
    return dict(sorted(scores.items(), key=lambda level: level[1]))


def nearest_start(
    path: Path, data: Dataset, settings: AdaptationSettings
) -> tuple[Potential, ModelInformation, str | None]:
    """A start at the level of theory that is nearest to the labels, its information, and a sentence that says so.

    The sentence is None where the start is of one level. Arguments and errors are those of `scores_of_levels`.
    """
    scores = scores_of_levels(path, data, settings)
    return *load_model(path, level=next(iter(scores), None)), level_words(scores) if scores else None


def level_words(scores: Mapping[str, float]) -> str:
    """Which level the start is taken at, and why.

    >>> level_words({"PBE": 31.04, "GFN2-xTB": 250.0})
    'the start is taken at its level PBE, the nearest to these labels: score 31.0; GFN2-xTB has 250.0'
    """
    (nearest, lowest), *others = scores.items()
    rest = ", ".join(f"{name} has {value:.1f}" for name, value in others)
    return f"the start is taken at its level {nearest}, the nearest to these labels: score {lowest:.1f}; {rest}"


def _evenly_spaced(dataset: Dataset) -> Dataset:
    n = len(dataset)
    return dataset.subset([n * k // STRUCTURES for k in range(STRUCTURES)]) if n > STRUCTURES else dataset
