"""A model with D3(BJ) dispersion: sums, derivatives, limits, and what is refused.

The laws hold for a stand-in of the package dftd3 and, where it is installed, for the package.
"""

from __future__ import annotations

import inspect
import pickle

import dispersion_package
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import CalculationFailed, CalculatorSetupError, PropertyNotImplementedError
from toy_network import toy_potential

from ase_nbody import NBodyCalculator, with_dispersion
from ase_nbody.dispersion import FUNCTIONALS, check_functional, dispersion_hessian, dispersion_results
from ase_nbody.dispersion_calculator import check_has_no_dispersion
from ase_nbody.envelope import OutsideTrainingError, OutsideTrainingWarning
from ase_nbody.model_file import Envelope

ELEMENTS = ("H", "C", "O", "Si")
STEP = 1e-4  # angstrom, or strain
FORCE_TOLERANCE = 1e-6  # eV/angstrom: of central differences with STEP
STRESS_TOLERANCE = {"stand-in": 1e-7, "dftd3": 2e-5}  # eV/angstrom^3: atoms that enter D3's cutoffs make small steps
TURNING_TOLERANCE = {"stand-in": 1e-10, "dftd3": 1e-5}  # eV: it misses pairs near its cutoff in slabs that are turned
STRUCTURES = ("molecule", "crystal", "left-handed", "slab", "wire")


@pytest.fixture(params=["stand-in", "dftd3"])
def package(request, monkeypatch):
    """The package, or what stands for it."""
    if request.param == "dftd3":
        pytest.importorskip("dftd3.interface")
    else:
        dispersion_package.install(monkeypatch)
    return request.param


@pytest.fixture
def stand_in(monkeypatch):
    dispersion_package.install(monkeypatch)


def structure(name):
    """Atoms off their places; slab and wire lie across the origin, where dftd3 would cut them."""
    atoms = {
        "molecule": lambda: molecule("CH3CH2OH"),
        "crystal": lambda: bulk("Si") * (2, 1, 1),
        "left-handed": lambda: Atoms(
            "SiC", [[0, 0, 0], [1.4, 1.3, 1.2]], cell=[[0, 4, 0], [4, 0.5, 0], [0, 1, 4]], pbc=True
        ),
        "slab": lambda: Atoms("C2", [[0, 0, -1.0], [1.4, 0, 0.5]], cell=[3, 3, 20], pbc=[True, True, False]),
        "wire": lambda: Atoms(
            "C2", [[0, 0, -1.0], [1.4, -0.5, 0.5]], cell=[[0, 0, 3], [9, 0, 2], [0, 9, 0]], pbc=[1, 0, 0]
        ),
    }[name]()
    atoms.rattle(0.1, seed=3)
    return atoms


def calculator(functional="PBE", **options):
    return with_dispersion(NBodyCalculator(toy_potential(ELEMENTS), **options), functional)


@pytest.mark.parametrize("name", STRUCTURES)
def test_results_are_sums(package, name):
    atoms = structure(name)
    atoms.calc = calculator()
    model = NBodyCalculator(toy_potential(ELEMENTS)).calculate_many([atoms])[0]
    share = dispersion_results(atoms, "PBE")
    names = ["energy", "free_energy", "forces"] + ([] if name == "molecule" else ["stress"])
    for what in names:
        np.testing.assert_allclose(
            atoms.calc.get_property(what, atoms), model[what] + share[what], rtol=1e-12, atol=1e-12
        )
    assert share["energy"] < -1e-3
    assert (atoms.calc.model_energy, atoms.calc.dispersion_energy) == pytest.approx((model["energy"], share["energy"]))
    assert sorted(atoms.calc.results) == sorted(names)


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_are_derivatives(package, name):
    atoms = structure(name)
    atoms.calc = calculator()
    forces = atoms.get_forces()
    for atom, axis in ((0, 2), (1, 0)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * STEP
            moved.calc = atoms.calc
            energies.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * STEP), abs=FORCE_TOLERANCE)


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name != "molecule"])
def test_the_stress_is_the_derivative_by_strain(package, name):
    atoms = structure(name)
    stress = dispersion_results(atoms, "PBE")["stress"]
    axes = {"slab": (0, 1), "wire": (2,)}.get(name, (0, 1, 2))  # along the periodic directions
    for voigt, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        if i not in axes or j not in axes:
            continue
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * STEP / 2
            strain[j, i] += sign * STEP / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=False)
            strained.positions = atoms.positions @ strain
            energies.append(dispersion_results(strained, "PBE")["energy"])
        slope = (energies[0] - energies[1]) / (2 * STEP) / atoms.cell.volume
        assert stress[voigt] == pytest.approx(slope, abs=STRESS_TOLERANCE[package])


@pytest.mark.parametrize("name", ["molecule", "crystal", "slab"])
def test_the_hessian_is_the_derivative_of_forces(package, name):
    atoms = structure(name)
    calc = calculator()
    hessian = calc.get_hessian(atoms)
    columns = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * STEP
        columns.append(calc.get_property("forces", moved).ravel())
    np.testing.assert_allclose(hessian[3], -(columns[0] - columns[1]) / (2 * STEP), atol=1e-5)
    assert np.abs(dispersion_hessian(atoms, "PBE")[3]).max() > 1e-3


@pytest.mark.parametrize("name", STRUCTURES)
def test_moving_turning_and_repeating_change_nothing(package, name):
    atoms = structure(name)
    energy = dispersion_results(atoms, "PBE")["energy"]
    moved = atoms.copy()
    moved.positions += [3.1, -7.7, 12.3]
    turned = atoms.copy()
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    for other, tolerance in ((moved, 1e-10), (turned, TURNING_TOLERANCE[package])):
        assert dispersion_results(other, "PBE")["energy"] == pytest.approx(energy, abs=tolerance)
    if name != "molecule":
        repeated = atoms.repeat([2 if periodic else 1 for periodic in atoms.pbc])
        share = dispersion_results(repeated, "PBE")["energy"] * len(atoms) / len(repeated)
        assert share == pytest.approx(energy, abs=1e-7)  # the last shells within the cutoff are the same


def test_vacuum_does_not_count(package):
    """A slab may lie anywhere in its cell, without a third vector, and beyond its ends."""
    slab = fcc111("Al", (1, 1, 3), vacuum=8.0)
    energy = dispersion_results(slab, "PBE")["energy"]
    for height in (-9.0, 0.0, 30.0):
        moved = slab.copy()
        moved.positions[:, 2] += height
        assert dispersion_results(moved, "PBE")["energy"] == pytest.approx(energy, abs=1e-10)
    slab.cell[2] = 0
    found = dispersion_results(slab, "PBE")
    assert found["energy"] == pytest.approx(energy, abs=1e-10)
    assert "stress" not in found


def test_far_apart_the_energy_falls_with_the_sixth_power():
    pytest.importorskip("dftd3.interface")
    energies = [dispersion_results(Atoms("Ar2", [[0, 0, 0], [0, 0, r]]), "PBE")["energy"] for r in (6.0, 8.0, 12.0)]
    assert all(energy < 0 for energy in energies)
    assert energies[1] / energies[2] == pytest.approx(1.5**6, rel=0.2)  # and r^-8


def test_the_atoms_are_not_written_to(package):
    atoms = structure("slab")
    before = atoms.copy()
    calculator().get_property("stress", atoms)
    assert (atoms.positions == before.positions).all() and (atoms.cell.array == before.cell.array).all()


def test_functionals_differ_and_capitals_do_not_count(package):
    atoms = molecule("C6H6")
    assert dispersion_results(atoms, "PBE")["energy"] == dispersion_results(atoms, "pbe")["energy"]
    assert dispersion_results(atoms, "PBE")["energy"] != pytest.approx(dispersion_results(atoms, "B3LYP")["energy"])


def test_the_package_gives_the_same_through_its_own_calculator():
    dftd3 = pytest.importorskip("dftd3.ase")
    pairs_only = {"method": "PBE", "atm": False}
    for name in ("molecule", "crystal", "left-handed"):
        atoms = structure(name)
        found = dispersion_results(atoms, "PBE")
        atoms.calc = dftd3.DFTD3(damping="d3bj", params_tweaks=pairs_only)
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(found["stress"], atoms.get_stress(), atol=1e-10)


def test_the_stand_in_takes_what_the_package_takes():
    interface = pytest.importorskip("dftd3.interface")
    assert inspect.signature(dispersion_package.DispersionModel).parameters.keys() == (
        inspect.signature(interface.DispersionModel).parameters.keys()
    )
    atoms = structure("crystal")
    shapes = []
    for module in (dispersion_package, interface):
        damping = module.RationalDampingParam(method="pbe", atm=False)
        model = module.DispersionModel(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        results = {**model.get_dispersion(damping, grad=True), **model.get_hessian(damping)}
        shapes.append({name: results[name].shape for name in ("energy", "gradient", "virial", "hessian")})
        with pytest.raises(RuntimeError, match="No entry for 'pbee'"):
            module.RationalDampingParam(method="pbee", atm=False)
    assert shapes[0] == shapes[1]


def test_named_functionals_have_parameters():
    pytest.importorskip("dftd3.interface")
    for functional in FUNCTIONALS:
        check_functional(functional)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    dispersion_package.remove(monkeypatch)
    with pytest.raises(ValueError, match=r'needs dftd3 .*pip install "ase_nbody\[dispersion\]"'):
        calculator()


def test_unknown_functionals_are_refused(package):
    with pytest.raises(
        ValueError, match=r"no parameters of the functional 'PBEE'; it has those of PBE, revPBE, .*B3LYP"
    ):
        calculator("PBEE")


def test_elements_beyond_plutonium_are_named(stand_in):
    calc = with_dispersion(NBodyCalculator(toy_potential(("H", "Pu", "Am", "Cm"))), "PBE")
    Atoms("PuH", [[0, 0, 0], [0, 0, 2]]).calc = calc
    americium = Atoms("AmCmH", [[0, 0, 0], [0, 0, 2], [0, 0, 4]])
    for use in (lambda: setattr(americium, "calc", calc), lambda: dispersion_results(americium, "PBE")):
        with pytest.raises(ValueError, match=r"no dispersion of Am, Cm: it ends at Pu \(94\)"):
            use()


def test_elements_that_the_model_does_not_know_are_its_matter(stand_in):
    with pytest.raises(ValueError, match="element 'Au' is not in this model"):
        Atoms("Au").calc = calculator()


@pytest.mark.parametrize(
    "method",
    "PBE-D3 PBE-D3(BJ)/def2-svp PBE-D3BJ PBE+D3 B97-D B97D3 ωB97X-D wB97XD wB97X-D3(BJ) ωB97M-V ωB97X-V SCAN+rVV10 "
    "PBE0+MBD PBE0+TS PBE-D4 vdW-DF2 optB88-vdW B3LYP+XDM r2SCAN-3c GFN2-xTB MP2/CBS CCSD(T)/CBS DFTB3-D3H5".split(),
)
def test_dispersion_is_not_counted_twice(method):
    with pytest.raises(ValueError, match=r"has dispersion already .* counted twice; leave the dispersion out"):
        check_has_no_dispersion(method)


@pytest.mark.parametrize(
    "method",
    [
        *"none PBE PBE/def2-svp wB97X/6-31G(d) B3LYP/6-311++G(3df,3pd) PBE/DZVP-MOLOPT B3LYP/cc-pV(D+d)Z".split(),
        *(None, "PBE (VASP)", "PBE and PBE+U (VASP, Materials Project)", "ANI-1x", "M06-2X/def2-TZVPPD", "r2SCAN"),
    ],
)
def test_methods_without_dispersion_are_taken(method):
    check_has_no_dispersion(method)


def test_shipped_models_are_judged_by_the_chosen_level_of_theory(stand_in):
    with pytest.raises(ValueError, match=r"PBE0\+TS, has dispersion"):
        with_dispersion(NBodyCalculator("water"), "PBE0")
    model = NBodyCalculator("organic-start", level="ANI-1x")
    with_dispersion(model, "PBE")
    model.parameters["level"] = "PBE-D3"
    with pytest.raises(ValueError, match="PBE-D3, has dispersion"):
        with_dispersion(model, "PBE")


def test_what_the_model_says_of_its_training_stays(stand_in):
    """Reports count the model's forces and energy, not the sums."""
    atoms = molecule("CH3CH2OH")
    outside = {}
    for what in ("warn", "raise", "ignore"):
        model = NBodyCalculator(toy_potential(ELEMENTS), outside=what)
        known = {"envelope": Envelope(closest_distances={"C-H": 1.2}, force_max=1e3), "method": "PBE"}
        model._inform(NBodyCalculator("organic").information.model_copy(update=known))
        outside[what] = with_dispersion(model, "PBE")
    with pytest.warns(OutsideTrainingWarning, match="C2H6O is outside"):
        outside["warn"].get_property("energy", atoms)
    assert len(outside["warn"].excursions) == 1
    with pytest.raises(OutsideTrainingError):
        outside["raise"].get_property("energy", atoms)
    outside["ignore"].get_property("energy", atoms)
    assert outside["ignore"].excursions == []
    report = outside["ignore"].get_envelope(atoms)
    forces = outside["ignore"].model.get_property("forces", atoms)
    assert report.force == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert outside["warn"].information.envelope.force_max == 1e3


def test_one_evaluation_of_the_model_serves_all_properties(stand_in):
    atoms = structure("crystal")
    atoms.calc = calculator()
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    assert atoms.calc.model.evaluations == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    assert atoms.calc.model.evaluations == 2


def test_a_molecule_has_no_stress(stand_in):
    with pytest.raises(PropertyNotImplementedError, match="a molecule has none"):
        calculator().get_property("stress", molecule("H2O"))


def test_structures_without_an_energy(stand_in):
    with pytest.raises(ValueError, match="no atoms"):
        calculator().get_property("energy", Atoms())
    with pytest.raises(ValueError, match="give atoms"):
        calculator().calculate()


def test_what_the_package_cannot_do_is_a_failed_calculation(package):
    with pytest.raises(CalculationFailed, match="Too close"):
        dispersion_results(Atoms("Si2", np.zeros((2, 3))), "PBE")


def test_copies_and_names(stand_in):
    calc = pickle.loads(pickle.dumps(calculator()))
    atoms = molecule("CH3CH2OH")
    assert calc.get_property("energy", atoms) == calculator().get_property("energy", atoms)
    assert repr(calc).startswith("with_dispersion(NBodyCalculator(") and repr(calc).endswith(", 'PBE')")
    with pytest.raises(CalculatorSetupError, match="cannot be set"):
        calc.set(functional="B3LYP")
