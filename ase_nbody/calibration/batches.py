"""Structures of a dataset in batches, and a potential to look at them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ase_nbody.data import Dataset, batches_of_samples, samples
from ase_nbody.graph import Graph
from ase_nbody.potential import Potential, copied_potential

ATOMS_AT_ONCE = 500


def graphs(potential: Potential, dataset: Dataset) -> Iterator[Graph]:
    """Graphs of all structures in their order, side by side, on a potential's device and in its dtype."""
    packed = samples(dataset, potential.cutoff, dtype=potential.dtype, device=potential.device)
    for batch in batches_of_samples(packed, ATOMS_AT_ONCE):
        yield batch.graph


def exact_copy(potential: Potential) -> Potential:
    """A potential in float64 on the CPU, without means over inversion, whose weights want gradients."""
    own = replace(copied_potential(potential, torch.device("cpu"), torch.float64), over_inversion=False)
    own.network.requires_grad_(True)
    return own
