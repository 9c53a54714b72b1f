"""Closed form: ridge regression of the readouts towards those of the start, its strength by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.architectures.base import Network
from ase_nbody.meta.design import Design

Floats = NDArray[np.float64]
STRENGTHS = np.logspace(-8, 2, 21)
"""Strengths that cross-validation chooses from, in units of the mean square norm of a column of the design matrix."""
FOLDS = 5


@dataclass(frozen=True)
class Ridge:
    """A solution.

    Attributes:
        update: readouts - start, (readouts,).
        strength: of the penalty, per squared distance to the start.
        held_out: loss of structures that were left out, over the start's.
    """

    update: Floats
    strength: float
    held_out: float


def solve(design: Design, strength: float) -> Floats:
    """The change of the readouts that minimises |residual + matrix x|^2 + strength |x|^2, (readouts,)."""
    return _solved(design.matrix.T @ design.matrix, design.matrix.T @ design.residual, strength)


def cross_validated(design: Design) -> Ridge:
    """The solution at the strength with the lowest error of structures that were left out in turn, in five folds."""
    structures = np.unique(design.structure)
    n_folds = min(FOLDS, len(structures))
    gram, right = design.matrix.T @ design.matrix, design.matrix.T @ design.residual
    strengths = STRENGTHS * (float(np.diag(gram).mean()) or 1.0)
    losses = np.zeros(len(strengths))
    for number in range(n_folds):
        out = np.isin(design.structure, structures[number::n_folds])
        a, r = design.matrix[out], design.residual[out]
        for n, strength in enumerate(strengths):
            update = _solved(gram - a.T @ a, right - a.T @ r, strength)
            losses[n] += np.square(r + a @ update).sum()
    best = int(losses.argmin())
    start = float(np.square(design.residual).sum())
    return Ridge(solve(design, strengths[best]), float(strengths[best]), float(losses[best]) / start if start else 1.0)


def with_readouts(network: Network, update: Floats) -> None:
    """Add a solution to the linear readouts of a network, in place."""
    readouts = network.linear_readouts()
    updates = torch.split(torch.from_numpy(update), [p.numel() for p in readouts])
    with torch.no_grad():
        for readout, change in zip(readouts, updates, strict=True):
            readout.add_(change.view_as(readout).to(readout))


def _solved(gram: Floats, right: Floats, strength: float) -> Floats:
    return np.asarray(-np.linalg.solve(gram + strength * np.eye(len(gram)), right))
