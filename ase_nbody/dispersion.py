"""D3(BJ) dispersion with the parameters of a functional, by the package dftd3 (simple-dftd3).

S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011), doi 10.1002/jcc.21759. Pairs only, as most programs
of density functional theory have it: the three-body term takes a hundred times as long or more in a crystal.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.results import Results
from ase_nbody.structures import cell_frame

FUNCTIONALS = ("PBE", "revPBE", "RPBE", "PBEsol", "r2SCAN", "SCAN", "TPSS", "BLYP", "BP86", "PBE0", "HSE06", "B3LYP")
"""Some of those that have parameters, for messages."""

# D3 is defined up to plutonium; beyond, the package gives other parameters, zero or a crash.
_LARGEST_ATOMIC_NUMBER = 94
_MARGIN = 10.0  # angstrom, beside the atoms in directions without periodicity
_VOIGT = [0, 4, 8, 5, 2, 1]  # xx, yy, zz, yz, xz, xy in a flat (3, 3)


def check_functional(functional: str) -> None:
    """Refuse a functional without parameters.

    Raises:
        ValueError: as said, or the package dftd3 is not installed.
    """
    _damping(functional)


def check_dispersion_elements(numbers: NDArray[np.int64]) -> None:
    """Refuse elements that D3 does not have.

    Args:
        numbers: atomic numbers, (N,).

    Raises:
        ValueError: one is beyond plutonium.
    """
    unknown = [chemical_symbols[n] for n in np.unique(numbers) if n > _LARGEST_ATOMIC_NUMBER]
    if unknown:
        raise ValueError(
            f"D3 has no dispersion of {', '.join(unknown)}: it ends at {chemical_symbols[_LARGEST_ATOMIC_NUMBER]} "
            f"({_LARGEST_ATOMIC_NUMBER}); leave the dispersion out"
        )


def dispersion_results(atoms: Atoms, functional: str) -> Results:
    """Dispersion of a structure.

    Args:
        atoms: a structure that has an energy; it is only read.
        functional: such as "PBE"; small and capital letters are the same.

    Returns:
        Energy and free_energy (float, eV), forces (N, 3, eV/angstrom) and, where the cell has a volume and a periodic
        direction, stress (6, xx, yy, zz, yz, xz, xy, eV/angstrom^3).

    Raises:
        ValueError: an element beyond plutonium, a functional without parameters, or dftd3 is not installed.
        CalculationFailed: atoms on one spot.
    """
    damping = _damping(functional)
    found = _computed(atoms, "get_dispersion", damping, grad=True)
    energy = float(found["energy"]) * units.Hartree
    results: Results = {"energy": energy, "free_energy": energy}
    results["forces"] = -found["gradient"] * (units.Hartree / units.Bohr)
    if atoms.pbc.any() and atoms.cell.volume > 0:
        results["stress"] = found["virial"].ravel()[_VOIGT] * (units.Hartree / atoms.cell.volume)
    return results


def dispersion_hessian(atoms: Atoms, functional: str) -> NDArray[np.float64]:
    """Second derivatives of the dispersion by positions, (3N, 3N), eV/angstrom^2; arguments of dispersion_results.

    Raises:
        ValueError: as dispersion_results.
        CalculationFailed: atoms on one spot.
    """
    hessian = _computed(atoms, "get_hessian", _damping(functional))["hessian"]
    return np.asarray(hessian * (units.Hartree / units.Bohr**2), dtype=np.float64)


def _computed(atoms: Atoms, method: str, damping: Any, **options: bool) -> dict[str, Any]:
    """What a method of dftd3's model of a structure gives, atomic units."""
    check_dispersion_elements(atoms.numbers)
    positions, lattice = _placed(atoms)
    periodicity = (lattice / units.Bohr, atoms.pbc) if atoms.pbc.any() else ()
    try:
        model = _interface().DispersionModel(atoms.numbers, positions / units.Bohr, *periodicity)
        results: dict[str, Any] = getattr(model, method)(damping, **options)
    except RuntimeError as error:
        raise CalculationFailed(f"dftd3 gives no dispersion of this structure ({error})") from error
    return results


def _placed(atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and cell, with vectors longer than the structure where it is not periodic, and the atoms amid them.

    dftd3 folds atoms into the cell in directions without periodicity too: a slab across the origin would be cut.
    """
    lattice = cell_frame(atoms.cell.array, atoms.pbc)
    positions = atoms.get_positions()
    for axis in np.flatnonzero(~atoms.pbc):
        normal = lattice[axis].copy()
        heights = positions @ normal
        lattice[axis] *= np.ptp(heights) + _MARGIN
        positions += (_MARGIN / 2 - heights.min()) * normal
    return positions, lattice


def _damping(functional: str) -> Any:
    """Parameters of rational damping, without the three-body term."""
    try:
        return _interface().RationalDampingParam(method=functional.lower(), atm=False)
    except RuntimeError as error:
        raise ValueError(
            f"D3(BJ) has no parameters of the functional '{functional}'; it has those of {', '.join(FUNCTIONALS)} and "
            "others, by the names of the package dftd3"
        ) from error


def _interface() -> ModuleType:
    try:
        return import_module("dftd3.interface")
    except ImportError as error:
        raise ValueError(f'dispersion needs dftd3 ({error}): pip install "ase_nbody[dispersion]"') from error
