"""Reference energies: what each atom has by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from ase.data import atomic_numbers
from torch import Tensor
from typing_extensions import override

from ase_nbody.graph import Graph
from ase_nbody.terms.base import EnergyTerm


@dataclass(frozen=True)
class IsolatedAtoms(EnergyTerm):
    """The energy of each isolated element.

    Attributes:
        energies: by chemical symbol, eV.
    """

    energies: Mapping[str, float]
    constant = True

    @property
    @override
    def cutoff(self) -> float:
        return 0.0

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        return self.by_number(graph.positions.device)[graph.atomic_numbers]

    def by_number(self, device: torch.device) -> Tensor:
        """Energies by atomic number, (119,) float64, NaN where unknown, eV."""
        return _by_number(self._items, device)

    @cached_property
    def _items(self) -> tuple[tuple[str, float], ...]:
        return tuple(self.energies.items())


@lru_cache
def _by_number(energies: tuple[tuple[str, float], ...], device: torch.device) -> Tensor:
    table = torch.full((119,), torch.nan, dtype=torch.float64, device="cpu")
    for symbol, energy in energies:
        table[atomic_numbers[symbol]] = energy
    return table.to(device)
