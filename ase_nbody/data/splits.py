"""Splitting a dataset for validation, and merging several for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ase_nbody.data.copies import copy_numbers
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
    """A random split into training and validation structures, with all copies of a structure on one side.

    Args:
        dataset: what is split.
        n_valid: structures for validation; fewer where copies would be torn apart.
        seed: of the random choice; the same seed gives the same split.

    Returns:
        Training and validation datasets, each in the order of the file.

    Raises:
        ValueError: no structure would be left for training, or for validation, or n_valid is negative.
    """
    if not 0 <= n_valid < len(dataset):
        raise ValueError(f"{n_valid} of {len(dataset)} structures for validation: allowed are 0 to {len(dataset) - 1}")
    numbers = copy_numbers(dataset.structures)  # (S,)
    order = np.random.default_rng(seed).permutation(int(numbers.max()) + 1)
    is_valid = np.zeros(len(dataset), dtype=bool)
    for number in order:
        copies = numbers == number
        if is_valid.sum() + copies.sum() <= n_valid:
            is_valid |= copies
    if n_valid and not is_valid.any():
        raise ValueError(
            f"{dataset.source}: every structure is there more than {n_valid} times, so that none can be set aside for "
            "validation without being learnt; leave copies out, or give validation structures of their own"
        )
    return dataset.subset(np.flatnonzero(~is_valid).tolist()), dataset.subset(np.flatnonzero(is_valid).tolist())


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
        stated_levels=tuple(dict.fromkeys(name for d in datasets for name in d.stated_levels)),
    )
