"""A potential is a sum of terms, and what it predicts is an open list: the laws for a term that no module knows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.verlet import VelocityVerlet
from pair_term import CHARGES, TERM, LennardJones, LennardJonesSettings, PolarTerm
from toy_network import ARCHITECTURE, toy_potential

import ase_nbody.architectures
import ase_nbody.terms
from ase_nbody import NBodyCalculator
from ase_nbody.graph import Graph, batch_graphs, inverted
from ase_nbody.hessian import hessian
from ase_nbody.model_file import ModelFileError, load_model, model_information, save_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import ENERGY, FORCES, STRESS, Predicted, Property, Targets
from ase_nbody.repulsion import Repulsion
from ase_nbody.results import results_by_structure
from ase_nbody.terms.mean_over_inversion import MeanOverInversion
from ase_nbody.training.loss import common_scale, loss

PAIRS = LennardJones(LennardJonesSettings())
POLAR = PolarTerm(LennardJonesSettings())
REPULSION = Repulsion({"C-C": 1.7, "C-H": 1.15, "C-O": 1.5, "H-H": 1.9, "H-O": 1.02, "O-O": 2.2})
VARIANTS = {
    "with a network": {},
    "with a repulsion": {"repulsion": REPULSION},
    "with a mean over inversion": {"over_inversion": True, "repulsion": REPULSION},
}
EVERY = pytest.mark.parametrize("parts", VARIANTS.values(), ids=VARIANTS)


def potential(**parts) -> Potential:
    return replace(toy_potential(), others=(PAIRS,), **parts)


def crystal() -> Atoms:
    atoms = bulk("C", "diamond", a=3.9, cubic=True)
    atoms.symbols[::3] = "O"
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.1, 0], [0, 1, -0.05], [0.03, 0, 1]]), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def slab() -> Atoms:
    atoms = crystal()
    atoms.pbc = [True, True, False]
    return atoms


def alcohol() -> Atoms:
    atoms = molecule("CH3OH")
    atoms.rattle(0.02, seed=2)  # away from where third derivatives of the repulsion jump
    return atoms


def evaluated(own: Potential, *structures: Atoms):
    return predict(own, batch_graphs([neighbour_graph(atoms, own.cutoff) for atoms in structures]))


def test_a_pair_term_is_that_of_ase():
    settings = PAIRS.settings
    for atoms in (crystal(), slab(), alcohol()):
        with_it, without = evaluated(potential(), atoms), evaluated(toy_potential(), atoms)
        atoms.calc = AseLennardJones(sigma=settings.sigma, epsilon=settings.epsilon, rc=settings.cutoff, smooth=True)
        assert (with_it.energy - without.energy).item() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        assert abs(atoms.get_potential_energy()) > 1e-3
        np.testing.assert_allclose((with_it.forces - without.forces).detach(), atoms.get_forces(), atol=1e-10)
        np.testing.assert_allclose(with_it.energies.sum(), with_it.energy[0], atol=1e-10)
        if atoms.pbc.all():
            stress = (with_it.stress - without.stress)[0].detach()
            np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-12)


def test_neighbours_reach_as_far_as_the_farthest_term():
    assert potential().cutoff == 6.0 > toy_potential().cutoff == 4.0
    near = replace(toy_potential(), others=(LennardJones(LennardJonesSettings(cutoff=3.0)),))
    assert near.cutoff == 4.0
    far = neighbour_graph(crystal(), 6.0)
    torch.testing.assert_close(predict(near, far).forces, predict(near, neighbour_graph(crystal(), 4.0)).forces)
    assert potential(repulsion=REPULSION).contact_limits is REPULSION.table
    assert potential().contact_limits is None


def slope(function, step: float = 5e-4):
    """The derivative at zero by central differences of fourth order."""
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


def moved(atoms: Atoms, component: int, length: float) -> Atoms:
    other = atoms.copy()
    other.positions.flat[component] += length
    return other


def sheared(atoms: Atoms, angle: float) -> Atoms:
    other, strain = atoms.copy(), np.eye(3)
    strain[0, 1] = strain[1, 0] = angle / 2
    other.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return other


@EVERY
def test_forces_and_stress_are_differences_of_energies(parts):
    own = potential(**parts)
    for atoms in (crystal(), alcohol()):
        forces = evaluated(own, atoms).forces.flatten()
        for component in (0, 10):
            expected = -slope(lambda x, a=atoms, c=component: evaluated(own, moved(a, c, x)).energy.item())
            assert forces[component].item() == pytest.approx(expected, abs=1e-6)
    atoms = crystal()
    expected = slope(lambda x: evaluated(own, sheared(atoms, x)).energy.item()) / atoms.cell.volume
    assert evaluated(own, atoms).stress[0, 0, 1].item() == pytest.approx(expected, abs=1e-7)


@EVERY
def test_second_derivatives_are_differences_of_forces(parts):
    own, atoms = potential(**parts), alcohol()
    exact = hessian(own, neighbour_graph(atoms, own.cutoff))
    assert float((exact - exact.T).abs().max()) < 1e-10
    for column in (0, 7):
        expected = -slope(lambda x, c=column: evaluated(own, moved(atoms, c, x)).forces.detach().flatten())
        np.testing.assert_allclose(exact[column], expected, atol=1e-5)


@EVERY
def test_a_batch_is_its_structures_and_a_supercell_is_its_cells(parts):
    own, structures = potential(**parts), [crystal(), alcohol(), slab(), Atoms("H")]
    together, singles = evaluated(own, *structures), [evaluated(own, atoms) for atoms in structures]
    for here, alone in zip(together.predicted, zip(*(one.predicted for one in singles), strict=True), strict=True):
        expected = torch.cat([one.values for one in alone])
        torch.testing.assert_close(here.values, expected, atol=1e-10, rtol=1e-10, equal_nan=True)
    assert singles[3].energy.item() == own.reference_energies["H"] and not singles[3].forces.any()
    one, two = evaluated(own, crystal()), evaluated(own, crystal() * (2, 1, 1))
    for small, large in zip(one.predicted, two.predicted, strict=True):
        if small.property.per_atom:
            expected = torch.cat([small.values] * 2)
        else:
            expected = small.values * (2 if small.property.extensive else 1)
        torch.testing.assert_close(large.values, expected, atol=1e-9, rtol=1e-9)


@EVERY
def test_a_loss_is_differentiated_by_the_weights_of_the_network(parts):
    own, atoms = potential(**parts), crystal()
    graph = neighbour_graph(atoms, own.cutoff)
    zeros = {ENERGY: torch.zeros(1, dtype=torch.float64), FORCES: torch.zeros(len(atoms), 3)}
    targets = Targets({**zeros, STRESS: torch.zeros(1, 3, 3)})
    weights = common_scale({ENERGY: 1.0, FORCES: 2.0, STRESS: 3.0}, 0.7)
    values = own.network.weights.detach()

    def value(parameters) -> torch.Tensor:
        return loss(predict(own, graph, {"weights": parameters}, differentiable=True), targets, graph, weights)

    loss(trainable_prediction(own, graph), targets, graph, weights).backward()
    gradient = own.network.weights.grad
    direction = torch.randn(values.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ends = [value(values + sign * 1e-5 * direction).item() for sign in (1, -1)]
    assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)
    (other,) = torch.autograd.grad(value(leaf := values.clone().requires_grad_()), leaf)
    torch.testing.assert_close(gradient, other, atol=1e-8, rtol=1e-8)


def test_dynamics_keep_the_energy_of_the_sum():
    atoms = crystal()
    atoms.calc = NBodyCalculator(potential(repulsion=REPULSION), device="cpu", skin=0.4)
    atoms.set_momenta(np.random.default_rng(0).normal(0, 1.0, (len(atoms), 3)))
    energies, run = [], VelocityVerlet(atoms, 0.1 * units.fs)
    run.attach(lambda: energies.append(atoms.get_total_energy()))
    run.run(20)
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(energies) < 2e-3 * kinetic
    assert atoms.calc.neighbours.cutoff == 6.0 and atoms.calc.neighbours.reuses > 10
    fresh = evaluated(atoms.calc.potential, atoms)
    np.testing.assert_allclose(atoms.get_forces(), fresh.forces, atol=1e-9)
    np.testing.assert_allclose(atoms.calc.get_hessian(atoms), hessian(atoms.calc.potential, neighbour_graph(atoms, 6)))


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(ase_nbody.architectures, "architectures", lambda: {"toy": ARCHITECTURE})
    monkeypatch.setattr(ase_nbody.terms, "term_kinds", lambda: {TERM.name: TERM})
    return monkeypatch


def saved(folder, own: Potential):
    information = model_information(own, name="toy", reference_energies_source="given")
    return save_model(folder / "a.safetensors", own, information)


def test_a_term_that_says_how_is_saved_and_loaded(tmp_path, registry):
    own = replace(toy_potential(), others=(LennardJones(LennardJonesSettings(sigma=2.25)),))
    loaded, information = load_model(saved(tmp_path, own))
    assert [record.name for record in information.terms] == ["lennard-jones"]
    assert [term.settings for term in loaded.others] == [LennardJonesSettings(sigma=2.25)]
    torch.testing.assert_close(evaluated(loaded, crystal()).forces, evaluated(own, crystal()).forces, atol=0, rtol=0)
    with pytest.raises(ValueError, match="of another potential: terms differ"):
        save_model(tmp_path / "b.safetensors", toy_potential(), information)


def test_a_term_that_does_not_is_refused(tmp_path, registry):
    with pytest.raises(
        ValueError, match=r"cannot hold the term PolarTerm; it holds lennard-jones\. Save the potential"
    ):
        saved(tmp_path, replace(toy_potential(), others=(POLAR,)))
    path = saved(tmp_path, potential())
    registry.setattr(ase_nbody.terms, "term_kinds", dict)
    with pytest.raises(ModelFileError, match=r"term 'lennard-jones', which is not in this version .*\(none yet\)"):
        load_model(path)
    other = replace(TERM, settings=type("Other", (LennardJonesSettings,), {"__annotations__": {"charge": float}}))
    registry.setattr(ase_nbody.terms, "term_kinds", lambda: {TERM.name: other})
    with pytest.raises(ModelFileError, match="do not fit the term 'lennard-jones'"):
        load_model(path)


# --- properties ------------------------------------------------------------------------------------------------------


def test_what_a_term_predicts_is_in_the_results_of_the_calculator():
    calculator = NBodyCalculator(replace(toy_potential(), others=(POLAR,)), device="cpu")
    assert calculator.implemented_properties[-2:] == ["charges", "dipole"]
    assert "dipole" not in NBodyCalculator.implemented_properties
    atoms = alcohol()
    atoms.calc = calculator
    charges, dipole = atoms.get_charges(), atoms.get_dipole_moment()
    assert charges.shape == (6,) and np.abs(charges).max() > 1e-3 and abs(charges.sum()) < 1e-12
    np.testing.assert_allclose(dipole, charges @ atoms.positions, atol=1e-12)
    assert json.dumps(calculator.results["charges"].tolist()) and calculator.evaluations == 1
    many = calculator.calculate_many([crystal(), atoms])
    assert "dipole" not in many[0] and "stress" in many[0]  # a crystal has none
    np.testing.assert_allclose(many[1]["dipole"], dipole, atol=1e-12)
    np.testing.assert_allclose(many[1]["charges"], charges, atol=1e-12)
    periodic = crystal()
    periodic.calc = calculator
    with pytest.raises(PropertyNotImplementedError, match="dipole"):
        periodic.get_dipole_moment()
    with pytest.raises(PropertyNotImplementedError):
        NBodyCalculator(potential(), device="cpu").get_property("dipole", alcohol())
    assert isinstance(SinglePointCalculator(atoms, **many[1]).results["dipole"], np.ndarray)


def test_properties_have_the_parity_that_they_say_under_a_mean_over_inversion():
    graph = neighbour_graph(alcohol(), 6.0)
    here, there = (POLAR.further_predictions(g) for g in (graph, inverted(graph)))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.values, one.property.parity * one.values)
    for one, mean in zip(here, MeanOverInversion(POLAR).further_predictions(graph), strict=True):
        torch.testing.assert_close(mean.values, one.values)


def test_descriptions_are_kept_to():
    with pytest.raises(ValueError, match="several terms predict charges, dipole"):
        replace(toy_potential(), others=(POLAR, POLAR))
    assert [kind.name for kind in replace(toy_potential(), others=(POLAR,)).properties][-2:] == ["charges", "dipole"]

    class Forgetful(PolarTerm):
        @property
        def properties(self) -> tuple[Property, ...]:
            return (CHARGES,)

    class Flat(PolarTerm):
        def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
            charges, dipole = super().further_predictions(graph)
            return charges, Predicted(dipole.property, dipole.values[0])

    for term, words in ((Forgetful, "Forgetful predicts"), (Flat, r"Flat gives 'dipole' .* \(3,\), .* \(1, 3\)")):
        with pytest.raises(ValueError, match=words):
            evaluated(replace(toy_potential(), others=(term(LennardJonesSettings()),)), alcohol())


@pytest.mark.parametrize("name", ["energy", "energies", "forces"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_refused(name, value):
    graph = batch_graphs([neighbour_graph(atoms, 4.0) for atoms in (crystal(), alcohol())])
    prediction = predict(toy_potential(), graph)
    spoilt = getattr(prediction, name).clone()
    spoilt[-1] = value
    with pytest.raises(CalculationFailed, match=f"no finite {name}"):
        results_by_structure(replace(prediction, **{name: spoilt}), graph)


def test_results_are_free_of_the_memory_of_the_prediction():
    own = replace(toy_potential(), others=(POLAR,))
    graph = neighbour_graph(alcohol(), own.cutoff)
    prediction = predict(own, graph)
    (result,) = results_by_structure(prediction, graph)
    kept = {name: np.copy(value) for name, value in result.items()}
    for predicted in prediction.predicted:
        predicted.values.zero_()
    assert all(np.array_equal(result[name], value) for name, value in kept.items())
    assert isinstance(result["energy"], float) and {ENERGY.name, FORCES.name} <= result.keys()
