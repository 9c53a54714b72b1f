"""The numbers that belong to the steps of a network: matrices, vectors by element, and radial functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.math.splines import Functions
from ase_nbody.steps.radial import RadialNetwork

Hidden = Callable[[Tensor, list[int], int], Tensor]
"""From distances (R,) in float64, kinds of edges and the number of a piece to values (R, kinds, H) of hidden layers,
differentiable, and smooth beyond both ends of the piece."""


@dataclass(frozen=True)
class Radial:
    """Radial weights of a contraction: hidden functions of the distance, times the last matrix of each kind of edge.

    Attributes:
        hidden: hidden layers times envelope.
        last: from kinds to matrices (kinds, H, paths C).
        same_hidden: the hidden layers do not depend on the kind.
        sampled: kinds whose hidden layers decide how fine tables are; (): all kinds.
        network: the same as layers that are trained; None in rewritten descriptions.
    """

    hidden: Hidden
    last: Callable[[list[int]], Tensor]
    same_hidden: bool = False
    sampled: tuple[int, ...] = ()
    network: RadialNetwork | None = None

    def weights(self, distances: Tensor, kind: int, breaks: Sequence[float]) -> Tensor:
        """Weights of edges of one kind, (E, paths C)."""
        exact, (last,) = distances.double(), self.last([kind])
        rows = self.hidden(exact, [kind], 0)[:, 0]
        for piece, start in enumerate(breaks, start=1):
            rows = torch.where((exact < start).unsqueeze(1), rows, self.hidden(exact, [kind], piece)[:, 0])
        weights: Tensor = (rows @ last.double()).to(distances.dtype)
        return weights

    def functions(self, kinds: list[int], n_pieces: int) -> list[Functions]:
        """The hidden layers of some kinds side by side as functions for tables, (R,) -> (R, kinds H), one a piece."""
        return [partial(self._values, kinds, piece) for piece in range(n_pieces)]

    def _values(self, kinds: list[int], piece: int, distances: NDArray[np.floating]) -> NDArray[np.float64]:
        with torch.no_grad():
            values: NDArray[np.float64] = self.hidden(torch.from_numpy(distances), kinds, piece).flatten(1).numpy()
        return values


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

    def tensors(self) -> list[Tensor]:
        """All tensors that gradients are made by, each once."""
        tensors = [*self.matrices.values(), *self.vectors.values()]
        for radial in self.radial.values():
            if radial.network is not None:
                tensors += [radial.network.matrix, *radial.network.layers.parameters]
        return list({id(tensor): tensor for tensor in tensors}.values())
