"""A prediction as the dictionaries that ASE's calculators call results."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from ase.calculators.calculator import CalculationFailed
from numpy.typing import NDArray

from ase_nbody.graph import Graph, bounds_of_structures
from ase_nbody.predictions import Prediction, Property

Results = dict[str, Any]

_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # rows and columns of ASE's xx, yy, zz, yz, xz, xy


def results_by_structure(prediction: Prediction, graph: Graph) -> list[Results]:
    """ASE's results of each structure of a batch, float64, free of each other's memory.

    Args:
        prediction: of the graph.
        graph: B structures.

    Returns:
        B dictionaries of energy and free_energy (float, eV), energies (n, eV), forces (n, 3, eV/angstrom) and, where
        it is defined, stress (6, xx, yy, zz, yz, xz, xy, eV/angstrom^3); and what else is predicted, by its name.

    Raises:
        CalculationFailed: something that every structure has, such as an energy or a force, is not finite.
    """
    bounds = bounds_of_structures(graph)
    results: list[Results] = [{} for _ in range(graph.n_structures)]
    for predicted in prediction.predicted:
        kind, values = predicted.property, predicted.values.numpy(force=True).astype(np.float64)
        if kind.always and not isfinite(values.sum()):  # a sum is finite where all values are, and is quicker
            raise CalculationFailed(f"the model gives no finite {kind.name}; are two atoms at one place?")
        of_structures = [values[a:b] for a, b in pairwise(bounds)] if kind.per_atom else values
        for result, value in zip(results, of_structures, strict=True):
            if kind.always or not np.isnan(value.flat[0]):
                result[kind.name] = _as_ase_has_it(kind, value)
    for result in results:
        result["free_energy"] = result["energy"]
    return results


def _as_ase_has_it(kind: Property, value: NDArray[np.float64]) -> Any:
    if kind.voigt:
        return value[_VOIGT]
    return value.copy() if value.ndim else float(value)
