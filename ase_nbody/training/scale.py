"""The energy scale of a network, from what carries information: forces, energies or virials."""

from __future__ import annotations

from ase_nbody.data import ErrorReport, Statistics

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


def learnt_nothing(valid: ErrorReport, statistics: Statistics) -> str | None:
    """A warning where forces of zero, one energy per atom or a stress of zero would be as good; None elsewhere."""
    quantity = informative_quantity(statistics)
    if quantity is None:
        return None
    rmse, size, unit = {
        "forces": (valid.forces_rmse_mev_per_angstrom, statistics.force_rms, "meV/Å"),
        "energies": (valid.energy_rmse_mev_per_atom, statistics.energy_spread_per_atom, "meV/atom"),
        "virials": (valid.stress_rmse_mev_per_cubic_angstrom, statistics.stress_rms, "meV/Å³"),
    }[quantity[0]]
    if rmse is None or not size or rmse < 1000 * size:
        return None
    name = {"forces": "forces", "energies": "spread of the energies", "virials": "stress"}[quantity[0]]
    return (
        f"on the validation structures errors (RMSE {rmse:.3g} {unit}) are not below the {name} of the data "
        f"themselves ({1000 * size:.3g} {unit}), so that nothing useful was learnt; give it more time or a lower "
        "--learning-rate, and look for wrong labels"
    )
