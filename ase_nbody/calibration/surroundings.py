"""Fit of the surroundings of atoms that a training covered; see `environments`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.architectures.base import types_of_numbers
from ase_nbody.data import Dataset, batches_of_samples, samples
from ase_nbody.environments import Environments, fitted_root
from ase_nbody.model_records import EnvironmentsRecord
from ase_nbody.potential import Potential, copied_potential, seen_by_network

Floats = NDArray[np.float64]
RIDGE = 1e-6
FOLDS = 5
ATOMS_AT_ONCE = 500


@dataclass(frozen=True)
class Features:
    """Invariant features of all atoms of structures.

    Attributes:
        rows: (N, F).
        types: places of their elements among those of the model, (N,).
        structures: numbers of their structures, (N,).
    """

    rows: Floats
    types: NDArray[np.int64]
    structures: NDArray[np.int64]


def features(potential: Potential, dataset: Dataset) -> Features:
    """Features of the atoms of a dataset, in float64, as the network sees them."""
    own = replace(copied_potential(potential, torch.device("cpu"), torch.float64), over_inversion=False)
    rows, types, structures, n_structures = [], [], [], 0
    for batch in batches_of_samples(samples(dataset, own.cutoff), ATOMS_AT_ONCE):
        graph = batch.graph
        rows.append(own.network.atom_invariants(seen_by_network(own, graph)).numpy())
        types.append(types_of_numbers(own.elements)[graph.atomic_numbers].numpy())
        structures.append(graph.structure.numpy() + n_structures)
        n_structures += graph.n_structures
    return Features(np.concatenate(rows), np.concatenate(types), np.concatenate(structures))


def fitted_environments(learnt: Features, elements: tuple[str, ...]) -> Environments:
    """Surroundings of structures.

    The furthest is that of structures which are left out in turn, so that few structures do not seem to have more than
    they do.

    Args:
        learnt: features of the structures of a training.
        elements: of the model.
    """
    roots, furthest = [], {}
    for kind, element in enumerate(elements):
        chosen = learnt.types == kind
        rows, fold = learnt.rows[chosen], learnt.structures[chosen] % FOLDS
        left_out = [_distances(rows[fold == n], fitted_root(rows[fold != n], RIDGE)) for n in range(FOLDS)]
        roots.append(fitted_root(rows, RIDGE))
        furthest[element] = float(max([0.0, *np.concatenate([*left_out, _distances(rows, roots[-1])])]))
    n_learnt = len(np.unique(learnt.structures))
    return Environments(np.stack(roots), EnvironmentsRecord(furthest=furthest, n_learnt=n_learnt))


def _distances(rows: Floats, root: Floats) -> Floats:
    distances: Floats = np.linalg.norm(rows @ root, axis=1)
    return distances
