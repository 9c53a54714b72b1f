"""Surroundings of atoms that a training covered, and how far those of other atoms are from them.

Energies are read out of invariant features of the atoms. Those of each element are described by their second moments
over the training, and the distance of an atom is Mahalanobis's: sqrt(x M^-1 x) for features x and moments M (Lee et al.
2018, arXiv:1807.03888, for networks that classify). It knows no labels, and says nothing of the size of errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
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
        roots: whose products with their transposes are the inverse moments of the features, (elements, F, F).
        record: distances that the training had, by element.
    """

    roots: NDArray[np.float64]
    record: SurroundingsRecord

    def distances(self, features: Tensor, types: Tensor) -> Tensor:
        """Distances in units of the furthest of the training, (N,) float64; infinite for elements that it did not have.

        Args:
            features: (N, F).
            types: places of the atoms' elements among those of the model, (N,).
        """
        rows, distances = features.double(), features.new_zeros(len(features), dtype=torch.float64)
        limits = list(self.record.furthest.values())
        for kind in set(types.tolist()):
            chosen = types == kind
            root = torch.from_numpy(self.roots[kind]).to(rows.device)
            distances[chosen] = (rows[chosen] @ root).norm(dim=1) / limits[kind]
        return distances.nan_to_num(nan=0.0, posinf=torch.inf)  # an atom alone of an element that is not known
