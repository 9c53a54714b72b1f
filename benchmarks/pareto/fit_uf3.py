"""A UF3 potential of pairs and triplets by the package `uf3`: fit_uf3.py TRAIN.xyz SYMBOL FOLDER.

Regularized least squares on energies per atom and forces. Writes SYMBOL.uf3, which LAMMPS reads, and SYMBOL_uf3.json
with the energy of an atom alone, which LAMMPS's file has no place for, into the folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ase.io import read
from uf3.data.composition import ChemicalSystem
from uf3.data.io import DataCoordinator
from uf3.regression.least_squares import WeightedLinearModel, arrange_coefficients, dataframe_to_tuples
from uf3.representation.bspline import BSplineBasis
from uf3.representation.process import BasisFeaturizer

CLOSEST = 1.5  # angstrom
PAIR_CUTOFF, TRIPLET_CUTOFF = 5.5, 4.0  # angstrom
PAIR_KNOTS, TRIPLET_KNOTS = 24, 8  # intervals; twice as many for the far side of a triplet
REGULARIZATION = {"ridge_1b": 1e-8, "ridge_2b": 0.0, "ridge_3b": 1e-8, "curve_2b": 1e-8, "curve_3b": 1e-8}
ENERGY_WEIGHT = 0.3  # of energies against forces, both by their spread
TRIM = 3  # of last coefficients of a spline, which are zero so that it ends smoothly


def basis(symbol: str) -> BSplineBasis:
    """Splines of pairs and triplets."""
    pair, triplet = (symbol,) * 2, (symbol,) * 3
    return BSplineBasis(
        ChemicalSystem(element_list=[symbol], degree=3),
        r_min_map={pair: CLOSEST, triplet: [CLOSEST] * 3},
        r_max_map={pair: PAIR_CUTOFF, triplet: [TRIPLET_CUTOFF, TRIPLET_CUTOFF, 2 * TRIPLET_CUTOFF]},
        resolution_map={pair: PAIR_KNOTS, triplet: [TRIPLET_KNOTS, TRIPLET_KNOTS, 2 * TRIPLET_KNOTS]},
        trailing_trim=TRIM,
    )


def fitted(train: str, splines: BSplineBasis) -> WeightedLinearModel:
    """The model of a file."""
    frames = read(train, ":")
    energies = [atoms.get_potential_energy() for atoms in frames]
    forces = [atoms.get_forces().T for atoms in frames]
    data = DataCoordinator()
    data.dataframe_from_lists(frames, prefix="train", energies=energies, forces=forces)
    features = BasisFeaturizer(splines).evaluate(data.consolidate(remove_duplicates=False), progress=None)
    model = WeightedLinearModel(splines, regularizer=splines.get_regularization_matrix(**REGULARIZATION))
    model.fit(*dataframe_to_tuples(features, n_elements=1), weight=ENERGY_WEIGHT)
    return model


def lammps_file(symbol: str, splines: BSplineBasis, coefficients: np.ndarray) -> str:
    """The potential as pair_style uf3 reads it: the knots and coefficients of pairs, then those of triplets."""
    pair, triplet = (symbol,) * 2, (symbol,) * 3
    by_term = arrange_coefficients(coefficients, splines)
    grid = splines.decompress_3B(by_term[triplet], triplet)
    near, same, far = splines.knots_map[triplet]
    head = "#UF3 POT UNITS: metal DATE: 2020 AUTHOR: benchmarks/pareto CITATION:"
    lines = [head, f"2B {symbol} {symbol} 0 {TRIM} nk", f"{PAIR_CUTOFF} {len(splines.knots_map[pair])}"]
    lines += [_line(splines.knots_map[pair]), str(len(by_term[pair])), _line(by_term[pair]), "#"]
    lines += [head, f"3B {symbol} {symbol} {symbol} 0 {TRIM} nk"]
    lines += [f"{2 * TRIPLET_CUTOFF} {TRIPLET_CUTOFF} {TRIPLET_CUTOFF} {len(far)} {len(same)} {len(near)}"]
    lines += [_line(far), _line(same), _line(near), " ".join(map(str, grid.shape))]
    lines += [_line(row) for row in grid.reshape(-1, grid.shape[-1])]
    return "\n".join([*lines, "#", ""])


def _line(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def main(train: str, symbol: str, folder: str) -> None:
    """Fit and write."""
    splines = basis(symbol)
    model = fitted(train, splines)
    alone = float(arrange_coefficients(model.coefficients, splines)[symbol])
    Path(folder, f"{symbol}_uf3.json").write_text(json.dumps({"atom_energy": alone}))
    Path(folder, f"{symbol}.uf3").write_text(lammps_file(symbol, splines, model.coefficients))


if __name__ == "__main__":
    main(*sys.argv[1:])
