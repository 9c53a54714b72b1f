"""Comparing results with the envelope of a model's training, at next to no cost where nothing is outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.contacts import Table, distance_table, pair_name
from ase_nbody.envelope import EnvelopeReport, ShortDistance, UnknownSurroundings, allowed_energies
from ase_nbody.graph import Graph, bounds_of_structures, edge_vectors
from ase_nbody.known_surroundings import BEYOND, DISTANCES
from ase_nbody.model_records import Envelope


class EnvelopeCheck:
    """Compares results with an envelope.

    Args:
        envelope: of the model's training.
        reference_energies: by atomic number, (119,), eV.
        cutoff: of the model, angstrom; a pair of elements that the training never had closer than this, it never had.

    Attributes:
        limits: distances below which two atoms are outside, by pair of atomic numbers; None where they are not known.
    """

    def __init__(self, envelope: Envelope, reference_energies: NDArray[np.float64], cutoff: float) -> None:
        self._envelope = envelope
        self._references = reference_energies
        self.limits: Table | None = None
        if envelope.closest_distances:
            self.limits = distance_table(envelope.closest_distances, default=cutoff)
        low, high = envelope.energy_per_atom_range or (-np.inf, np.inf)
        self._energies = allowed_energies((low, high)) if np.isfinite(high - low) else (low, high)
        self._force = np.inf if envelope.force_max is None else envelope.force_max

    def excursions(self, graph: Graph, results: Sequence[Mapping[str, Any]]) -> dict[int, EnvelopeReport]:
        """Reports of the structures that are outside, by their number.

        Args:
            graph: B structures, with the contacts below `limits`.
            results: of each of them, as ASE has them; with `DISTANCES`, where these were looked at.
        """
        n_contacts = graph.edges.n_edges if graph.contacts is None else len(graph.contacts)
        if self.limits is None or not n_contacts:
            suspects = [n for n, result in enumerate(results) if self._is_outside(graph, n, result)]
            if not suspects:
                return {}
        reports = enumerate(self.reports(graph, results))
        return {number: report for number, report in reports if not report.inside}

    def reports(self, graph: Graph, results: Sequence[Mapping[str, Any]]) -> list[EnvelopeReport]:
        """Where each structure stands; arguments as of `excursions`."""
        distances = self._distances(graph)
        bounds = bounds_of_structures(graph)
        numbers = graph.atomic_numbers.cpu().numpy()
        return [
            self._report(numbers[start:end], _of_atoms(distances, start, end), result)
            for result, (start, end) in zip(results, pairwise(bounds), strict=True)
        ]

    def _is_outside(self, graph: Graph, number: int, result: Mapping[str, Any]) -> bool:
        """By force, energy or surroundings."""
        if DISTANCES in result and float(result[DISTANCES].max()) > BEYOND:
            return True
        forces = result["forces"]
        low, high = self._energies
        if not float(np.einsum("nx,nx->n", forces, forces).max()) <= self._force**2:
            return True
        numbers = graph.atomic_numbers if graph.n_structures == 1 else graph.atomic_numbers[graph.structure == number]
        beyond = self._energy_per_atom(numbers.cpu().numpy(), result)
        return not low <= beyond <= high

    def _energy_per_atom(self, numbers: NDArray[np.int64], result: Mapping[str, Any]) -> float:
        return float(result["energy"] - self._references[numbers].sum()) / len(numbers)

    def _report(
        self, numbers: NDArray[np.int64], distances: Sequence[ShortDistance], result: Mapping[str, Any]
    ) -> EnvelopeReport:
        squared = np.einsum("nx,nx->n", result["forces"], result["forces"])
        atom = int(squared.argmax())
        alone = np.array_equal(result["energies"], self._references[numbers])
        return EnvelopeReport(
            formula=Atoms(numbers=numbers).get_chemical_formula(),
            known=self._envelope != Envelope() or DISTANCES in result,
            distances=tuple(distances),
            force=float(np.sqrt(squared[atom])),
            force_atom=atom,
            force_max=self._envelope.force_max,
            energy_per_atom=None if alone else self._energy_per_atom(numbers, result),
            energy_range=self._envelope.energy_per_atom_range,
            surroundings=_unknown_surroundings(numbers, result),
        )

    def _distances(self, graph: Graph) -> list[ShortDistance]:
        """Contacts below the limits, each pair once, with atoms numbered through the batch; worst first."""
        if self.limits is None:
            return []
        edges = torch.arange(graph.edges.n_edges) if graph.contacts is None else graph.contacts.cpu()
        lengths = edge_vectors(graph)[edges.to(graph.positions.device)].detach().double().norm(dim=1).cpu().numpy()
        first = graph.edges.receivers.cpu()[edges].numpy()
        second = graph.edges.senders.cpu()[edges].numpy()
        numbers = graph.atomic_numbers.cpu().numpy()
        limits = self.limits[numbers[first], numbers[second]]
        chosen = np.flatnonzero((lengths < limits) & (first <= second))
        order = chosen[np.argsort(lengths[chosen] / limits[chosen], kind="stable")]
        once: dict[tuple[int, int], ShortDistance] = {}
        for e in order.tolist():
            atoms = (int(first[e]), int(second[e]))
            pair = pair_name(int(numbers[atoms[0]]), int(numbers[atoms[1]]))
            known = self._envelope.closest_distances.get(pair)
            once.setdefault(atoms, ShortDistance(atoms, pair, float(lengths[e]), known))
        return list(once.values())


def _unknown_surroundings(numbers: NDArray[np.int64], result: Mapping[str, Any]) -> tuple[UnknownSurroundings, ...]:
    distances = result.get(DISTANCES, np.zeros(len(numbers)))
    furthest = sorted(np.flatnonzero(distances > BEYOND), key=lambda atom: -distances[atom])
    return tuple(
        UnknownSurroundings(int(atom), chemical_symbols[numbers[atom]], float(distances[atom])) for atom in furthest
    )


def _of_atoms(distances: Sequence[ShortDistance], start: int, end: int) -> list[ShortDistance]:
    """Those of one structure, with its own numbers of atoms."""
    return [
        ShortDistance((d.atoms[0] - start, d.atoms[1] - start), d.pair, d.distance, d.closest)
        for d in distances
        if start <= d.atoms[0] < end
    ]
