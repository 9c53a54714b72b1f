"""PySCFCalculator: molecules by density functional theory with PySCF, as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import CalculatorSetupError, Parameters, all_changes

from ase_nbody.labelling.electrons import ElectronsCalculator
from ase_nbody.labelling.kohn_sham import KohnShamSettings, kohn_sham_energy_and_forces
from ase_nbody.labelling.pyscf_import import pyscf_dft


class PySCFCalculator(ElectronsCalculator):
    """ASE calculator of molecules by Kohn-Sham density functional theory with PySCF: energy and forces.

    Charge and multiplicity (2S + 1) are `atoms.info["charge"]` and `atoms.info["multiplicity"]`; 0 and the lowest that
    the number of electrons allows where they are not there. Singlets are restricted, others unrestricted. No result
    depends on a structure before: each starts from atomic densities, on a coarse grid, and is converged on the fine one
    from there. Forces are the derivative of the energy on the moving grid, so they add up to zero.

    Args:
        xc: functional in PySCF's (libxc's) words, such as "PBE", "PBE0", "B3LYP", "wb97x"; "ωB97X" is understood.
        basis: basis set in PySCF's words.
        density_fit: whether Coulomb (and exchange) integrals are fitted, with PySCF's auxiliary set for the basis.
        grid_level: 0 to 9, of PySCF's integration grids.
        conv_tol: change of the energy at which the field is self-consistent, hartree.
        unrestricted: look for a singlet whose bonds break as well, from mixed frontier orbitals, and take the lower of
            the two solutions.

    Raises:
        CalculatorSetupError: PySCF is not installed, or a value is not allowed.

    Energies are total energies in eV, forces in eV/angstrom. Asking for them raises an InputError for periodic
    structures and electrons that do not go with the multiplicity, and CalculationFailed where the field does not become
    self-consistent.

    >>> from ase.build import molecule
    >>> water = molecule("H2O")
    >>> water.calc = PySCFCalculator("PBE", "def2-svp")
    >>> round(water.get_potential_energy(), 2)
    -2075.48
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        xc: str = "PBE",
        basis: str = "def2-svp",
        *,
        density_fit: bool = True,
        grid_level: int = 2,
        conv_tol: float = 1e-7,
        unrestricted: bool = False,
    ) -> None:
        settings = KohnShamSettings(xc.replace("ω", "w"), basis, density_fit, grid_level, conv_tol, unrestricted)
        _check_settings(settings)
        self._settings = settings
        super().__init__()  # type: ignore[no-untyped-call]
        self.parameters = Parameters(
            xc=xc, basis=basis, density_fit=density_fit, grid_level=grid_level, conv_tol=conv_tol,
            unrestricted=unrestricted,
        )  # fmt: skip

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy and forces of a structure, as ASE asks for them."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        energy, forces = kohn_sham_energy_and_forces(self.atoms, self._settings)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def _check_settings(settings: KohnShamSettings) -> None:
    try:
        dft = pyscf_dft()
    except ImportError:
        raise CalculatorSetupError("PySCF is not installed; pip install 'pyscf>=2.5'") from None
    if settings.grid_level not in range(10):
        raise CalculatorSetupError(f"grid_level must be a whole number from 0 to 9, not {settings.grid_level!r}")
    if not 0 < settings.conv_tol < 1:
        raise CalculatorSetupError(f"conv_tol must be an energy above 0 in hartree, not {settings.conv_tol!r}")
    try:
        dft.libxc.parse_xc(settings.xc)
    except (KeyError, ValueError) as error:
        raise CalculatorSetupError(
            f"PySCF has no functional '{settings.xc}' ({error}); such as PBE, PBE0, B3LYP, wb97x"
        ) from None
