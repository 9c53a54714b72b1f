"""Statistics of a dataset: scales for the network, and the training envelope of the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_nbody.data.dataset import Dataset
from ase_nbody.graph import closest_distances
from ase_nbody.neighbours import batch_graph
from ase_nbody.structures import batches_of_structures

Floats = NDArray[np.float64]

ATOMS_PER_BATCH = 1000
"""Atoms whose pairs are searched for at once."""


@dataclass(frozen=True)
class Statistics:
    """What a model needs to know of its training data, and what a user may ask.

    Attributes:
        average_neighbours: mean number of neighbours of an atom within the cutoff.
        force_rms: root mean square of force components, eV/angstrom; None without forces.
        force_max: largest force on an atom, eV/angstrom; None without forces.
        energy_rms_per_atom: root mean square of the energies per atom beyond the reference energies, eV; None without
            energies.
        energy_spread_per_atom: their standard deviation, eV; likewise.
        energy_range_per_atom: smallest and largest energy per atom beyond the reference energies, eV; None without
            energies.
        stress_rms: root mean square of stress components, eV/angstrom^3; None without stress.
        virial_rms_per_atom: likewise, of stress times volume per atom, eV.
        closest_distances: smallest distance within the cutoff by pair of elements, angstrom; keys are sorted symbols
            such as "C-H".
        n_structures: number of structures.
        n_atoms: number of atoms in all structures.
    """

    average_neighbours: float
    force_rms: float | None
    force_max: float | None
    energy_rms_per_atom: float | None
    energy_spread_per_atom: float | None
    energy_range_per_atom: tuple[float, float] | None
    stress_rms: float | None
    virial_rms_per_atom: float | None
    closest_distances: dict[str, float]
    n_structures: int
    n_atoms: int


def statistics(dataset: Dataset, references: Mapping[str, float], cutoff: float) -> Statistics:
    """Statistics of a dataset.

    Args:
        dataset: labelled structures.
        references: energy of each isolated element, eV.
        cutoff: largest distance between neighbours, angstrom.

    Raises:
        ValueError: the dataset is empty, or an element has no reference energy.
    """
    if len(dataset) == 0:
        raise ValueError("statistics need at least one structure; the dataset is empty")
    missing = sorted(set(dataset.elements) - set(references))
    if missing:
        raise ValueError(f"no reference energy for {', '.join(missing)}, which occurs in {dataset.source}")
    n_edges, closest = 0, dict[str, float]()
    for batch in batches_of_structures(dataset.structures, ATOMS_PER_BATCH):
        graph = batch_graph([dataset.structures[number] for number in batch], cutoff)
        n_edges += graph.edges.n_edges
        closest = closest_distances(graph, closest)
    n_atoms = sum(len(atoms) for atoms in dataset.structures)
    force_rms, force_max = _force_scales(dataset)
    energies = _energies_per_atom(dataset, references)  # (labelled structures,)
    stress_rms, virial_rms = _stress_scales(dataset)
    return Statistics(
        average_neighbours=n_edges / n_atoms,
        force_rms=force_rms,
        force_max=force_max,
        energy_rms_per_atom=_root_mean_square(energies) if energies.size else None,
        energy_spread_per_atom=float(energies.std()) if energies.size else None,
        energy_range_per_atom=(float(energies.min()), float(energies.max())) if energies.size else None,
        stress_rms=stress_rms,
        virial_rms_per_atom=virial_rms,
        closest_distances=dict(sorted(closest.items())),
        n_structures=len(dataset),
        n_atoms=n_atoms,
    )


def _force_scales(dataset: Dataset) -> tuple[float | None, float | None]:
    labelled = [label.forces for label in dataset.labels if label.forces is not None]
    if not labelled:
        return None, None
    forces = np.concatenate(labelled)  # (N, 3)
    return _root_mean_square(forces), float(np.linalg.norm(forces, axis=1).max())


def _energies_per_atom(dataset: Dataset, references: Mapping[str, float]) -> Floats:
    """Energies per atom beyond the reference energies, of structures that have a label, (S,), eV."""
    return np.array(
        [
            (labels.energy - sum(references[s] for s in atoms.symbols)) / len(atoms)
            for atoms, labels in zip(dataset.structures, dataset.labels, strict=True)
            if labels.energy is not None
        ]
    )


def _stress_scales(dataset: Dataset) -> tuple[float | None, float | None]:
    labelled = [
        (labels.stress, abs(float(np.linalg.det(atoms.cell.array))) / len(atoms))
        for atoms, labels in zip(dataset.structures, dataset.labels, strict=True)
        if labels.stress is not None
    ]
    if not labelled:
        return None, None
    stress = np.array([one for one, _ in labelled])  # (S, 3, 3)
    volumes = np.array([volume for _, volume in labelled])  # (S,), angstrom^3 per atom
    return _root_mean_square(stress), _root_mean_square(stress * volumes[:, None, None])


def _root_mean_square(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))
