"""A term with an open list of predictions that a test adds without an edit of the package: charges of elements."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from ase.data import atomic_numbers
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.nn import Parameter
from typing_extensions import override

from ase_nbody.graph import Graph
from ase_nbody.kernels.sums import node_sums
from ase_nbody.predictions import Predicted, Property
from ase_nbody.terms import SavedTerm, TermKind

CHARGES = Property("charges", "e", per_atom=True)
DIPOLE = Property("dipole", "e angstrom", per_atom=False, shape=(3,), parity=-1, extensive=True, always=False)


class ElementChargesSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    charges: Mapping[str, float]


class ElementCharges(SavedTerm):
    """Charges that are learnt, one for each element, less their mean in a structure; molecules have a dipole too."""

    constant = True  # no energy

    def __init__(self, settings: ElementChargesSettings) -> None:
        self.elements = tuple(settings.charges)
        self.charges = Parameter(torch.tensor(list(settings.charges.values()), dtype=torch.float64))

    @property
    def settings(self) -> ElementChargesSettings:
        return ElementChargesSettings(charges=dict(zip(self.elements, self.charges.tolist(), strict=True)))

    @property
    @override
    def learnt_parameters(self) -> dict[str, Parameter]:
        return {"charges": self.charges}

    @property
    @override
    def cutoff(self) -> float:
        return 0.0

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        return torch.zeros(graph.n_atoms, dtype=torch.float64, device=graph.positions.device)

    @property
    @override
    def properties(self) -> tuple[Property, ...]:
        return (CHARGES, DIPOLE)

    @override
    def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
        numbers = torch.tensor([atomic_numbers[element] for element in self.elements])
        table = self.charges.new_zeros(119).index_put((numbers,), self.charges)
        own = table.to(graph.positions)[graph.atomic_numbers]  # (N,)
        counts = torch.bincount(graph.structure, minlength=graph.n_structures)
        means = node_sums(own, graph.structure, graph.n_structures) / counts  # (B,)
        charges = own - means[graph.structure]
        moments = node_sums(charges.unsqueeze(1) * graph.positions, graph.structure, graph.n_structures)  # (B, 3)
        periodic = graph.pbc.any(dim=1, keepdim=True)
        return Predicted(CHARGES, charges), Predicted(DIPOLE, torch.where(periodic, torch.nan, moments))


TERM = TermKind("element-charges", ElementChargesSettings, ElementCharges)
