"""sevenn with the weights of SevenNet-0 (11 July 2024), which are also our `universal`: its calculator."""

from __future__ import annotations

from collections.abc import Callable

import sevenn._keys as keys
import torch
from ase import Atoms
from sevenn.atom_graph_data import AtomGraphData
from sevenn.calculator import SevenNetCalculator
from sevenn.train.dataload import unlabeled_atoms_to_graph


def calculator(atoms: Atoms, dtype: str, model: str, device: str = "cpu") -> SevenNetCalculator:
    """The ASE calculator; sevenn computes in float32."""
    assert dtype == "float32"
    return SevenNetCalculator(model, device=device)


def model_alone(calc: SevenNetCalculator, atoms: Atoms) -> Callable[[], object]:
    """Energy, forces and stress of a structure whose neighbours are known."""
    made = unlabeled_atoms_to_graph(atoms, calc.cutoff, with_shift=False)

    def alone() -> torch.Tensor:
        data = AtomGraphData.from_numpy_dict(made)
        data.to(calc.device)
        return calc.model(data)[keys.PRED_FORCE]

    return alone
