"""The energy scale of a network, from what carries information: forces, energies or virials."""

from __future__ import annotations

import numpy as np

from ase_nbody.data import Dataset, ErrorReport, Statistics
from ase_nbody.predictions import ENERGY_PER_ATOM, FORCES, STRESS, Property

# Forces in whose units the energies of atoms are larger than 50 say nothing of these energies, and a network does not
# get there: atomic energies of 11 units were learnt, of 140 were not (strained copper). Ordinary data stay far below:
# energies beyond fitted reference energies are 0.004 to 0.4 units in the data that the shipped models were trained on,
# beyond those of isolated atoms 5 in silicon and molybdenum, and 25 in tungsten at 300 K.
NEGLIGIBLE = 1.0 / 50.0


def informative_quantity(statistics: Statistics) -> tuple[str, float] | None:
    """The first of forces, energies and virials that is not negligible beside the largest, and its size in eV.

    Sizes are the root mean squares of force components (times 1 angstrom), of energies per atom beyond the reference
    energies, and of components of the virial per atom. None where all are zero or not labelled.
    """
    sizes = {
        "forces": statistics.force_rms or 0.0,
        "energies": statistics.energy_rms_per_atom or 0.0,
        "virials": statistics.virial_rms_per_atom or 0.0,
    }
    limit = NEGLIGIBLE * max(sizes.values())
    return next(((name, size) for name, size in sizes.items() if 0.0 < size >= limit), None)


def energy_scale(statistics: Statistics) -> float:
    """Scale of the network, eV: the size of `informative_quantity`, so of the forces in ordinary data; else 1."""
    quantity = informative_quantity(statistics)
    return 1.0 if quantity is None else quantity[1]


def label_scales(dataset: Dataset) -> dict[Property, float]:
    """Root mean square of labels of what is no energy, force or stress, per atom of what is extensive; 1 for zeros."""
    return {kind: _root_mean_square(kind, dataset) or 1.0 for kind in dataset.further_properties}


def _root_mean_square(kind: Property, dataset: Dataset) -> float:
    pairs = zip(dataset.structures, dataset.labels, strict=True)
    rows = [labels.rows(kind, len(atoms)) / (len(atoms) if kind.extensive else 1) for atoms, labels in pairs]
    return float(np.sqrt(np.nanmean(np.square(np.concatenate(rows)))))


def learnt_nothing(valid: ErrorReport, statistics: Statistics) -> str | None:
    """A warning where forces of zero, one energy per atom or a stress of zero would be as good; None elsewhere."""
    quantity = informative_quantity(statistics)
    if quantity is None:
        return None
    kind, size, name = {
        "forces": (FORCES, statistics.force_rms, "forces"),
        "energies": (ENERGY_PER_ATOM, statistics.energy_spread_per_atom, "spread of the energies"),
        "virials": (STRESS, statistics.stress_rms, "stress"),
    }[quantity[0]]
    errors = valid.of(kind)
    if errors.rmse is None or not size or errors.rmse < size:
        return None
    return (
        f"on the validation structures errors (RMSE {1000 * errors.rmse:.3g} {errors.unit}) are not below the {name} "
        f"of the data themselves ({1000 * size:.3g} {errors.unit}), so that nothing useful was learnt; give it more "
        "time or a lower --learning-rate, and look for wrong labels"
    )
