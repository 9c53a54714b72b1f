"""Surroundings of atoms that a training covered, and how far those of other atoms are from them.

Energies are read out of invariant features of the atoms. Those of each element are described by their second moments
over the training, and the distance of an atom is Mahalanobis's: sqrt(x M^-1 x) for features x and moments M (Lee et al.
2018, arXiv:1807.03888, for networks that classify). It knows no labels, and says nothing of the size of errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from ase import data
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.model_records import SurroundingsRecord

DISTANCES = "surroundings_distances"
"""Name of the distances in results."""
BEYOND = 1.2
"""How much further than the furthest of the training an atom may be; `benchmarks/uncertainty` says what it finds."""


@dataclass(frozen=True)
class KnownSurroundings:
    """What features of atoms the training had.

    Attributes:
        roots: whose products with their transposes are the inverse moments of the features, (known elements, F, F).
        record: distances that the training had, by known element.
    """

    roots: NDArray[np.float64]
    record: SurroundingsRecord

    def distances(self, features: Tensor, atomic_numbers: Tensor) -> Tensor:
        """Distances in units of the furthest of the training, (N,) float64; infinite for elements that it did not have.

        Args:
            features: (N, F).
            atomic_numbers: (N,).
        """
        rows, distances = features.double(), features.new_full((len(features),), torch.inf, dtype=torch.float64)
        for root, (element, furthest) in zip(self.roots, self.record.furthest.items(), strict=True):
            chosen = (atomic_numbers == data.atomic_numbers[element]).nonzero()[:, 0]
            if len(chosen):
                distances[chosen] = (rows[chosen] @ torch.from_numpy(root).to(rows.device)).norm(dim=1) / furthest
        return distances
