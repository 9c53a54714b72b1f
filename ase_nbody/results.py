"""A prediction as the dictionaries that ASE's calculators call results."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import CalculationFailed

from ase_nbody.graph import Graph, Prediction

Results = dict[str, Any]

_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # rows and columns of ASE's xx, yy, zz, yz, xz, xy


def results_by_structure(prediction: Prediction, graph: Graph) -> list[Results]:
    """ASE's results of each structure of a batch, float64, free of each other's memory.

    Args:
        prediction: of the graph.
        graph: B structures.

    Returns:
        B dictionaries of energy and free_energy (float, eV), energies (n, eV), forces (n, 3, eV/angstrom) and, where
        it is defined, stress (6, xx, yy, zz, yz, xz, xy, eV/angstrom^3).

    Raises:
        CalculationFailed: an energy or a force is not finite.
    """
    energies = prediction.energies.double().cpu().numpy()
    forces = prediction.forces.double().cpu().numpy()
    stresses = prediction.stress.double().cpu().numpy()
    defined = ~np.isnan(stresses[:, 0, 0])
    ends = torch.bincount(graph.structure, minlength=graph.n_structures).cumsum(0).tolist()
    results = []
    for number, (energy, start, end) in enumerate(zip(prediction.energy.tolist(), [0, *ends[:-1]], ends, strict=True)):
        if not (np.isfinite(energy) and np.isfinite(forces[start:end]).all()):
            raise CalculationFailed("the model gives no finite energy and forces; are two atoms at one place?")
        result: Results = {"energy": energy, "free_energy": energy}
        result |= {"energies": energies[start:end].copy(), "forces": forces[start:end].copy()}
        if defined[number]:
            result["stress"] = stresses[number][_VOIGT]
        results.append(result)
    return results
