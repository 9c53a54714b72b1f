"""NBodyCalculator: physics against finite differences, ASE's manners, and errors for bad input."""

from __future__ import annotations

import copy
import inspect
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
import tomllib
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import (
    CalculationFailed,
    Calculator,
    CalculatorSetupError,
    PropertyNotImplementedError,
    all_changes,
)
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md import MDLogger
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from toy_network import ARCHITECTURE, ToyNetwork, toy_potential

import ase_nbody
import ase_nbody.architectures
from ase_nbody.calculator import NBodyCalculator
from ase_nbody.model_file import model_information, save_model
from ase_nbody.potential import Potential

FORCE_TOLERANCE = 1e-6  # eV/angstrom, central differences with steps of 1e-4 angstrom
STRESS_TOLERANCE = 1e-7  # eV/angstrom^3


@pytest.fixture
def calculator():
    return NBodyCalculator(toy_potential(), device="cpu")


@pytest.fixture
def nbody():
    architecture = ase_nbody.architectures.architectures()["nbody"]
    settings = architecture.settings(elements=("H", "C", "O"), **architecture.presets["small"])
    network = architecture.network(settings, generator=torch.Generator().manual_seed(0))
    return NBodyCalculator(Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=0.5), device="cpu")


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(ase_nbody.architectures, "architectures", lambda: {"toy": ARCHITECTURE})
    potential = toy_potential()
    information = model_information(potential, name="toy", reference_energies_source="given")
    return save_model(tmp_path / "toy.safetensors", potential, information)


def methanol() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    return atoms


def crystal(kind: str) -> Atoms:
    atoms = Atoms(
        "HCOH",
        scaled_positions=[(0, 0, 0), (0.5, 0.4, 0.1), (0.3, 0.8, 0.6), (0.8, 0.2, 0.7)],
        cell=[[3.1, 0.2, -0.3], [0.4, 3.6, 0.5], [-0.2, 0.7, 3.3]],
        pbc=True,
    )
    if kind == "left-handed":
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


def heat(atoms: Atoms, temperature: float = 300.0) -> None:
    """Maxwell-Boltzmann velocities; temperature in K."""
    deviations = np.sqrt(units.kB * temperature / atoms.get_masses())
    atoms.set_velocities(np.random.default_rng(0).normal(size=(len(atoms), 3)) * deviations[:, None])


# Physics


@pytest.mark.parametrize("kind", ["molecule", "slab", "triclinic", "left-handed"])
def test_forces_are_minus_the_gradient(calculator, kind):
    if kind == "molecule":
        atoms = methanol()
    elif kind == "slab":
        atoms = fcc111("H", (2, 2, 2), a=4.0, vacuum=None)
        atoms.rattle(0.1, seed=2)
    else:
        atoms = crystal(kind)
    atoms.calc = calculator
    forces = atoms.get_forces()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(forces).max() > 0.01
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=FORCE_TOLERANCE)


@pytest.mark.parametrize("kind", ["triclinic", "left-handed"])
def test_stress_is_the_strain_derivative(calculator, kind):
    atoms = crystal(kind)
    atoms.calc = calculator
    stress = atoms.get_stress()
    assert stress.shape == (6,)
    assert np.abs(stress).min() > 1e-5
    np.testing.assert_allclose(stress, calculate_numerical_stress(atoms, eps=1e-5), rtol=0, atol=STRESS_TOLERANCE)


def test_an_nbody_network_is_a_calculator(nbody):
    atoms = methanol()
    atoms.calc = nbody
    forces = atoms.get_forces()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=FORCE_TOLERANCE * np.abs(forces).max())
    hessian = nbody.get_hessian(atoms)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-10)
    other = pickle.loads(pickle.dumps(nbody))
    other.reset()
    assert np.array_equal(other.get_property("forces", atoms), forces)
    assert len(nbody.get_states(atoms)) > 1


def test_energies_add_up_and_isolated_atoms_have_reference_energies(calculator):
    atoms = methanol()
    atoms.calc = calculator
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    alone = Atoms("C", calculator=calculator)
    assert alone.get_potential_energy() == calculator.potential.reference_energies["C"]
    assert not alone.get_forces().any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_float64_arrays(dtype):
    calculator = NBodyCalculator(toy_potential(), device="cpu", dtype=dtype)
    atoms = crystal("triclinic")
    atoms.calc = calculator
    atoms.get_potential_energy()
    shapes = {k: np.shape(v) for k, v in calculator.results.items()}
    assert shapes == {"energy": (), "free_energy": (), "energies": (4,), "forces": (4, 3), "stress": (6,)}
    assert isinstance(calculator.results["energy"], float)
    assert {calculator.results[k].dtype for k in ("energies", "forces", "stress")} == {np.dtype(np.float64)}


def test_calculators_of_two_dtypes_agree_and_leave_each_other_alone():
    single, double = (NBodyCalculator(toy_potential(), device="cpu", dtype=d) for d in ("float32", "float64"))
    atoms = methanol()
    first = double.get_property("forces", atoms)
    np.testing.assert_allclose(single.get_property("forces", atoms), first, atol=1e-4)
    assert (single.potential.dtype, double.potential.dtype) == (torch.float32, torch.float64)
    moved = methanol()
    moved.positions += 1.0
    np.testing.assert_allclose(double.get_property("forces", moved), first, atol=1e-10)


def test_many_are_the_same_as_one_after_another(calculator, monkeypatch):
    structures = [methanol(), crystal("triclinic"), Atoms("H"), fcc111("C", (1, 1, 2), a=4.0), molecule("H2O")]
    monkeypatch.setattr("ase_nbody.evaluator.ATOMS_PER_BATCH", 11)
    many = calculator.calculate_many(structures)
    assert calculator.evaluations == len(structures)
    for atoms, found in zip(structures, many, strict=True):
        calculator.calculate(atoms)
        assert found.keys() == calculator.results.keys()
        for name, value in calculator.results.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-10)
    assert calculator.calculate_many([]) == []


@pytest.mark.parametrize("kind", ["molecule", "triclinic"])
def test_hessian_is_symmetric_and_the_derivative_of_the_forces(calculator, kind):
    atoms = molecule("H2O") if kind == "molecule" else crystal(kind)
    hessian = calculator.get_hessian(atoms)
    np.testing.assert_allclose(hessian, hessian.T, rtol=0, atol=1e-9)
    numerical = np.zeros_like(hessian)
    step = 1e-4
    for row in range(len(hessian)):
        change = np.zeros(len(hessian))
        change[row] = step
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions += sign * change.reshape(-1, 3)
            forces.append(calculator.get_property("forces", moved))
        numerical[row] = -(forces[0] - forces[1]).reshape(-1) / (2 * step)
    np.testing.assert_allclose(hessian, numerical, rtol=0, atol=1e-5 * np.abs(hessian).max())


def test_hessian_of_an_atom_alone_is_zero(calculator):
    hessian = calculator.get_hessian(Atoms("H"))
    assert hessian.shape == (3, 3)
    assert not hessian.any()


def test_states_come_from_the_network(monkeypatch):
    monkeypatch.setattr(ToyNetwork, "states", lambda self, graph: [graph.n_atoms], raising=False)
    assert NBodyCalculator(toy_potential(), device="cpu").get_states(molecule("H2O")) == [3]


def test_a_network_without_states_says_so(calculator):
    with pytest.raises(PropertyNotImplementedError, match="ToyNetwork has no composition scheme"):
        calculator.get_states(molecule("H2O"))


def test_energy_is_conserved_along_nve_with_list_reuse(calculator):
    atoms = crystal("triclinic") * (2, 2, 2)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=0.5, steps=30)
    heat(atoms)
    before, builds = calculator.evaluations, calculator.neighbours.builds
    totals = []
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
    dynamics.run(40)
    assert calculator.evaluations - before == 40
    assert calculator.neighbours.builds - builds < 10
    assert np.ptp(totals) < 0.01 * atoms.get_kinetic_energy()


# Evaluations


def test_one_evaluation_per_step_with_a_log(calculator, tmp_path):
    atoms = crystal("triclinic")
    atoms.calc = calculator
    heat(atoms)
    dynamics = VelocityVerlet(atoms, 0.1 * units.fs, trajectory=str(tmp_path / "a.traj"))
    logger = MDLogger(dynamics, atoms, str(tmp_path / "a.log"), stress=True)
    dynamics.attach(logger)
    dynamics.run(5)
    logger.close()
    assert calculator.evaluations == 6
    assert len(ase.io.read(tmp_path / "a.traj", ":")) == 6


def test_all_properties_cost_one_evaluation(calculator):
    atoms = crystal("triclinic")
    atoms.calc = calculator
    atoms.get_stress()
    atoms.get_forces()
    atoms.get_potential_energies()
    atoms.get_potential_energy()
    assert calculator.evaluations == 1


def test_only_what_changes_the_energy_costs_an_evaluation(calculator):
    atoms = crystal("triclinic")
    atoms.calc = calculator
    atoms.get_forces()
    atoms.set_velocities(np.ones((4, 3)))
    atoms.set_initial_charges([1, 0, 0, -1])
    atoms.set_initial_magnetic_moments([1, 0, 0, 1])
    atoms.set_tags([1, 2, 3, 4])
    atoms.info["note"] = "same"
    atoms.get_forces()
    assert calculator.evaluations == 1
    for change in (
        lambda: atoms.positions.__iadd__(0.1),
        lambda: atoms.set_cell(atoms.cell.array * 1.01),
        lambda: setattr(atoms, "pbc", (True, True, False)),
        lambda: atoms.set_chemical_symbols("HCCH"),
    ):
        before = calculator.evaluations
        change()
        atoms.get_forces()
        assert calculator.evaluations == before + 1


def test_asking_a_molecule_for_stress_costs_no_evaluation(calculator):
    atoms = methanol()
    atoms.calc = calculator
    atoms.get_forces()
    for _ in range(3):
        with pytest.raises(PropertyNotImplementedError, match="the stress needs a periodic direction"):
            atoms.get_stress()
    assert calculator.evaluations == 1
    atoms.get_potential_energy()
    assert calculator.evaluations == 1


def test_calculate_with_stress_of_a_molecule_leaves_the_other_results(calculator):
    atoms = methanol()
    with pytest.raises(PropertyNotImplementedError):
        calculator.calculate(atoms, ["energy", "forces", "stress"], all_changes)
    assert set(calculator.results) == {"energy", "free_energy", "energies", "forces"}


def test_properties_that_are_not_there(calculator):
    with pytest.raises(PropertyNotImplementedError, match="dipole"):
        calculator.get_property("dipole", methanol())


# Manners


def test_atoms_are_never_written_to(calculator):
    atoms = crystal("triclinic")
    atoms.positions += 20.0  # far outside the cell: it is not wrapped
    arrays = {k: v.copy() for k, v in atoms.arrays.items()}
    cell, info = atoms.cell.array.copy(), dict(atoms.info)
    atoms.calc = calculator
    atoms.get_stress()
    calculator.get_hessian(atoms)
    calculator.calculate_many([atoms])
    assert atoms.arrays.keys() == arrays.keys()
    assert all(np.array_equal(atoms.arrays[k], v) for k, v in arrays.items())
    assert np.array_equal(atoms.cell.array, cell)
    assert atoms.info == info


def test_results_belong_to_the_caller(calculator):
    atoms = crystal("triclinic")
    atoms.calc = calculator
    first = atoms.get_forces()
    first[:] = 0.0
    assert atoms.get_forces().any()
    many = calculator.calculate_many([atoms, atoms])
    many[0]["forces"][:] = 0.0
    assert many[1]["forces"].any()


def global_state():
    return (
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.get_rng_state().tolist(), str(np.random.get_state()), list(warnings.filters),
        list(Calculator.implemented_properties), set(Calculator.ignored_changes), dict(Calculator.default_parameters),
    )  # fmt: skip


def test_no_global_state_changes():
    before = global_state()
    calculator = NBodyCalculator(toy_potential(), device="cpu", dtype="float32", threads=1)
    calculator.get_property("forces", methanol())
    assert global_state() == before


def test_threads_are_set_for_an_evaluation_only(monkeypatch):
    seen = []
    forward = ToyNetwork.forward

    def spy(self, graph):
        seen.append(torch.get_num_threads())
        return forward(self, graph)

    monkeypatch.setattr(ToyNetwork, "forward", spy)
    before = torch.get_num_threads()
    NBodyCalculator(toy_potential(), device="cpu", threads=before + 1).get_property("energy", methanol())
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_a_given_potential_is_copied():
    potential = toy_potential()
    calculator = NBodyCalculator(potential, device="cpu", dtype="float32")
    assert potential.dtype == torch.float64
    assert potential.network.weights.requires_grad
    energy = calculator.get_property("energy", methanol())
    with torch.no_grad():
        potential.network.weights.zero_()
    calculator.reset()
    assert calculator.get_property("energy", methanol()) == energy


def test_under_no_grad_forces_are_the_same(calculator):
    forces = calculator.get_property("forces", methanol())
    calculator.reset()
    with torch.no_grad():
        assert np.array_equal(calculator.get_property("forces", methanol()), forces)


@pytest.mark.parametrize("copied", [lambda c: pickle.loads(pickle.dumps(c)), copy.deepcopy])
def test_copies_give_the_same_and_are_independent(calculator, copied):
    atoms = methanol()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    other = copied(calculator)
    assert other.get_property("energy", atoms) == energy
    assert other.evaluations == 1, "results travel with the copy"
    assert (other.neighbours.builds, other.neighbours.reuses) == (0, 0), "neighbour lists do not"
    other.reset()
    assert other.get_property("energy", atoms) == energy
    assert (other.evaluations, calculator.evaluations) == (2, 1)
    assert other.potential.network is not calculator.potential.network
    assert other.todict() == calculator.todict()
    assert copy.deepcopy(atoms).get_potential_energy() == energy


def energy_elsewhere(calculator, atoms):
    return calculator.get_property("energy", atoms)


def test_calculators_travel_to_other_processes(model):
    calculator = NBodyCalculator(model, device="cpu")
    expected = calculator.get_property("energy", methanol())
    calculator.reset()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(energy_elsewhere, calculator, methanol()).result(timeout=60) == pytest.approx(expected)


def test_todict_is_json_and_says_how_to_make_it_again(model):
    calculator = NBodyCalculator(model, device="cpu", dtype="float32", skin=0.3)
    described = json.loads(json.dumps(calculator.todict()))
    given = {"model": str(model), "device": "cpu", "dtype": "float32", "skin": 0.3}
    others = {"threads": None, "outside": "warn", "level": None, "average_over_inversion": False}
    assert described == {**given, **others}
    again = NBodyCalculator(**described)
    assert again.get_property("energy", methanol()) == calculator.get_property("energy", methanol())
    assert again.information.name == "toy"
    assert json.dumps(NBodyCalculator(toy_potential(), device="cpu").todict())


@pytest.mark.parametrize("kind", ["molecule", "triclinic"])
@pytest.mark.parametrize("name", ["a.traj", "a.xyz", "a.json", "a.db"])
def test_files_of_ase_keep_the_results(calculator, tmp_path, kind, name):
    atoms = methanol() if kind == "molecule" else crystal(kind)
    atoms.calc = calculator
    forces = atoms.get_forces()
    path = tmp_path / name
    if name == "a.db":
        with ase.db.connect(path) as database:
            database.write(atoms)
            row = database.get(1)
            found = row.toatoms()
        assert row.calculator == "nbody"
        assert row.calculator_parameters["dtype"] == "float64"
    else:
        ase.io.write(path, atoms)
        found = ase.io.read(path)
    np.testing.assert_allclose(found.get_forces(), forces, rtol=0, atol=1e-7)
    assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert calculator.evaluations == 1


def test_keywords_of_ase(calculator):
    atoms = methanol()
    NBodyCalculator(toy_potential(), device="cpu", atoms=atoms, label="run/a", directory=".")
    assert atoms.calc.name == "nbody"
    assert atoms.calc.label == "run/a"
    assert atoms.calc.calculation_required(atoms, ["energy"])


# Threads


def test_threads_may_share_a_calculator(calculator):
    structures = [methanol() for _ in range(6)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.02, seed=number)
    expected = [result["forces"] for result in calculator.calculate_many(structures)]

    def forces(atoms):
        return [calculator.get_property("forces", atoms) for _ in range(5)]

    with ThreadPoolExecutor(6) as pool:
        for found, wanted in zip(pool.map(forces, structures), expected, strict=True):
            np.testing.assert_allclose(found, [wanted] * 5, rtol=0, atol=1e-10)


def test_calculators_of_two_dtypes_in_two_threads():
    calculators = [NBodyCalculator(toy_potential(), device="cpu", dtype=d) for d in ("float32", "float64")]
    atoms = methanol()
    expected = [c.get_property("forces", atoms) for c in calculators]
    barrier = threading.Barrier(2)

    def repeat(calculator):
        barrier.wait()
        found = []
        for _ in range(10):
            calculator.reset()
            found.append(calculator.get_property("forces", atoms))
        return found

    with ThreadPoolExecutor(2) as pool:
        for found, wanted in zip(pool.map(repeat, calculators), expected, strict=True):
            assert all(np.array_equal(f, wanted) for f in found)


@pytest.mark.parametrize("parallel", [False, True])
def test_neb_with_shared_and_with_parallel_calculators(calculator, parallel):
    first, last = methanol(), methanol()
    last.rattle(0.2, seed=3)
    images = [first.copy() for _ in range(4)] + [last]
    for image in images:
        image.calc = NBodyCalculator(toy_potential(), device="cpu") if parallel else calculator
    neb = NEB(images, parallel=parallel, allow_shared_calculator=not parallel, method="improvedtangent")
    neb.interpolate()
    forces = neb.get_forces()
    assert np.isfinite(forces).all()
    assert np.abs(forces).max() > 0
    alone = [calculator.get_property("energy", image) for image in images]
    np.testing.assert_allclose(neb.energies, alone, rtol=0, atol=1e-10)


# Bad input


def test_unknown_elements_are_refused_when_attached(calculator):
    atoms = molecule("CH3Cl")
    with pytest.raises(ValueError, match=r"element 'Cl' is not in this model \(H, C, O\); choose another model"):
        atoms.calc = calculator
    with pytest.raises(ValueError, match="'Cl'"):
        NBodyCalculator(toy_potential(), device="cpu", atoms=molecule("CH3Cl"))
    allowed = methanol()
    allowed.calc = calculator
    allowed.symbols[0] = "Br"
    with pytest.raises(ValueError, match="'Br'"):
        allowed.get_potential_energy()


def test_a_structure_may_be_attached_before_it_is_complete(calculator):
    atoms = Atoms("CO", pbc=True)
    atoms.calc = calculator
    atoms.set_cell([8, 8, 8])
    atoms.positions[1, 2] = 1.13
    assert np.isfinite(atoms.get_potential_energy())
    Atoms().calc = calculator


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite(calculator, value):
    atoms = methanol()
    atoms.calc = calculator
    atoms.get_forces()
    atoms.positions[2, 1] = value
    for _ in range(2):
        with pytest.raises(ValueError, match="atom 2"):
            atoms.get_forces()


def test_cells_without_volume(calculator):
    atoms = Atoms("CO", positions=[(0, 0, 0), (0, 0, 1.1)], pbc=True, calculator=calculator)
    with pytest.raises(ValueError, match="degenerate"):
        atoms.get_potential_energy()


def test_no_atoms(calculator):
    with pytest.raises(ValueError, match="no atoms"):
        calculator.get_property("energy", Atoms())
    with pytest.raises(ValueError, match="no structure"):
        calculator.get_property("energy")


def test_bad_structures_of_many_are_numbered(calculator):
    with pytest.raises(ValueError, match=r"structure 1: .*'Cl'"):
        calculator.calculate_many([methanol(), molecule("CH3Cl")])


def test_energies_that_are_not_finite_are_refused(monkeypatch):
    calculator = NBodyCalculator(toy_potential(), device="cpu")
    with torch.no_grad():
        calculator.potential.network.weights.fill_(torch.nan)
    atoms = methanol()
    atoms.calc = calculator
    for _ in range(2):
        with pytest.raises(CalculationFailed, match="no finite energy"):
            atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"device": "cuda:99"}, "device 'cuda:99' is not there; on this machine there are: auto, cpu"),
        ({"device": "tpu"}, "device 'tpu' is not there"),
        ({"dtype": "float16"}, "float64, float32, not 'float16'"),
        ({"skin": -0.1}, "skin"),
        ({"skin": np.nan}, "skin"),
        ({"threads": 0}, "threads"),
        ({"colour": "red"}, r"\['colour'\] cannot be set"),
    ],
)
def test_bad_keywords(keywords, message):
    with pytest.raises(CalculatorSetupError, match=message):
        NBodyCalculator(toy_potential(), **{"device": "cpu", **keywords})


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match="no shipped model is called 'unobtainium'"):
        NBodyCalculator("unobtainium")
    with pytest.raises(FileNotFoundError, match="no model file"):
        NBodyCalculator(tmp_path / "a.safetensors")


def test_parameters_cannot_be_changed_in_silence(calculator):
    with pytest.raises(CalculatorSetupError, match="make another one"):
        calculator.set(dtype="float32")


# The package


def test_import_is_fast_and_loads_no_heavy_module():
    script = (
        "import time, sys; start = time.perf_counter(); import ase_nbody; seconds = time.perf_counter() - start;"
        "print([m for m in ('torch', 'e3nn', 'llvmlite', 'lightning_fabric') if m in sys.modules], seconds < 0.3)"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, text=True) for _ in range(3)]
    assert "[] True\n" in [run.stdout for run in runs], runs[0].stderr


def test_lazy_names():
    assert ase_nbody.NBodyCalculator is NBodyCalculator
    assert {"NBodyCalculator", "list_models", "__version__"} <= set(dir(ase_nbody))
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project.get("version", ase_nbody.__version__) == ase_nbody.__version__
    assert isinstance(ase_nbody.list_models(), list)
    with pytest.raises(AttributeError, match="no attribute 'Calculator'"):
        ase_nbody.Calculator  # noqa: B018


def test_ase_finds_the_plugin():
    plugin = pytest.importorskip("ase._4.plugins.plugin", reason="plugins came with ASE 3.28")
    (found,) = ase_nbody.__ase_plugins__
    assert isinstance(found, plugin.CalculatorPlugin)
    assert found.name == "nbody"
    assert found.implementation is NBodyCalculator


def test_signature_is_the_documented_one():
    parameters = inspect.signature(NBodyCalculator).parameters
    defaults = {k: p.default for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    usual = {"device": "auto", "dtype": "float64", "skin": 0.5, "threads": None, "outside": "warn"}
    assert defaults == {**usual, "level": None, "average_over_inversion": False}


def test_bulk_of_one_atom_is_the_supercell_per_atom(calculator):
    one = bulk("C", "diamond", a=3.6)
    results = calculator.calculate_many([one, one * (2, 2, 1)])
    assert results[1]["energy"] == pytest.approx(4 * results[0]["energy"], abs=1e-9)
    np.testing.assert_allclose(results[1]["stress"], results[0]["stress"], rtol=0, atol=1e-9)


def test_fragments_take_the_groups_of_the_structure_or_its_molecules() -> None:
    nbody = ase_nbody.architectures.architectures()["nbody"]
    settings = nbody.settings(elements=("H", "O"), scheme="fragments", channels=4, max_degree_edges=2)
    network = nbody.network(settings, torch.Generator().manual_seed(0))
    calculator = NBodyCalculator(Potential(network, {"H": 0.0, "O": 0.0}))
    dimer = molecule("H2O") + molecule("H2O")
    dimer.positions[3:] += [0.3, 2.9, 0.2]
    dimer.calc = calculator
    by_molecules = dimer.get_potential_energy()
    dimer.set_array("groups", np.array([0, 0, 0, 1, 1, 1]))
    assert calculator.calculate_many([dimer])[0]["energy"] == pytest.approx(by_molecules, abs=1e-12)
    dimer.set_array("groups", np.array([0, 1, 1, 1, 1, 1]))
    assert abs(calculator.calculate_many([dimer])[0]["energy"] - by_molecules) > 1e-4
    step = np.zeros((6, 3))
    step[4, 1] = 1e-4
    energies = [calculator.calculate_many([moved(dimer, sign * step)])[0]["energy"] for sign in (1, -1)]
    forces = calculator.calculate_many([dimer])[0]["forces"]
    assert forces[4, 1] == pytest.approx((energies[1] - energies[0]) / 2e-4, abs=1e-6)


def moved(atoms: Atoms, by: np.ndarray) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += by
    return atoms
