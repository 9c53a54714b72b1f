"""Fit of the surroundings of atoms that a training covered; see `surroundings`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_nbody.architectures.base import types_of_numbers
from ase_nbody.calibration.batches import exact_copy, graphs
from ase_nbody.data import Dataset
from ase_nbody.known_surroundings import KnownSurroundings
from ase_nbody.model_records import SurroundingsRecord
from ase_nbody.potential import Potential
from ase_nbody.surroundings import network_features

Floats = NDArray[np.float64]
RIDGES = tuple(10.0**power for power in range(-8, 1))
"""Of moments, in units of their mean eigenvalue."""
FOLDS = 5


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
    own = exact_copy(potential)
    rows, types, structures, n_structures = [], [], [], 0
    for graph in graphs(own, dataset):
        rows.append(network_features(own, graph).numpy())
        types.append(types_of_numbers(own.elements)[graph.atomic_numbers].numpy())
        structures.append(graph.structure.numpy() + n_structures)
        n_structures += graph.n_structures
    return Features(np.concatenate(rows), np.concatenate(types), np.concatenate(structures))


def fitted_surroundings(learnt: Features, elements: tuple[str, ...]) -> KnownSurroundings:
    """Surroundings of structures.

    Moments of few atoms say too little of directions in which these do not differ. So a part of their mean eigenvalue
    is added to all: that by which structures that are left out in turn are the most likely, if features are a Gaussian.
    The furthest is that of structures left out, too.

    Args:
        learnt: features of the structures of a training.
        elements: of the model.
    """
    roots, furthest = [], {}
    for kind, element in enumerate(elements):
        chosen = learnt.types == kind
        if not chosen.any():
            continue
        rows, fold = learnt.rows[chosen], learnt.structures[chosen] % FOLDS
        folds = [(_Moments.of(rows[fold != n]), rows[fold == n]) for n in range(FOLDS)]
        ridge = min(RIDGES, key=lambda ridge: sum(moments.deviance(left, ridge) for moments, left in folds))
        every = [moments.distances(left, ridge) for moments, left in [*folds, (_Moments.of(rows), rows)]]
        roots.append(_Moments.of(rows).root(ridge))
        furthest[element] = float(np.concatenate(every).max()) or 1.0  # of atoms alone, which have no features
    n_learnt = len(np.unique(learnt.structures))
    return KnownSurroundings(np.stack(roots), SurroundingsRecord(furthest=furthest, n_learnt=n_learnt))


@dataclass(frozen=True)
class _Moments:
    """Second moments of features.

    Attributes:
        values: eigenvalues, (F,).
        vectors: eigenvectors, (F, F).
        scale: mean eigenvalue; 1 where there is none but zero.
    """

    values: Floats
    vectors: Floats
    scale: float

    @classmethod
    def of(cls, rows: Floats) -> _Moments:
        values, vectors = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
        return cls(np.maximum(values, 0.0), vectors, float(np.mean(values)) or 1.0)

    def root(self, ridge: float) -> Floats:
        """A root of the inverse of the moments with so many mean eigenvalues added."""
        return self.vectors / np.sqrt(self.values + ridge * self.scale)

    def distances(self, rows: Floats, ridge: float) -> Floats:
        distances: Floats = np.linalg.norm(rows @ self.root(ridge), axis=1)
        return distances

    def deviance(self, rows: Floats, ridge: float) -> float:
        """Twice the negative logarithm of the likelihood of rows, but for a constant."""
        size = np.log(self.values + ridge * self.scale).sum()
        return float(np.square(self.distances(rows, ridge)).sum() + len(rows) * size)
