"""Rotation matrices of e3nn's irreps in full float64 precision, the oracle of the tests on equivariance."""

from __future__ import annotations

import numpy as np
import torch
from e3nn import o3
from scipy.spatial.transform import Rotation

ROTATION = Rotation.from_euler("yxy", [0.3, 1.1, -0.7]).as_matrix()
INVERSION = -np.eye(3)
REFLECTION = ROTATION @ np.diag([1.0, -1.0, 1.0])


def wigner(irreps: str, matrix: np.ndarray) -> torch.Tensor:
    """Representation matrix of irreps such as "4x0e+4x1o", float64.

    e3nn makes the generators of rotations in torch's default dtype, so that is float64 while it does.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return o3.Irreps(irreps).D_from_matrix(torch.as_tensor(matrix))
    finally:
        torch.set_default_dtype(before)
