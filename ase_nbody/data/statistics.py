"""Statistics of a dataset: scales for the network, and the training envelope of the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ase_nbody.data.dataset import Dataset
from ase_nbody.graph import closest_distances
from ase_nbody.neighbours import neighbour_graph


@dataclass(frozen=True)
class Statistics:
    """What a model needs to know of its training data, and what a user may ask.

    Attributes:
        average_neighbours: mean number of neighbours of an atom within the cutoff.
        force_rms: root mean square of force components, eV/angstrom; None without forces.
        force_max: largest force on an atom, eV/angstrom; None without forces.
        energy_range_per_atom: smallest and largest energy per atom beyond the reference energies, eV; None without
            energies.
        closest_distances: smallest distance within the cutoff by pair of elements, angstrom; keys are sorted symbols
            such as "C-H".
        n_structures: number of structures.
        n_atoms: number of atoms in all structures.
    """

    average_neighbours: float
    force_rms: float | None
    force_max: float | None
    energy_range_per_atom: tuple[float, float] | None
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
    for atoms in dataset.structures:
        graph = neighbour_graph(atoms, cutoff)
        n_edges += graph.edges.n_edges
        closest = closest_distances(graph, closest)
    n_atoms = sum(len(atoms) for atoms in dataset.structures)
    force_rms, force_max = _force_scales(dataset)
    return Statistics(
        average_neighbours=n_edges / n_atoms,
        force_rms=force_rms,
        force_max=force_max,
        energy_range_per_atom=_energy_range(dataset, references),
        closest_distances=dict(sorted(closest.items())),
        n_structures=len(dataset),
        n_atoms=n_atoms,
    )


def _force_scales(dataset: Dataset) -> tuple[float | None, float | None]:
    labelled = [label.forces for label in dataset.labels if label.forces is not None]
    if not labelled:
        return None, None
    forces = np.concatenate(labelled)  # (N, 3)
    return float(np.sqrt(np.mean(forces**2))), float(np.linalg.norm(forces, axis=1).max())


def _energy_range(dataset: Dataset, references: Mapping[str, float]) -> tuple[float, float] | None:
    beyond = [
        (labels.energy - sum(references[s] for s in atoms.symbols)) / len(atoms)
        for atoms, labels in zip(dataset.structures, dataset.labels, strict=True)
        if labels.energy is not None
    ]
    return (min(beyond), max(beyond)) if beyond else None
