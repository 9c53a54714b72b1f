"""A term that a test adds to potentials without an edit of the package: Lennard-Jones between all atoms."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from typing_extensions import override

from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.kernels.sums import receiver_sums
from ase_nbody.predictions import Predicted, Property
from ase_nbody.terms import SavedTerm, TermKind


class LennardJonesSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma: float = 1.2
    epsilon: float = 0.05
    cutoff: float = 6.0


class LennardJones(SavedTerm):
    """As ASE has it with smooth=True: the energy is switched off between 0.66 cutoff and the cutoff."""

    settings: LennardJonesSettings

    @property
    @override
    def cutoff(self) -> float:
        return self.settings.cutoff

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        squares = edge_vectors(graph).double().square().sum(dim=1)  # (E,)
        sixth = (self.settings.sigma**2 / squares) ** 3
        end, start = self.settings.cutoff**2, (0.66 * self.settings.cutoff) ** 2
        switched = (end - squares) ** 2 * (end + 2 * squares - 3 * start) / (end - start) ** 3
        switch = torch.where(squares < start, 1.0, torch.where(squares < end, switched, 0.0))
        return receiver_sums(0.5 * 4 * self.settings.epsilon * (sixth**2 - sixth) * switch, graph.edges)


TERM = TermKind("lennard-jones", LennardJonesSettings, LennardJones)

CHARGES = Property("charges", "e", per_atom=True)
DIPOLE = Property("dipole", "e angstrom", per_atom=False, shape=(3,), parity=-1, extensive=True, always=False)


class PolarTerm(LennardJones):
    """Lennard-Jones whose atoms have charges by their neighbours; a molecule has a dipole, a crystal has none."""

    @property
    @override
    def properties(self) -> tuple[Property, ...]:
        return (CHARGES, DIPOLE)

    @override
    def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
        lengths = edge_vectors(graph).double().norm(dim=1)
        difference = graph.atomic_numbers[graph.edges.senders] - graph.atomic_numbers[graph.edges.receivers]
        charges = receiver_sums(0.01 * difference * torch.exp(-lengths), graph.edges)  # (N,)
        moments = charges.new_zeros(graph.n_structures, 3)
        moments = moments.index_add(0, graph.structure, charges.unsqueeze(1) * graph.positions.double())
        moments = torch.where(graph.pbc.any(dim=1, keepdim=True), torch.nan, moments)
        return (Predicted(CHARGES, charges), Predicted(DIPOLE, moments))
