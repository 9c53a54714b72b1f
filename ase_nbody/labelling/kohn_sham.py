"""Self-consistent fields of molecules with PySCF: which solution, and how it is converged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, InputError
from ase.units import Bohr, Hartree
from numpy.typing import NDArray

from ase_nbody.labelling.electrons import electronic_state
from ase_nbody.structures import check_structure

_COARSE_LEVEL = 0
_COARSE_TOLERANCE = 1e-4  # hartree; looser, and some molecules need more cycles on the fine grid; tighter saves none
_CYCLES = 60  # of DIIS; ordinary molecules take 8 to 15
_NEWTON_CYCLES = 50  # of the second-order solver, where DIIS fails
_SAME_ENERGY = 1e-5  # hartree between solutions on the coarse grid; above what its tolerance leaves
_MIXING_ANGLE = np.pi / 4  # of HOMO and LUMO in the first guess of a broken bond: half of each, as Gaussian's guess=mix


@dataclass(frozen=True)
class KohnShamSettings:
    """What decides the energy of a molecule; attributes as the arguments of PySCFCalculator."""

    xc: str
    basis: str
    density_fit: bool
    grid_level: int
    conv_tol: float
    unrestricted: bool


def kohn_sham_energy_and_forces(atoms: Atoms, settings: KohnShamSettings) -> tuple[float, NDArray[np.float64]]:
    """Total energy, eV, and its exact derivative on the moving grid, the forces, (N, 3), eV/angstrom.

    Args:
        atoms: a molecule; charge and multiplicity in its info.
        settings: level of theory.

    Raises:
        InputError: the structure is periodic, or its electrons do not go with its multiplicity.
        CalculationFailed: the field does not become self-consistent.
    """
    guess = _coarse_field(_molecule(atoms, settings.basis), settings)
    field = _with_grid(_field(guess.mol, settings, restricted=np.ndim(guess.mo_occ) == 1), settings.grid_level)
    if settings.density_fit:
        field.with_df = guess.with_df
    field.conv_tol = settings.conv_tol
    field = _converged(field, guess.make_rdm1())
    gradient = field.nuc_grad_method()
    gradient.grid_response = True
    return float(field.e_tot) * Hartree, -gradient.kernel() * (Hartree / Bohr)


def _molecule(atoms: Atoms, basis: str) -> Any:
    from pyscf import gto
    from pyscf.lib.exceptions import BasisNotFoundError

    if atoms.pbc.any():
        raise InputError(f"pbc is {atoms.pbc.tolist()}, and PySCFCalculator is for molecules; set atoms.pbc = False")
    try:
        check_structure(atoms)
        state = electronic_state(atoms)
    except ValueError as error:
        raise InputError(str(error)) from error
    places = list(zip(atoms.get_chemical_symbols(), atoms.positions / Bohr, strict=True))
    electrons = {"charge": state.charge, "spin": state.multiplicity - 1}
    try:
        return gto.M(atom=places, unit="Bohr", basis=basis, verbose=0, **electrons)
    except BasisNotFoundError as error:
        raise InputError(f"the basis '{basis}' is not in PySCF for {atoms.symbols}: {error}") from error


def _field(molecule: Any, settings: KohnShamSettings, *, restricted: bool) -> Any:
    from pyscf import dft

    from ase_nbody.labelling.kept_orbitals import KeptOrbitals

    field = (dft.RKS if restricted else dft.UKS)(molecule, xc=settings.xc)
    field._numint = KeptOrbitals()
    field.chkfile = None
    field.max_cycle = _CYCLES
    return field.density_fit() if settings.density_fit else field


def _with_grid(field: Any, level: int) -> Any:
    field.grids.level = level
    return field


def _coarse_field(molecule: Any, settings: KohnShamSettings) -> Any:
    """The field of lowest energy on a coarse grid; it need not be converged."""
    field = _with_grid(_field(molecule, settings, restricted=molecule.spin == 0), _COARSE_LEVEL)
    field.conv_tol = _COARSE_TOLERANCE
    if settings.density_fit:
        field.with_df.build()  # integrals in memory: PySCF would compute them again in each cycle
    field.kernel()
    if not settings.unrestricted or molecule.spin or molecule.nelectron < 2 or molecule.nao < 2:
        return field
    broken = _broken_field(field, settings)
    is_lower = broken.converged and (broken.e_tot < field.e_tot - _SAME_ENERGY or not field.converged)
    return broken if is_lower else field


def _broken_field(restricted: Any, settings: KohnShamSettings) -> Any:
    """The unrestricted field of a guess with mixed frontier orbitals: up on one fragment, down on the other."""
    broken = _with_grid(_field(restricted.mol, settings, restricted=False), _COARSE_LEVEL)
    broken.conv_tol = _COARSE_TOLERANCE
    if settings.density_fit:
        broken.with_df = restricted.with_df
    densities = [_mixed_density(restricted, angle) for angle in (_MIXING_ANGLE, -_MIXING_ANGLE)]
    broken.kernel(dm0=np.stack(densities))
    return broken


def _mixed_density(restricted: Any, angle: float) -> NDArray[np.float64]:
    """Density matrix of one spin, its highest orbital turned towards the lowest empty one."""
    n_occupied = restricted.mol.nelectron // 2
    orbitals = restricted.mo_coeff[:, :n_occupied].copy()
    frontier = restricted.mo_coeff[:, n_occupied - 1 : n_occupied + 1] @ [np.cos(angle), np.sin(angle)]
    orbitals[:, -1] = frontier
    density: NDArray[np.float64] = orbitals @ orbitals.T
    return density


def _converged(field: Any, density: NDArray[np.float64]) -> Any:
    """The field, self-consistent: by DIIS, and where that fails by the second-order solver.

    Raises:
        CalculationFailed: by neither.
    """
    field.kernel(dm0=density)
    if field.converged:
        return field
    second = field.newton()
    second.max_cycle = _NEWTON_CYCLES
    second.kernel(field.mo_coeff, field.mo_occ)
    if not second.converged:
        raise CalculationFailed(
            f"the self-consistent field did not converge in {_CYCLES} cycles of DIIS and {_NEWTON_CYCLES} of the "
            "second-order solver; two electronic states may be close: give atoms.info['multiplicity'] or unrestricted"
        )
    return second.undo_newton()
