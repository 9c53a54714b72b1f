"""A committee of readouts: all that fit the labelled structures, as a Gaussian, and how far their forces are apart.

Forces are linear in the readouts, so the committee has infinitely many members at the cost of one: its covariance
follows from features alone (Bigi et al. 2024, A prediction rigidity formalism for low-cost uncertainties, doi
10.1088/2632-2153/ad805f; the posterior of Bayesian linear regression).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.data import Dataset, samples, without_isolated_atoms
from ase_nbody.graph import Graph
from ase_nbody.meta.design import blocks_of_errors, forces_by_readouts, joint_errors
from ase_nbody.meta.fitting import copied
from ase_nbody.potential import Potential

Floats = NDArray[np.float64]
SMALLEST_NOISE = 1e-3
"""eV/angstrom and eV per atom: labels are seldom more reproducible, and a model may have none of them wrong."""


@dataclass(frozen=True)
class Committee:
    """Readouts as a Gaussian around those of a potential.

    Attributes:
        potential: in float64, on the CPU.
        covariance: of the readouts, (readouts, readouts).
        noise: standard deviation of a component of labelled forces from the potential's, eV/angstrom.
    """

    potential: Potential
    covariance: Floats
    noise: float

    def forces_by_readouts(self, graph: Graph) -> Floats:
        """Derivatives of forces by the readouts, (N, 3, readouts), eV/angstrom, of structures in float64."""
        return forces_by_readouts(self.potential, graph).numpy()

    def spread(self, forces: Floats) -> float:
        """Standard deviation of the members' forces on the atom where it is largest, eV/angstrom.

        Args:
            forces: of one structure, as `forces_by_readouts` gives them.
        """
        variances = np.einsum("nik,nik->n", forces @ self.covariance, forces)
        return float(np.sqrt(max(variances.max(), 0.0)))

    def after(self, forces: Floats) -> Committee:
        """The committee where the forces of one more structure were labelled, whatever the labels will be.

        Args:
            forces: of the structure, as `forces_by_readouts` gives them.
        """
        rows = forces.reshape(-1, forces.shape[2])  # (3N, K)
        seen = rows @ self.covariance
        among = seen @ rows.T + self.noise**2 * np.eye(len(rows))
        return replace(self, covariance=self.covariance - seen.T @ np.linalg.solve(among, seen))


def committee(potential: Potential, known: Dataset) -> Committee:
    """The readouts that fit what a model was fitted to.

    Before the labels, readouts are as large as those of the potential, each tensor for itself. Energies per atom (off
    their compositions), forces and virials are labelled with a noise as large as the potential's errors of each.

    Args:
        potential: a model.
        known: labelled structures.

    Raises:
        ValueError: the network has no linear readouts, or the structures have no forces or elements that it does not
            know.
    """
    _check(potential, known)
    own = replace(copied(potential), over_inversion=False)
    own.network.to(device="cpu", dtype=torch.float64).requires_grad_(True)
    blocks = blocks_of_errors(own, samples(without_isolated_atoms(known), own.cutoff))
    quantities = joint_errors([structure for block in blocks for structure in block])
    noises = [_noise(quantity.residual) for quantity in quantities]
    rows = np.concatenate([q.matrix / noise for q, noise in zip(quantities, noises, strict=True)])
    sizes = np.concatenate([_sizes(readout) for readout in own.network.linear_readouts()])
    scaled = rows * sizes
    precision = scaled.T @ scaled + np.eye(len(sizes))
    covariance = np.linalg.inv(precision) * np.outer(sizes, sizes)
    return Committee(own, covariance, noises[1])


def _noise(residual: Floats) -> float:
    """Root mean square, not below what labels have."""
    return max(float(np.sqrt(np.mean(residual**2))), SMALLEST_NOISE) if len(residual) else SMALLEST_NOISE


def _sizes(readout: Tensor) -> Floats:
    """The root mean square of a tensor, for each of its numbers."""
    rms = readout.detach().square().mean().sqrt()
    return rms.expand(readout.numel()).numpy()


def _check(potential: Potential, known: Dataset) -> None:
    if not potential.network.linear_readouts():
        raise ValueError(
            f"{type(potential.network).__name__} with these settings has no linear readouts to make a committee of; "
            "take a model of the architecture nbody, sevennet or mace, or nequip without hidden layers in its readout"
        )
    unknown = sorted(set(known.elements) - set(potential.elements))
    if unknown:
        raise ValueError(
            f"{known.source} has {', '.join(unknown)}, which the model does not know "
            f"({', '.join(potential.elements)}); give the labelled structures that the model was fitted to"
        )
    if all(labels.forces is None for labels in known.labels):
        raise ValueError(f"{known.source} has no forces; give labelled structures with forces")
