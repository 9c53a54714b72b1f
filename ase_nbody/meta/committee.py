"""A committee of readouts: all that fit the labelled structures, as a Gaussian, and how far their forces are apart.

Forces are linear in the readouts, so the committee has infinitely many members at the cost of one: its covariance
follows from features alone (Bigi et al. 2024, A prediction rigidity formalism for low-cost uncertainties, doi
10.1088/2632-2153/ad805f; the posterior of Bayesian linear regression).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ase_nbody.calibration.batches import exact_copy
from ase_nbody.calibration.errors import check_readouts
from ase_nbody.calibration.posterior import SMALLEST_NOISE, noise_of, root_of_covariance
from ase_nbody.data import Dataset, samples, without_isolated_atoms
from ase_nbody.data.evaluation import check_elements
from ase_nbody.graph import Graph
from ase_nbody.meta.design import blocks_of_errors, forces_by_readouts, joint_errors
from ase_nbody.potential import Potential
from ase_nbody.predictions import FORCES

Floats = NDArray[np.float64]


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
    own = exact_copy(potential)
    blocks = blocks_of_errors(own, samples(without_isolated_atoms(known), own.cutoff))
    quantities = joint_errors([structure for block in blocks for structure in block])
    noises = {k: noise_of(q.residual**2) if len(q.residual) else SMALLEST_NOISE for k, q in quantities.items()}
    rows = np.concatenate([q.matrix / noises[kind] for kind, q in quantities.items()])
    root = root_of_covariance(own, rows)
    return Committee(own, root @ root.T, noises[FORCES])


def _check(potential: Potential, known: Dataset) -> None:
    check_readouts(potential)
    check_elements(potential.elements, known, "give the labelled structures that the model was fitted to")
    if all(labels.forces is None for labels in known.labels):
        raise ValueError(f"{known.source} has no forces; give labelled structures with forces")
