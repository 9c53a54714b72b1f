"""Calculators and training on a GPU give what they give on the CPU; skipped where there is none."""

from __future__ import annotations

import pickle
import threading
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.verlet import VelocityVerlet
from nbody_networks import NETWORKS, potential, structures
from toy_network import toy_potential

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import architectures
from ase_nbody.cuda.binned_pairs import binned_pairs
from ase_nbody.data.dataset import Labels
from ase_nbody.data.graph_samples import Sample, batch_samples, targets
from ase_nbody.envelope import OutsideTrainingWarning
from ase_nbody.kernels.sums import node_sums, receiver_sums, sender_sums
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import ENERGY, FORCES
from ase_nbody.training.loss import common_scale, loss
from ase_nbody.training.state import network_optimizers

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

FORCE_TOLERANCE = {"float64": 1e-8, "float32": 2e-4}
"""eV/angstrom. In float32 rounding grows with the products of sums over neighbours."""
ENERGY_TOLERANCE = {"float64": 1e-10, "float32": 2e-5}  # eV/atom
STRESS_TOLERANCE = {"float64": 1e-10, "float32": 1e-5}  # eV/angstrom^3


def rattled(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    return atoms


def water_box(side: int = 3) -> Atoms:
    generator = np.random.default_rng(0)
    atoms = Atoms(cell=[3.1 * side] * 3, pbc=True)
    for place in np.ndindex(side, side, side):
        one = molecule("H2O")
        one.euler_rotate(*generator.uniform(0, 360, 3), center="COM")
        one.translate(3.1 * np.array(place))
        atoms += one
    return atoms


def silicon_slab() -> Atoms:
    slab = bulk("Si", cubic=True) * (2, 2, 1)
    slab.center(vacuum=6.0, axis=2)
    slab.pbc = [True, True, False]
    return slab


def sheared_silicon() -> Atoms:
    """A left-handed triclinic cell."""
    crystal = bulk("Si", cubic=True)
    crystal.set_cell(crystal.cell[:] @ [[1, 0.05, 0], [0, 1, 0.1], [0, 0, -1]], scale_atoms=True)
    return crystal


SHIPPED = {
    "organic molecule": ("organic", lambda: rattled(molecule("CH3CH2OH"))),
    "organic atom": ("organic", lambda: Atoms("C")),
    "organic atoms far apart": ("organic", lambda: Atoms("HC", [[0.0] * 3, [9.0, 0.0, 0.0]])),
    "silicon crystal": ("silicon", lambda: rattled(bulk("Si", cubic=True) * 2)),
    "silicon left-handed": ("silicon", lambda: rattled(sheared_silicon())),
    "silicon slab": ("silicon", lambda: rattled(silicon_slab())),
    "water box": ("water", water_box),
    "water molecule": ("water", lambda: molecule("H2O")),
}


def calculator(model: str | Potential, device: str = DEVICE, dtype: str = "float64", **more: object) -> NBodyCalculator:
    return NBodyCalculator(model, device=device, dtype=dtype, **{"outside": "ignore", **more})


def results(calc: NBodyCalculator, atoms: Atoms) -> dict[str, object]:
    calc.calculate(atoms)
    return calc.results


def assert_agree(found: dict, expected: dict, n_atoms: int, dtype: str) -> None:
    assert found.keys() == expected.keys()
    assert abs(found["energy"] - expected["energy"]) < ENERGY_TOLERANCE[dtype] * n_atoms
    np.testing.assert_allclose(found["energies"], expected["energies"], rtol=0, atol=20 * ENERGY_TOLERANCE[dtype])
    np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=FORCE_TOLERANCE[dtype])
    if "stress" in expected:
        np.testing.assert_allclose(found["stress"], expected["stress"], rtol=0, atol=STRESS_TOLERANCE[dtype])


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_give_what_they_give_on_the_cpu(name, dtype):
    model, build = SHIPPED[name]
    atoms = build()
    expected = results(calculator(model, "cpu"), atoms)
    assert_agree(results(calculator(model, DEVICE, dtype), atoms), expected, len(atoms), dtype)


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_nbody_networks_give_what_they_give_on_the_cpu(settings):
    own = potential(torch.float64, **settings)
    on_cpu, on_gpu = calculator(own, "cpu"), calculator(own)
    for atoms in structures():
        assert_agree(results(on_gpu, atoms), results(on_cpu, atoms), len(atoms), "float64")


@pytest.mark.parametrize("preset", ["small", "medium"])
@pytest.mark.parametrize("name", sorted(architectures()))
def test_every_architecture_gives_what_it_gives_on_the_cpu(name, preset):
    architecture = architectures()[name]
    settings = architecture.settings(
        elements=("H", "C", "O"), average_neighbours=9.0, **{**architecture.presets[preset], "cutoff": 4.0}
    )
    network = architecture.network(settings, torch.Generator().manual_seed(0)).double()
    own = Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0})
    on_cpu, on_gpu = calculator(own, "cpu"), calculator(own)
    for atoms in structures()[:3]:
        assert_agree(results(on_gpu, atoms), results(on_cpu, atoms), len(atoms), "float64")


@pytest.mark.parametrize("distance", [1.2, 0.8, 0.5])
def test_atoms_in_contact_are_pushed_apart_as_on_the_cpu(distance):
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(0, 1, distance, fix=0)
    expected = results(calculator("organic", "cpu"), atoms)
    found = results(calculator("organic"), atoms)
    scale = max(1.0, np.abs(expected["forces"]).max())
    np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=1e-8 * scale)
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-8)


def test_forces_are_minus_the_gradient():
    atoms, calc, step = rattled(molecule("CH3CH2OH")), calculator("organic"), 1e-4
    forces = results(calc, atoms)["forces"]
    for atom, axis in ((0, 0), (3, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(results(calc, moved)["energy"])
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-6)


def test_hessian_is_that_of_the_cpu():
    atoms = rattled(molecule("CH3OH"))
    found, expected = (calculator("organic", device).get_hessian(atoms) for device in (DEVICE, "cpu"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_many_are_the_same_as_one_after_another():
    frames = [rattled(molecule(name), seed) for seed, name in enumerate(["CH3OH", "CH4", "H2O", "CH3CH2OH"] * 3)]
    calc = calculator("organic")
    for found, atoms in zip(calc.calculate_many(frames), frames, strict=True):
        assert_agree(found, results(calc, atoms), len(atoms), "float64")


def test_descriptors_are_those_of_the_cpu():
    atoms = rattled(molecule("CH3OH"))
    found, expected = (
        calculator("organic", device).get_descriptors(atoms, invariant=False) for device in (DEVICE, "cpu")
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_states_are_those_of_the_cpu():
    atoms = molecule("CH3OH")
    both = zip(*(calculator("organic", device).get_states(atoms) for device in (DEVICE, "cpu")), strict=True)
    for found, expected in both:
        np.testing.assert_allclose(found.states, expected.states, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_the_same_from_run_to_run(dtype):
    atoms, calc = water_box(4), calculator("water", dtype=dtype)
    first = {name: np.copy(value) for name, value in results(calc, atoms).items()}
    for _ in range(3):
        second = results(calc, atoms)
        assert all(np.array_equal(first[name], second[name]) for name in first)


# --- a run -----------------------------------------------------------------------------------------------------------


def trajectory(device: str, dtype: str, steps: int) -> tuple[np.ndarray, np.ndarray, NBodyCalculator]:
    """Positions at the end, and the total energies, of water in NVE."""
    atoms = water_box(3)
    atoms.calc = calculator("water", device, dtype)
    atoms.set_momenta(np.random.default_rng(1).normal(0, 0.1, (len(atoms), 3)) * np.sqrt(atoms.get_masses())[:, None])
    energies: list[float] = []
    dynamics = VelocityVerlet(atoms, timestep=0.5 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(steps)
    return atoms.positions.copy(), np.array(energies), atoms.calc


def test_dynamics_follow_those_on_the_cpu():
    (found, energies, calc), (expected, reference, _) = (
        trajectory(device, "float64", 20) for device in (DEVICE, "cpu")
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(energies, reference, rtol=0, atol=1e-6)
    assert calc.neighbours.reuses > calc.neighbours.builds


def test_dynamics_are_the_same_from_run_to_run():
    (first, _, _), (second, _, _) = trajectory(DEVICE, "float32", 10), trajectory(DEVICE, "float32", 10)
    assert np.array_equal(first, second)


def hot_water(side: int, seed: int) -> Atoms:
    atoms = water_box(side)
    atoms.rattle(0.15, seed=seed)
    return atoms


@pytest.mark.parametrize("pbc", [True, [True, True, False], False])
def test_the_list_made_on_the_gpu_is_that_of_the_cpu(pbc):
    atoms = hot_water(6, 0)
    atoms.pbc = pbc
    assert binned_pairs(atoms.positions, atoms.cell.array, atoms.pbc, 5.5, DEVICE) is not None
    found, expected = (neighbour_graph(atoms, 5.5, device=device) for device in (DEVICE, "cpu"))
    for name, tensor in vars(expected.edges).items():
        assert torch.equal(getattr(found.edges, name).cpu(), tensor)
    assert torch.equal(found.shifts.cpu(), expected.shifts)


def test_contacts_along_a_run_are_those_of_the_cpu():
    calculators = [calculator("water", device, outside="ignore") for device in (DEVICE, "cpu")]
    place = {"dtype": torch.float64}
    met = 0
    for step in range(4):
        atoms = hot_water(6, step)
        atoms.set_cell(atoms.cell[:] * (1 + 0.01 * step), scale_atoms=True)
        for moved in (atoms, hot_water(6, step)):
            graphs = [c.neighbours.graph(moved, device=c.potential.device, **place) for c in calculators]
            found, expected = (
                {(int(g.edges.senders[e]), int(g.edges.receivers[e])) for e in g.contacts} for g in graphs
            )
            assert found == expected
            met += len(found)
    assert met > 0


# --- manners ---------------------------------------------------------------------------------------------------------


def test_auto_is_the_gpu_and_it_may_have_a_number():
    assert calculator("organic", "auto").potential.device.type == "cuda"
    numbered = calculator("organic", "cuda:0")
    assert numbered.potential.device == torch.device("cuda:0")
    atoms = molecule("CH4")
    assert results(numbered, atoms)["energy"] == results(calculator("organic"), atoms)["energy"]


def test_pickled_calculators_go_on():
    atoms, calc = molecule("CH3OH"), calculator("organic")
    expected = results(calc, atoms)
    other = pickle.loads(pickle.dumps(calc))
    assert other.potential.device.type == torch.device(DEVICE).type
    assert other.get_property("energy", atoms) == expected["energy"]
    other.reset()
    np.testing.assert_array_equal(other.get_property("forces", atoms), expected["forces"])


def test_structures_outside_the_training_are_told_of():
    atoms = molecule("CH3OH")
    atoms.set_distance(0, 1, 0.9, fix=0)
    calc = calculator("organic", outside="warn")
    with pytest.warns(OutsideTrainingWarning, match="C-O"):
        calc.get_property("energy", atoms)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutsideTrainingWarning)
        calculator("organic", outside="warn").get_property("energy", molecule("CH3OH"))


def test_threads_share_the_gpu():
    frames = [rattled(molecule("CH3OH"), seed) for seed in range(4)]
    expected = [results(calculator("organic"), atoms)["forces"].copy() for atoms in frames]
    shared = calculator("organic", threads=1)
    found: list[tuple[int, np.ndarray]] = []

    def evaluate(number: int) -> None:
        for calc in (shared, calculator("organic", threads=1)):
            atoms = frames[number].copy()
            atoms.calc = calc
            found.append((number, atoms.get_forces()))

    threads = [threading.Thread(target=evaluate, args=(number,)) for number in range(len(frames))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 * len(frames)
    assert all(np.array_equal(forces, expected[number]) for number, forces in found)


# --- training --------------------------------------------------------------------------------------------------------


def labelled_batch(own: Potential, frames: list[Atoms]) -> Sample:
    generator = np.random.default_rng(0)
    made = []
    for atoms in frames:
        labels = Labels(energy=float(generator.normal()), forces=generator.normal(size=(len(atoms), 3)), stress=None)
        atoms.calc = SinglePointCalculator(atoms, energy=labels.energy, forces=labels.forces)
        graph = neighbour_graph(atoms, own.cutoff, dtype=own.dtype, device=own.device)
        made.append(Sample(graph=graph, targets=targets(atoms, labels, dtype=own.dtype, device=own.device)))
    return batch_samples(made)


@pytest.mark.parametrize("name", ["nbody", "nequip"])
def test_training_steps_are_those_of_the_cpu(name):
    def trained(device: str) -> list[torch.Tensor]:
        architecture = architectures()[name]
        settings = architecture.settings(elements=("H", "C", "O"), **architecture.presets["small"])
        network = architecture.network(settings, torch.Generator().manual_seed(0)).double().to(device)
        own = Potential(network, dict.fromkeys(("H", "C", "O"), 0.0))
        sample = labelled_batch(own, [rattled(molecule("CH3OH"), seed) for seed in range(3)])
        optimizers = network_optimizers(network, "muon", learning_rate=1e-3, weight_decay=0.0)
        for _ in range(3):
            network.zero_grad(set_to_none=True)
            prediction = trainable_prediction(own, sample.graph)
            weights = common_scale({ENERGY: 1.0, FORCES: 1.0}, 1.0)
            loss(prediction, sample.targets, sample.graph, weights).backward()
            for optimizer in optimizers:
                optimizer.step()
        return [parameter.detach().cpu() for parameter in network.parameters()]

    for found, expected in zip(trained(DEVICE), trained("cpu"), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_a_step_for_adaptation_is_that_of_the_cpu():
    """Second derivatives through a step, by parameters that are passed."""

    def slopes(device: str) -> list[torch.Tensor]:
        own = potential(torch.float64)
        own.network.to(device)
        graph = neighbour_graph(rattled(molecule("CH3OH")), own.cutoff, device=device)
        parameters = dict(own.network.named_parameters())
        inner = predict(own, graph, parameters, differentiable=True).forces.square().sum()
        gradients = torch.autograd.grad(inner, list(parameters.values()), create_graph=True, materialize_grads=True)
        moved = {name: p - 1e-3 * g for (name, p), g in zip(parameters.items(), gradients, strict=True)}
        outer = predict(own, graph, moved, differentiable=True).forces.square().sum()
        found = torch.autograd.grad(outer, list(parameters.values()), materialize_grads=True)
        return [slope.cpu() for slope in found]

    for found, expected in zip(slopes(DEVICE), slopes("cpu"), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)


# --- sums ------------------------------------------------------------------------------------------------------------


def test_sums_over_edges_are_those_of_the_cpu_and_can_be_differentiated():
    atoms = bulk("Si", cubic=True)
    edges = neighbour_graph(atoms, 5.0).edges
    rows = torch.randn(edges.n_edges, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for summed in (receiver_sums, sender_sums):
        there = rows.to(DEVICE).requires_grad_()
        torch.testing.assert_close(summed(there, edges.to(DEVICE)).cpu(), summed(rows, edges))
        assert torch.autograd.gradcheck(lambda r, s=summed: s(r, edges.to(DEVICE)).square(), there, fast_mode=True)
        assert torch.autograd.gradgradcheck(lambda r, s=summed: s(r, edges.to(DEVICE)).square(), there, fast_mode=True)
    nodes = edges.receivers
    found = node_sums(rows.to(DEVICE), nodes.to(DEVICE), len(atoms)).cpu()
    torch.testing.assert_close(found, receiver_sums(rows, edges))


def test_a_potential_that_is_given_is_copied_to_the_gpu():
    own = toy_potential()
    atoms = molecule("CH3OH")
    assert_agree(results(calculator(own), atoms), results(calculator(own, "cpu"), atoms), len(atoms), "float64")
    assert own.device.type == "cpu"
