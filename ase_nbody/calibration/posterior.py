"""What labelled structures leave open of a model's readouts, and how large its errors are beside that.

Readouts that fit the labels are a Gaussian: the posterior of Bayesian linear regression on the derivatives of energies
and forces by them, which is also the Laplace approximation of the last layer (Bigi et al. 2024, doi
10.1088/2632-2153/ad805f). Forces of all atoms would take a pass of tangents for each coordinate; random directions,
in which all atoms move at once, have the same expectation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.calibration.batches import exact_copy, graphs
from ase_nbody.calibration.errors import CalibrationError
from ase_nbody.calibration.factors import calibration_factor
from ase_nbody.calibration.judged import standard_deviations, stress_errors
from ase_nbody.data import Dataset, Evaluation
from ase_nbody.graph import Graph
from ase_nbody.model_records import UncertaintyRecord
from ase_nbody.potential import Potential, copied_potential, seen_by_network, tangents_of_seen
from ase_nbody.predictions import FORCES
from ase_nbody.readout_posterior import ReadoutPosterior

Floats = NDArray[np.float64]
ROWS_PER_READOUT = 4
"""Directions of forces, of all structures together, for each readout."""
SMALLEST_NOISE = 1e-3
"""eV/angstrom and eV per atom: labels are seldom more reproducible, and a model may have none of them wrong."""


@dataclass(frozen=True)
class Derivatives:
    """Derivatives of predictions by the readouts, of S structures.

    Attributes:
        energies: per atom, (S, readouts).
        forces: along M random directions in which all atoms of a structure move, normally distributed with a variance
            of 1 for each coordinate, (S, M, readouts), 1/angstrom.
        n_atoms: of each structure, (S,).
    """

    energies: Floats
    forces: Floats
    n_atoms: NDArray[np.int64]

    def subset(self, indices: Sequence[int]) -> Derivatives:
        """Of some of the structures."""
        chosen = list(indices)
        return Derivatives(self.energies[chosen], self.forces[chosen], self.n_atoms[chosen])


def posterior_of(
    potential: Potential,
    learnt: Derivatives,
    folds: Sequence[tuple[Derivatives, Dataset]],
    evaluation: Evaluation,
) -> ReadoutPosterior:
    """A posterior of structures, whose factors make standard deviations fit errors on held-out structures.

    Args:
        potential: with linear readouts, at one level of theory alone.
        learnt: what it was fitted to.
        folds: what was learnt, and the structures that were held out for the errors.
        evaluation: on all that was held out, in the order of the folds.

    Raises:
        CalibrationError: there are no labels of forces.
    """
    forces_errors = evaluation.of(FORCES).errors  # (N, 3)
    if np.isnan(forces_errors).all():
        raise CalibrationError("the held-out structures have no forces; uncertainties are calibrated with them")
    energy_errors = evaluation.energy_errors_per_atom  # (S,)
    with_energies = not np.isnan(energy_errors).all()
    noise = noise_of(forces_errors**2)
    energy_noise = noise_of(energy_errors**2) if with_energies else noise
    own = copied_potential(potential, torch.device("cpu"), torch.float64)
    parts = [
        standard_deviations(_uncalibrated(own, _root(own, some, energy_noise, noise)), held_out)
        for some, held_out in folds
    ]
    energies, forces, stress = (np.concatenate(several) for several in zip(*parts, strict=True))
    of_stress = stress_errors(evaluation)  # (S, 6)
    known = ~np.isnan(of_stress).any(axis=1)
    forces_factor = calibration_factor(forces, forces_errors)
    record = UncertaintyRecord(
        energy_factor=calibration_factor(energies, energy_errors) if with_energies else forces_factor,
        forces_factor=forces_factor,
        stress_factor=calibration_factor(stress[known], of_stress[known]) if known.any() else forces_factor,
        n_learnt=len(learnt.n_atoms),
        n_held_out=len(evaluation.n_atoms),
    )
    return ReadoutPosterior(_root(potential, learnt, energy_noise, noise), record)


def _uncalibrated(potential: Potential, root: Floats) -> Potential:
    """A potential whose standard deviations are as a root says them."""
    record = UncertaintyRecord(energy_factor=1.0, forces_factor=1.0, stress_factor=1.0, n_learnt=1, n_held_out=1)
    return replace(potential, posteriors=(ReadoutPosterior(root, record),))


def derivatives(potential: Potential, dataset: Dataset) -> Derivatives:
    """Derivatives of predictions for structures by the linear readouts of a potential.

    Args:
        potential: with linear readouts; means over inversion are left out.
        dataset: structures, whose labels are not looked at.
    """
    own = exact_copy(potential)
    largest = max(len(atoms) for atoms in dataset.structures)
    n_readouts = sum(readout.numel() for readout in own.network.linear_readouts())
    n_directions = min(-(-ROWS_PER_READOUT * n_readouts // len(dataset)), 3 * largest)
    generator = torch.Generator().manual_seed(0)
    batches = list(_of_batches(own, dataset, n_directions, generator))
    n_atoms = np.array([len(atoms) for atoms in dataset.structures])
    energies, forces = (np.concatenate(several) for several in zip(*batches, strict=True))
    return Derivatives(energies / n_atoms[:, None], forces, n_atoms)


def _of_batches(
    potential: Potential, dataset: Dataset, n_directions: int, generator: torch.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """Derivatives of energies and of forces along random directions, batch by batch."""
    for graph in graphs(potential, dataset):
        tangents = [_random_tangent(graph, generator) for _ in range(n_directions)]
        seen, seen_tangents = seen_by_network(potential, graph), tangents_of_seen(potential, graph, tangents)
        energies, *along = potential.network.readout_features(seen, seen_tangents)
        scale = potential.energy_scale
        yield scale * energies.numpy(), scale * torch.stack(along, dim=1).numpy()


def _random_tangent(graph: Graph, generator: torch.Generator) -> torch.Tensor:
    """Tangents of the vectors of all edges where every atom moves at random, (E, 3)."""
    displacements = torch.randn(graph.n_atoms, 3, generator=generator, dtype=graph.positions.dtype)
    return displacements[graph.edges.senders] - displacements[graph.edges.receivers]


def _root(potential: Potential, learnt: Derivatives, energy_noise: float, noise: float) -> Floats:
    n_directions, n_readouts = learnt.forces.shape[1:]
    forces = learnt.forces.reshape(-1, n_readouts) / (noise * np.sqrt(n_directions))
    return root_of_covariance(potential, np.concatenate([learnt.energies / energy_noise, forces]))


def root_of_covariance(potential: Potential, rows: Floats) -> Floats:
    """Root of the covariance of the readouts, which before all labels are as large as the potential's own.

    Args:
        potential: with linear readouts; each of its tensors has a size of its own.
        rows: derivatives of labelled quantities, over the noise of these, (rows, readouts).
    """
    sizes = np.concatenate([_sizes(readout) for readout in potential.network.linear_readouts()])
    scaled = rows * sizes
    lower = np.linalg.cholesky(scaled.T @ scaled + np.eye(len(sizes)))
    root: Floats = sizes[:, None] * np.linalg.inv(lower).T
    return root


def _sizes(readout: torch.Tensor) -> Floats:
    """The root mean square of a tensor, for each of its numbers."""
    rms = readout.detach().double().square().mean().sqrt().cpu()
    return rms.expand(readout.numel()).numpy()


def noise_of(squares: Floats) -> float:
    """Root mean square, not below what labels have; NaN does not count."""
    return max(float(np.sqrt(np.nanmean(squares))), SMALLEST_NOISE)
