"""Splitting a dataset for validation, and merging several for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ase_nbody.data.dataset import Dataset

VALIDATION_SHARE = 0.1
LARGEST_VALIDATION = 200


def default_validation_size(n: int) -> int:
    """Structures to hold back for validation out of n: a tenth, at least 1 and at most 200.

    Raises:
        ValueError: fewer than two structures.
    """
    if n < 2:
        raise ValueError(f"{n} structure(s) cannot be split into training and validation; give at least 2")
    return min(max(round(VALIDATION_SHARE * n), 1), LARGEST_VALIDATION)


def split(dataset: Dataset, n_valid: int, seed: int) -> tuple[Dataset, Dataset]:
    """A random split into training and validation structures.

    Args:
        dataset: what is split.
        n_valid: structures for validation.
        seed: of the random choice; the same seed gives the same split.

    Returns:
        Training and validation datasets, each in the order of the file.

    Raises:
        ValueError: no structure would be left for training, or n_valid is negative.
    """
    if not 0 <= n_valid < len(dataset):
        raise ValueError(f"{n_valid} of {len(dataset)} structures for validation: allowed are 0 to {len(dataset) - 1}")
    order = np.random.default_rng(seed).permutation(len(dataset))
    valid, train = np.sort(order[:n_valid]), np.sort(order[n_valid:])
    return dataset.subset(train.tolist()), dataset.subset(valid.tolist())


def merge(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of several, in their order; they must be of one level of theory.

    Raises:
        ValueError: no dataset is given.
    """
    if not datasets:
        raise ValueError("give at least one dataset to merge")
    if len(datasets) == 1:
        return datasets[0]
    levels = {d.level_of_theory for d in datasets}
    return Dataset(
        structures=tuple(s for d in datasets for s in d.structures),
        labels=tuple(label for d in datasets for label in d.labels),
        source=", ".join(d.source for d in datasets),
        sha256=", ".join(d.sha256 for d in datasets),
        label_source=" | ".join(f"{Path(d.source).name}: {d.label_source}" for d in datasets),
        notes=tuple(f"{Path(d.source).name}: {note}" for d in datasets for note in d.notes),
        level_of_theory=levels.pop() if len(levels) == 1 else None,
    )
