"""Harmonics and distances of relative vectors with tangents, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from ase_nbody.compiler import cpu
from ase_nbody.kernels.dual import TANGENTS, VALUES, Dual
from ase_nbody.kernels.dual_gates import NO_PRODUCT
from ase_nbody.kernels.harmonics_code import harmonic_gradients, harmonic_tangents, harmonics


class DualDirections:
    """Harmonics of relative vectors.

    Args:
        vectors: (E, 3), angstrom.
        max_degree: of the harmonics.
    """

    def __init__(self, vectors: Tensor, max_degree: int) -> None:
        self.max_degree = max_degree
        self.vectors = vectors
        self.distances = vectors.new_empty(len(vectors))
        self.harmonics = Dual.of([vectors.new_empty(2, len(vectors), (max_degree + 1) ** 2)])
        self._run(harmonics(max_degree), harmonics=self.harmonics.parts[VALUES][0], distances=self.distances)

    def vjp(self, d_harmonics: Tensor, d_distances: Tensor) -> Tensor:
        """Pulls of the vectors, (E, 3), from those of harmonics, (E, M), and distances, (E,)."""
        d_vectors = torch.empty_like(self.vectors)
        given = {"d_harmonics": d_harmonics, "d_distances": d_distances}
        self._run(harmonic_gradients(self.max_degree), **given, d_vectors=d_vectors)
        return d_vectors

    def jvp(self, t_vectors: Tensor) -> Tensor:
        """Make the tangents of the harmonics from those of the vectors, (E, 3); those of the distances, (E,)."""
        t_distances = torch.empty_like(self.distances)
        results = {"t_harmonics": self.harmonics.parts[TANGENTS][0], "t_distances": t_distances}
        self._run(harmonic_tangents(self.max_degree), t_vectors=t_vectors.contiguous(), **results)
        return t_distances

    def _run(self, code: cpu.Code, **arguments: Tensor) -> None:
        edges = len(self.vectors)
        work = 20.0 * edges * (self.max_degree + 1) ** 2
        given = {"vectors": self.vectors, **arguments}
        cpu.run(code, NO_PRODUCT, cpu.Nodes(0, edges), work, self.vectors.new_empty(0, 0, 1), given)
