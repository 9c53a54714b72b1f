"""What steps work on when they are done with torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.steps.state_irreps import StateIrreps
from ase_nbody.steps.weights import StepWeights


@dataclass
class StepAtoms:
    """Atoms of a graph while steps are done.

    Attributes:
        irreps_of: of states.
        weights: of the steps.
        types: numbers of the elements, (N,).
        pairs: edges within the cutoff.
        distances: of these edges, (E,), angstrom.
        harmonics: of them, (E, M).
        values: blocks of states, (N, 2l + 1, columns) each.
        energies: (N,).
        features: of each step that hands some out, (N, columns).
        breaks: see `Description`.
    """

    irreps_of: Mapping[str, StateIrreps]
    weights: StepWeights
    types: Tensor
    pairs: EdgeList
    distances: Tensor
    harmonics: Tensor
    energies: Tensor
    breaks: tuple[float, ...] = ()
    values: dict[str, list[Tensor]] = field(default_factory=dict)
    features: list[Tensor] = field(default_factory=list)

    def add(self, name: str, number: int, value: Tensor) -> None:
        """Add to a block of a state."""
        if name not in self.values:
            n_atoms = len(self.types)
            self.values[name] = [
                value.new_zeros(n_atoms, block.irrep.dimension, block.columns) for block in self.irreps_of[name]
            ]
        self.values[name][number] = self.values[name][number] + value

    def add_all(self, name: str, components: Tensor) -> None:
        """Add to all blocks what a product made, (N, components of all paths, C)."""
        blocks, first = self.irreps_of[name], 0
        channels = components.shape[2]
        for number, block in enumerate(blocks):
            count = block.length // channels
            rows = components[:, first : first + count]
            self.add(name, number, rows.reshape(len(rows), block.irrep.dimension, block.columns))
            first += count

    def radial_weights(self, name: str, *, by_kind: bool) -> Tensor:
        """Radial weights of all edges, (E, paths C)."""
        radial, n_types = self.weights.radial[name], round(len(self.weights.kind_of_pair) ** 0.5)
        if not by_kind:
            return radial.weights(self.distances, 0, self.breaks)
        pairs = self.types[self.pairs.receivers] * n_types + self.types[self.pairs.senders]
        kinds = self.weights.kind_of_pair[pairs]
        present = sorted(set(kinds.tolist()))
        order = torch.argsort(kinds, stable=True)
        parts = [radial.weights(self.distances[kinds == kind], kind, self.breaks) for kind in present]
        return torch.cat(parts)[torch.argsort(order)] if parts else radial.weights(self.distances, 0, self.breaks)
