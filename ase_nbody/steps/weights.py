"""The numbers that belong to the steps of a network: matrices, vectors by element, and radial functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.kernels.splines import Functions


@dataclass(frozen=True)
class Radial:
    """Radial weights of a contraction: hidden functions of the distance, times the last matrix of each kind of edge.

    Attributes:
        hidden: from the kinds of edges wanted to functions (R,) -> (R, kinds H), smooth beyond both ends.
        last: from kinds to matrices (kinds, H, paths C).
    """

    hidden: Callable[[list[int]], Functions]
    last: Callable[[list[int]], Tensor]

    def weights(self, distances: Tensor, kind: int) -> Tensor:
        """Weights of edges of one kind, (E, paths C)."""
        found: NDArray[np.float64] = self.hidden([kind])(distances.detach().double().cpu().numpy())
        return (torch.from_numpy(found) @ self.last([kind])[0].double()).to(distances.dtype)


@dataclass
class StepWeights:
    """Weights by the names that steps give them.

    Attributes:
        kind_of_pair: which radial functions belong to a pair of elements, receiver's before sender's, (T^2,) int64.
        matrices: (rows, columns), or (T, rows, columns) where each element has its own, by names NAME_IRREP.
        vectors: of each element, (T, numbers).
        radial: of each contraction.
    """

    kind_of_pair: Tensor
    matrices: dict[str, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    radial: dict[str, Radial] = field(default_factory=dict)
