"""What the exports of models made of e3nn's modules share; run in the environments of their own packages.

So it imports nothing of ase_nbody. Matrices are what modules do, normalisation included: they are found by applying the
modules to unit vectors, so that no convention of e3nn is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms

POINTS = torch.tensor([-0.7, 1.3], dtype=torch.float64)  # where nonlinearities are looked at
DIRECTIONS = [[0.3, -0.5, 0.8], [0.9, 0.2, -0.4], [-0.6, -0.7, -0.1]]  # where harmonics are
REFUSED = 3  # exit status when the model, or the environment, is not one of those that can be read

Arrays = dict[str, Any]


class UnsupportedError(ValueError):
    """The model has a part that ase_nbody has not."""


def as_array(values: Any) -> Any:
    """Numbers as a NumPy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def listed(irreps: Any) -> list[tuple[str, int]]:
    """Irreps and how many of each."""
    return [(str(irrep), mul) for mul, irrep in irreps]


def first_components(irreps: Any) -> list[int]:
    """The first component of every single irrep."""
    return [
        part.start + number * irrep.dim
        for (mul, irrep), part in zip(irreps, irreps.slices(), strict=True)
        for number in range(mul)
    ]


def unit_vectors(irreps: Any, places: Sequence[int]) -> torch.Tensor:
    """Rows that are one at each of the places, in the model's dtype."""
    rows = torch.zeros(len(places), irreps.dim)
    rows[torch.arange(len(places)), list(places)] = 1.0
    return rows


def matrix(linear: Any, irreps: Any, irreps_out: Any) -> torch.Tensor:
    """What a linear map does to first components: one row per single irrep, one column per single irrep made."""
    made: torch.Tensor = linear(unit_vectors(irreps, first_components(irreps)))
    return made[:, first_components(irreps_out)]


def own_matrices(product: Any, irreps: Any, irreps_out: Any) -> torch.Tensor:
    """As `matrix`, for every component of the embedding: (rows, embedding, columns)."""
    rows = unit_vectors(irreps, first_components(irreps))
    embeddings = torch.eye(product.irreps_in2.dim)
    made = [product(rows, one.expand(len(rows), -1))[:, first_components(irreps_out)] for one in embeddings]
    return torch.stack(made, dim=1)


def coefficients(product: Any, instruction: Any) -> torch.Tensor:
    """Product of two unit vectors along one path with weight one, (2l1+1, 2l2+1, 2l3+1)."""
    i, j, k = instruction[:3]
    first, second, result = product.irreps_in1, product.irreps_in2, product.irreps_out
    one, other = (
        unit_vectors(irreps, range(irreps.slices()[n].start, irreps.slices()[n].start + irreps[n].ir.dim))
        for irreps, n in ((first, i), (second, j))
    )
    pairs = (one.repeat_interleave(len(other), dim=0), other.repeat(len(one), 1))
    made = product(*pairs, torch.ones(len(pairs[0]), product.weight_numel))
    start, size = result.slices()[k].start, result[k].ir.dim
    return torch.as_tensor(made[:, start : start + size].reshape(len(one), len(other), size))


def check_structures(symbols: Sequence[str]) -> list[Atoms]:
    """A cluster with all elements and a small crystal."""
    generator = np.random.default_rng(0)
    size = max(8, len(symbols))
    side = int(np.ceil(size ** (1 / 3)))
    grid = np.array(list(np.ndindex(side, side, side)))[:size]
    cluster = Atoms(np.resize(symbols, size), positions=1.7 * grid + generator.normal(scale=0.15, size=(size, 3)))
    cell = [[3.3, 0.1, 0.0], [0.4, 3.5, -0.2], [0.1, 0.3, 3.4]]
    crystal = Atoms(np.resize(symbols[::-1], 3), cell=cell, pbc=True)
    crystal.set_scaled_positions([[0.0, 0.02, 0.01], [0.51, 0.47, 0.04], [0.03, 0.53, 0.49]])
    return [cluster, crystal]
