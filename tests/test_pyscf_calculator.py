"""Molecules by density functional theory: laws, then numbers."""

import json
import os
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed, CalculatorSetupError, InputError

pytest.importorskip("pyscf")

from ase_nbody.labelling import kohn_sham
from ase_nbody.labelling.pyscf_calculator import PySCFCalculator

SMALL = {"basis": "sto-3g"}
HARTREE = 27.211386


def bent_water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def energy(atoms: Atoms, **settings) -> float:
    atoms = atoms.copy()
    atoms.calc = PySCFCalculator(**{**SMALL, **settings})
    return atoms.get_potential_energy()


def stretched_hydrogen(distance: float = 3.0) -> Atoms:
    return Atoms("H2", [(0, 0, 0), (0, 0, distance)])


@pytest.mark.parametrize("xc", ["PBE", "wb97x"])
@pytest.mark.parametrize("multiplicity", [1, 3])
def test_forces_are_the_derivative_of_the_energy_and_add_up_to_zero(xc, multiplicity):
    atoms = bent_water()
    atoms.info["multiplicity"] = multiplicity
    calculator = PySCFCalculator(xc, "sto-3g", conv_tol=1e-10)
    forces = calculator.get_forces(atoms)
    direction = np.random.default_rng(0).normal(size=(3, 3))
    energies = []
    for step in (1e-3, -1e-3):
        moved = atoms.copy()
        moved.positions += step * direction
        energies.append(calculator.get_potential_energy(moved))
    slope = (energies[0] - energies[1]) / 2e-3
    assert slope == pytest.approx(-(forces * direction).sum(), abs=1e-4)
    assert np.abs(forces.sum(axis=0)).max() < 1e-6


def test_the_two_grids_give_what_pyscf_gives_on_one():
    from pyscf import dft, gto

    atoms = bent_water()
    places = list(zip(atoms.symbols, atoms.positions, strict=True))
    field = dft.RKS(gto.M(atom=places, basis="def2-svp", verbose=0), xc="pbe").density_fit()
    field.grids.level = 2
    field.conv_tol = 1e-10
    expected = field.kernel() * HARTREE
    assert energy(atoms, basis="def2-svp", conv_tol=1e-9) == pytest.approx(expected, abs=2e-4)


def test_labels_do_not_depend_on_structures_before():
    calculator = PySCFCalculator(**SMALL)
    first, other = bent_water(), molecule("H2O")
    before = calculator.get_forces(first)
    calculator.get_forces(other)
    again = calculator.get_forces(first)  # rounding depends on where arrays lie in memory
    assert np.allclose(again, before, rtol=0, atol=1e-9)


def test_oxygen_is_a_triplet_where_its_info_says_so():
    oxygen = molecule("O2")
    singlet = energy(oxygen)
    oxygen.info["multiplicity"] = 3
    assert energy(oxygen) < singlet - 0.5


def test_a_change_of_charge_alone_is_noticed():
    atoms = molecule("OH")
    atoms.calc = PySCFCalculator(**SMALL)
    neutral = atoms.get_potential_energy()
    atoms.info["charge"] = 1
    atoms.info["multiplicity"] = 3
    assert atoms.get_potential_energy() > neutral + 5


def test_a_broken_bond_needs_the_unrestricted_solution():
    """Far apart, two hydrogen atoms have twice the energy of one; the restricted solution has some eV more."""
    atom = energy(Atoms("H"))
    assert energy(stretched_hydrogen(), unrestricted=True) == pytest.approx(2 * atom, abs=0.05)
    assert energy(stretched_hydrogen()) > 2 * atom + 1


def test_a_whole_bond_has_no_unrestricted_solution():
    atoms = bent_water()
    assert energy(atoms, unrestricted=True) == pytest.approx(energy(atoms), abs=1e-9)


def test_the_second_order_solver_takes_over(monkeypatch):
    atoms = bent_water()
    expected = energy(atoms)
    monkeypatch.setattr(kohn_sham, "_CYCLES", 1)
    assert energy(atoms) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr(kohn_sham, "_NEWTON_CYCLES", 0)
    with pytest.raises(CalculationFailed, match="did not converge"):
        energy(atoms)


def test_an_atom_alone_feels_no_force():
    atom = Atoms("N", info={"multiplicity": 4})
    atom.calc = PySCFCalculator(**SMALL)
    assert np.abs(atom.get_forces()).max() < 1e-8


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"xc": "PBEE"}, "no functional"), ({"grid_level": 11}, "0 to 9"), ({"conv_tol": 0.0}, "above 0")],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(CalculatorSetupError, match=words):
        PySCFCalculator(**settings)


@pytest.mark.filterwarnings("ignore:Basis may be available")
@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("H2O", np.eye(3), pbc=True, cell=np.eye(3) * 9), "molecules"),
        (Atoms("H", info={"multiplicity": 3}), "cannot have multiplicity"),
        (Atoms("Og"), "basis"),
    ],
)
def test_structures_that_cannot_be_treated_are_refused(atoms, words):
    with pytest.raises(InputError, match=words):
        energy(atoms, basis="def2-svp")


def orbitals(integration, molecule, grids, deriv) -> np.ndarray:
    blocks = integration.block_loop(molecule, grids, molecule.nao, deriv)
    return np.concatenate([values.copy() for values, *_ in blocks], axis=-2)


def hydrogen(distance: float):
    from pyscf import gto

    return gto.M(atom=f"H 0 0 0; H 0 0 {distance}", basis="sto-3g", verbose=0)


def test_orbitals_that_are_kept_are_those_of_the_grid_and_the_derivative():
    from pyscf.dft import gen_grid, numint

    from ase_nbody.labelling.kept_orbitals import KeptOrbitals

    molecule = hydrogen(0.7)
    kept, grids = KeptOrbitals(), gen_grid.Grids(molecule)
    for level, deriv in [(0, 1), (0, 1), (1, 1), (1, 0), (0, 1)]:
        if level != grids.level:
            grids.level = level
            grids.reset()
        expected = orbitals(numint.NumInt(), molecule, grids, deriv)
        np.testing.assert_array_equal(orbitals(kept, molecule, grids, deriv), expected)


def test_orbitals_of_a_grid_are_computed_once(monkeypatch):
    from pyscf.dft import gen_grid

    from ase_nbody.labelling import kept_orbitals

    computed = []
    plain = kept_orbitals.NumInt.eval_ao
    monkeypatch.setattr(
        kept_orbitals.KeptOrbitals,
        "eval_ao",
        lambda self, *args, **options: computed.append(1) or plain(*args, **options),
        raising=False,
    )
    molecule = hydrogen(0.7)
    kept, grids = kept_orbitals.KeptOrbitals(), gen_grid.Grids(molecule)
    first = orbitals(kept, molecule, grids, 1)
    once = len(computed)
    np.testing.assert_array_equal(orbitals(kept, molecule, grids, 1), first)
    assert len(computed) == once > 1
    monkeypatch.setattr(kept_orbitals, "_LARGEST", 0)
    np.testing.assert_array_equal(orbitals(kept, molecule, grids, 1), first)
    assert len(computed) > once


def test_orbitals_of_another_molecule_are_not_those_that_are_kept():
    from pyscf.dft import gen_grid

    from ase_nbody.labelling.kept_orbitals import KeptOrbitals

    near, far = hydrogen(0.7), hydrogen(2.0)
    kept, grids = KeptOrbitals(), gen_grid.Grids(near)
    grids.level = 0
    assert np.abs(orbitals(kept, near, grids, 0) - orbitals(kept, far, grids, 0)).max() > 0.01


def test_what_is_kept_changes_no_energy_of_a_functional_with_kinetic_energy_density(monkeypatch):
    from pyscf.dft.numint import NumInt

    from ase_nbody.labelling import kept_orbitals

    with_kept = energy(bent_water(), xc="r2SCAN")
    monkeypatch.setattr(kept_orbitals, "KeptOrbitals", NumInt)
    assert energy(bent_water(), xc="r2SCAN") == pytest.approx(with_kept, abs=1e-8)


@pytest.mark.parametrize("told", [{}, {"OPENBLAS_CORETYPE": "Nehalem"}])
def test_old_linear_algebra_is_told_of_avx2_and_the_environment_stays_as_it_was(told):
    program = (
        "import os, json, threadpoolctl\n"
        "before = dict(os.environ)\n"
        "from ase_nbody.labelling.pyscf_calculator import PySCFCalculator\n"
        "PySCFCalculator()\n"
        "assert dict(os.environ) == before\n"
        "print(json.dumps([one.get('architecture') for one in threadpoolctl.threadpool_info()"
        " if 'pyscf' in one['filepath']]))\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"} | told
    made = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    features = llvm.get_host_cpu_features()
    kernels = [name for name in json.loads(made.stdout) if name]
    if kernels and features.get("avx2") and features.get("fma"):
        assert kernels == ["Nehalem" if told else "Haswell"]
