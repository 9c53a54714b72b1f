"""Which structures to label next: those on whose forces readouts that fit the labelled ones disagree most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.data import Dataset, read_dataset
from ase_nbody.labelling.sampling.selection import duplicates
from ase_nbody.labelling.sampling.settings import SPREAD, PickSettings
from ase_nbody.meta.committee import Committee, committee
from ase_nbody.model_file import load_model
from ase_nbody.models_directory import find_model
from ase_nbody.neighbours import batch_graph
from ase_nbody.structures import batches_of_structures

BATCH_ATOMS = 500


@dataclass(frozen=True)
class Picker:
    """A committee and the structures that it knows.

    Attributes:
        committee: of readouts.
        known: labelled structures.
        number: of structures to pick, at most.
        resolution: root mean square difference of interatomic distances below which two structures are one, angstrom.
    """

    committee: Committee
    known: Sequence[Atoms]
    number: int
    resolution: float

    def picked(self, structures: Sequence[Atoms]) -> list[Atoms]:
        """Copies of those with the largest spread, each with its spread in its info, the largest first.

        After each pick the committee is the one that has its forces labelled, so the next is another. Structures that
        are one with a known or an earlier one are left out.

        Args:
            structures: to pick from.

        Raises:
            ValueError: a structure has elements that the model does not know.
        """
        twice = duplicates([*self.known, *structures], self.resolution)[len(self.known) :]
        single = [atoms for atoms, double in zip(structures, twice, strict=True) if not double]
        forces, current = self._forces(single), self.committee
        spreads = [current.spread(one) for one in forces]
        left, picked = set(range(len(single))), list[Atoms]()
        while left and len(picked) < self.number:
            best = _largest(left, spreads, forces, current)
            left.remove(best)
            current = current.after(forces[best])
            picked.append(single[best].copy())
            picked[-1].info[SPREAD] = spreads[best]
        return picked

    def _forces(self, structures: Sequence[Atoms]) -> list[NDArray[np.float64]]:
        """`Committee.forces_by_readouts` of each structure, batch by batch."""
        potential, arrays = self.committee.potential, list[NDArray[np.float64]]()
        for numbers in batches_of_structures(structures, BATCH_ATOMS):
            batch = [structures[number] for number in numbers]
            graph = batch_graph(batch, potential.cutoff, dtype=torch.float64, elements=potential.elements)
            ends = np.cumsum([len(one) for one in batch])[:-1]
            arrays += np.split(self.committee.forces_by_readouts(graph), ends)
        return arrays


def _largest(left: set[int], spreads: list[float], forces: Sequence[NDArray[np.float64]], current: Committee) -> int:
    """The structure with the largest spread; brings `spreads` up to date as far as needed: they only become smaller."""
    looked_at: set[int] = set()
    while True:
        best = max(left, key=lambda number: (spreads[number], -number))
        if best in looked_at:
            return best
        spreads[best] = current.spread(forces[best])
        looked_at.add(best)


def picker(settings: PickSettings, resolution: float) -> Picker:
    """A picker, made before there is anything to pick from, so that what is missing is said early.

    Args:
        settings: model and labelled structures.
        resolution: see `Picker`.

    Raises:
        ValueError: there is no such model or file, or they do not fit to each other.
    """
    potential, _ = load_model(find_model(settings.model), device="cpu", dtype=torch.float64)
    known: Dataset = read_dataset(settings.known)
    return Picker(committee(potential, known), known.structures, settings.number, resolution)
