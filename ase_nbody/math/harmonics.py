"""Real spherical harmonics by the Clebsch-Gordan recursion, in the basis and phases of our own tables."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ase_nbody.algebra.clebsch_gordan import clebsch_gordan


def spherical_harmonics(directions: Tensor, max_degree: int) -> Tensor:
    """Harmonics of degree 0 to max_degree, of mean square one on the sphere.

    Degree 0 is 1, degree 1 is sqrt(3) (x, y, z), and degree l is the part of degree l in the product of degrees l-1
    and 1, scaled so that the sum of squares is 2l+1. They differ from e3nn's by one sign per degree at most.

    Args:
        directions: unit vectors, (E, 3).
        max_degree: the highest degree.

    Returns:
        (E, (max_degree + 1)^2).
    """
    blocks = [torch.ones_like(directions[:, :1])]
    for step in harmonic_steps(max_degree, directions.dtype, directions.device):
        outer = blocks[-1].unsqueeze(2) * directions.unsqueeze(1)  # (E, 2l-1, 3)
        blocks.append(outer.flatten(1) @ step)
    return torch.cat(blocks, dim=1)


@cache
@torch.inference_mode(False)  # matrices made in inference mode could not be differentiated through later
def harmonic_steps(max_degree: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """For each degree l from 1 on, from harmonics of degree l-1 and a unit vector to degree l, (3 (2l-1), 2l+1)."""
    steps: list[Tensor] = []
    pole = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    below = torch.ones(1, 1, dtype=torch.float64)
    for degree in range(1, max_degree + 1):
        matrix = torch.as_tensor(clebsch_gordan(degree - 1, 1, degree)).flatten(0, 1)
        outer = (below.unsqueeze(2) * pole.unsqueeze(1)).flatten(1)
        steps.append(matrix * ((2 * degree + 1) ** 0.5 / (outer @ matrix).norm()))
        below = outer @ steps[-1]
    return tuple(step.to(dtype=dtype, device=device) for step in steps)
