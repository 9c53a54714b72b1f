"""What labelled structures leave open of a model's readouts, and how large its errors are beside that.

Readouts that fit the labels are a Gaussian: the posterior of Bayesian linear regression on the derivatives of energies
and forces by them, which is also the Laplace approximation of the last layer (Bigi et al. 2024, doi
10.1088/2632-2153/ad805f). Forces of all atoms would take a pass of tangents for each coordinate; random directions,
in which all atoms move at once, have the same expectation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.calibration.batches import exact_copy, graphs
from ase_nbody.calibration.errors import CalibrationError
from ase_nbody.data import Dataset, Evaluation
from ase_nbody.graph import Graph
from ase_nbody.model_records import UncertaintyRecord
from ase_nbody.potential import Potential, seen_by_network, tangents_of_seen
from ase_nbody.predictions import FORCES
from ase_nbody.readout_posterior import ReadoutPosterior

Floats = NDArray[np.float64]
ROWS_PER_READOUT = 4
"""Directions of forces, of all structures together, for each readout."""
SMALLEST_NOISE = 1e-3
"""eV/angstrom and eV per atom: labels are seldom more reproducible, and a model may have none of them wrong."""
SMALLEST_FACTOR = 1e-6
"""Where a model has no errors at all."""


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


@dataclass(frozen=True)
class SquaredErrors:
    """Squared errors on S structures; NaN where there is no label.

    Attributes:
        energies: of energies per atom, (S,), eV^2.
        forces: of components of forces, the mean of each structure, (S,), (eV/angstrom)^2.
    """

    energies: Floats
    forces: Floats


def squared_errors(evaluation: Evaluation) -> SquaredErrors:
    """Squared errors of an evaluation."""
    forces = np.square(evaluation.of(FORCES).errors).mean(axis=1)  # (N,)
    of_structures = np.split(forces, np.cumsum(evaluation.n_atoms)[:-1])
    return SquaredErrors(np.square(evaluation.energy_errors_per_atom), np.array([one.mean() for one in of_structures]))


def posterior_of(
    potential: Potential, learnt: Derivatives, folds: Sequence[tuple[Derivatives, Derivatives]], errors: SquaredErrors
) -> ReadoutPosterior:
    """A posterior of structures, whose factors make errors on held-out structures as large as it says.

    Args:
        potential: with linear readouts.
        learnt: what it was fitted to.
        folds: what was learnt and what was held out for the errors.
        errors: on all that was held out, in the order of the folds.

    Raises:
        CalibrationError: there are no errors of forces.
    """
    if np.isnan(errors.forces).all():
        raise CalibrationError("the held-out structures have no forces; uncertainties are calibrated with them")
    noise = noise_of(errors.forces)
    energy_noise = noise if np.isnan(errors.energies).all() else noise_of(errors.energies)
    variances = [_variances(_root(potential, some, energy_noise, noise), others) for some, others in folds]
    energy, forces = (np.concatenate(several) for several in zip(*variances, strict=True))
    forces_factor = _factor(errors.forces, forces)
    record = UncertaintyRecord(
        energy_factor=forces_factor if np.isnan(errors.energies).all() else _factor(errors.energies, energy),
        forces_factor=forces_factor,
        n_learnt=len(learnt.n_atoms),
        n_held_out=sum(len(others.n_atoms) for _, others in folds),
    )
    return ReadoutPosterior(_root(potential, learnt, energy_noise, noise), record)


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


def _variances(root: Floats, of: Derivatives) -> tuple[Floats, Floats]:
    """Of energies per atom, (S,), and of components of forces, the mean of each structure, (S,)."""
    energies = np.square(of.energies @ root).sum(axis=1)
    along = np.square(of.forces @ root).sum(axis=2).mean(axis=1)  # of the sum over 3N components, each with variance 1
    return energies, along / (3 * of.n_atoms)


def noise_of(squares: Floats) -> float:
    """Root mean square, not below what labels have; NaN does not count."""
    return max(float(np.sqrt(np.nanmean(squares))), SMALLEST_NOISE)


def _factor(squares: Floats, variances: Floats) -> float:
    """What standard deviations are multiplied by, so that squared errors are as large as variances on average.

    Structures count less the more uncertain they are, so that few bad ones do not decide, but none counts
    much more than those of the mean variance: forces that vanish by symmetry would decide everything.
    """
    labelled = ~np.isnan(squares)
    weights = 1 / (variances + variances[labelled].mean())[labelled]
    ratio = (squares[labelled] * weights).sum() / (variances[labelled] * weights).sum()
    return max(float(np.sqrt(ratio)), SMALLEST_FACTOR)
