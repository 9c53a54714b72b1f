"""SchNet and DimeNet++: their bases, angles and derivatives; agreement with torch_geometric is benchmarks/peers/'s."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet
from scipy.integrate import simpson
from scipy.special import spherical_jn
from typer.testing import CliRunner

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import Architecture, Network, architectures
from ase_nbody.cli import app
from ase_nbody.graph import edge_vectors
from ase_nbody.math.radial import cosine_envelope, gaussian_basis
from ase_nbody.math.spherical_bessel import (
    legendre_polynomials,
    spherical_bessel_basis,
    spherical_bessel_zeros,
)
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.active_edges import active_edges, triplets
from ase_nbody.potential import Potential, predict

BASELINES = ("schnet", "dimenet_pp")
TINY = {
    "schnet": {"features": 8, "filters": 8, "interactions": 2, "gaussians": 10},
    "dimenet_pp": {"features": 8, "blocks": 1, "triplet_width": 4, "output_width": 8},
}
BASIS_TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5}  # of the largest value, measured 1e-14 and 1e-6


def architecture(name: str) -> Architecture:
    return architectures()[name]


def network(name: str, elements: tuple[str, ...] = ("H", "C", "O"), **settings: object) -> Network:
    """A tiny network in float64 whose biases are not the zeros it begins with."""
    chosen = architecture(name).settings(elements=elements, **{**TINY[name], **settings})
    made = architecture(name).network(chosen, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return made


def potential(name: str, elements: tuple[str, ...] = ("H", "C", "O"), **settings: object) -> Potential:
    return Potential(network(name, elements, **settings), dict.fromkeys(elements, 0.0))


# --- functions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", BASIS_TOLERANCE, ids=str)
@pytest.mark.parametrize(("degrees", "functions"), [(1, 1), (4, 3), (7, 6)])
def test_spherical_bessel_basis_is_scipys(degrees, functions, dtype):
    x = torch.linspace(1e-7, 1.0, 301, dtype=torch.float64)
    zeros = spherical_bessel_zeros(degrees, functions)
    orders = np.arange(degrees)[:, None]
    assert np.abs(spherical_jn(orders, zeros)).max() < 1e-14
    expected = spherical_jn(orders, zeros * x.numpy()[:, None, None])
    expected *= 2**0.5 / np.abs(spherical_jn(orders + 1, zeros))
    found = spherical_bessel_basis(x.to(dtype), degrees, functions).double().numpy()
    assert np.abs(found - expected).max() < BASIS_TOLERANCE[dtype] * np.abs(expected).max()


def test_spherical_bessel_basis_is_orthonormal_and_vanishes_at_the_cutoff():
    x = torch.linspace(0.0, 1.0, 2001, dtype=torch.float64)
    basis = spherical_bessel_basis(x, 7, 6).numpy()
    for degree in range(7):
        products = basis[:, degree, :, None] * basis[:, degree, None, :] * x.numpy()[:, None, None] ** 2
        assert simpson(products, x=x.numpy(), axis=0) == pytest.approx(np.eye(6), abs=1e-8)
    assert np.abs(basis[-1]).max() < 1e-11


def test_bases_have_two_derivatives_everywhere():
    x = torch.tensor([0.0, 1e-9, 0.4, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: spherical_bessel_basis(x, 5, 2), x)
    cosines = torch.tensor([-1.0, -0.3, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda c: legendre_polynomials(c, 5), cosines)


def test_legendre_polynomials_are_numpys():
    cosines = torch.linspace(-1, 1, 11, dtype=torch.float64)
    expected = np.polynomial.legendre.legvander(cosines.numpy(), 6)
    assert legendre_polynomials(cosines, 7).numpy() == pytest.approx(expected, abs=1e-14)
    assert legendre_polynomials(cosines, 1).shape == (11, 1)


def test_gaussians_and_the_cosine():
    distances = torch.tensor([0.0, 0.5, 2.0, 2.5], dtype=torch.float64)
    basis = gaussian_basis(distances, 2.0, 5)
    assert basis[1].numpy() == pytest.approx(np.exp(-0.5 * np.arange(-1, 4) ** 2))
    assert cosine_envelope(distances, 2.0).numpy() == pytest.approx([1.0, 0.5 * (1 + 0.5**0.5), 0.0, 0.0])


# --- angles ----------------------------------------------------------------------------------------------------------


def brute_force_triplets(atoms: Atoms, cutoff: float) -> set[tuple[int, int]]:
    """Pairs of edges k -> j, j -> i by their vectors: all but those that lead back where they came from."""
    graph = neighbour_graph(atoms, cutoff)
    vectors = edge_vectors(graph).numpy()
    senders, receivers = graph.edges.senders.numpy(), graph.edges.receivers.numpy()
    return {
        (kj, ji)
        for ji in range(len(senders))
        for kj in range(len(senders))
        if receivers[kj] == senders[ji] and np.linalg.norm(vectors[kj] + vectors[ji]) > 1e-6
    }


@pytest.mark.parametrize(
    ("atoms", "cutoff"),
    [
        (molecule("CH3OH"), 3.0),
        (bulk("C", "diamond", a=3.4), 2.6),
        (bulk("C", "fcc", a=2.2), 2.3),  # one atom, all of whose neighbours are its own images
        (Atoms("H"), 3.0),
        (Atoms("HO", [(0, 0, 0), (0, 0, 1)]), 3.0),  # neighbours without angles
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else None,
)
def test_triplets_are_those_of_brute_force(atoms, cutoff):
    found = triplets(active_edges(neighbour_graph(atoms, cutoff), cutoff))
    pairs = set(zip(found.senders.tolist(), found.receivers.tolist(), strict=True))
    assert pairs == brute_force_triplets(atoms, cutoff)
    assert len(pairs) == found.n_edges


def test_the_same_atom_in_another_cell_makes_an_angle():
    """In a chain of two atoms per cell both neighbours of each are images of one atom: one is left out, one is not."""
    chain = Atoms("HH", positions=[(0, 0, 0), (1, 0, 0)], cell=[2, 9, 9], pbc=(True, False, False))
    edges = active_edges(neighbour_graph(chain, 1.2), 1.2)
    assert edges.pairs.n_edges == 4 and triplets(edges).n_edges == 4


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    "atoms",
    [
        molecule("CO2"),
        molecule("C2H2"),
        Atoms("HHH", [(0, 0, 0), (0, 0, 0.7), (0, 0, 1.4)]),
        Atoms("HHO", [(0, 0, 0), (0, 0, 1e-3), (0, 2e-3, 0)]),
        bulk("C", "sc", a=1.6),
    ],
    ids=["CO2", "C2H2", "H3 on a line", "nearly coinciding", "simple cubic"],
)
def test_forces_and_their_derivatives_are_finite(name, atoms):
    """At angles of 0 and pi, and at distances far below real ones: forces, and gradients of a loss on them."""
    made = potential(name)
    for dtype in (torch.float64, torch.float32):
        typed = replace(made, network=made.network.to(dtype))
        found = predict(typed, neighbour_graph(atoms, typed.cutoff, dtype=dtype), differentiable=True)
        loss = found.forces.square().sum() + found.energy.sum()
        gradients = torch.autograd.grad(loss, list(typed.network.parameters()))
        assert bool(found.forces.isfinite().all()) and all(bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("name", BASELINES)
def test_edges_beyond_the_cutoff_change_nothing(name):
    made, atoms = potential(name, cutoff=2.5), molecule("CH3CH2OH")
    exact = predict(made, neighbour_graph(atoms, 2.5))
    longer = predict(made, neighbour_graph(atoms, 4.0))
    assert torch.equal(exact.energies, longer.energies) and torch.equal(exact.forces, longer.forces)


@pytest.mark.parametrize("name", BASELINES)
def test_an_atom_without_active_edges_has_no_energy_at_all(name):
    made = potential(name, cutoff=2.0)
    apart = predict(made, neighbour_graph(Atoms("HO", [(0, 0, 0), (0, 0, 2.5)]), 3.0))
    assert not apart.energies.any() and not apart.forces.any()


@pytest.mark.parametrize("name", BASELINES)
def test_the_loss_on_forces_is_differentiated_right(name):
    """The gradient of a sum of squared forces by a parameter, against differences."""
    made = potential(name)
    graph = neighbour_graph(molecule("H2O"), made.cutoff)

    def value() -> torch.Tensor:
        return predict(made, graph, differentiable=True).forces.square().sum()

    for parameter in list(made.network.parameters())[:3]:
        (exact,) = torch.autograd.grad(value(), [parameter])
        place = int(exact.abs().argmax())
        step, ends = 1e-5, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[place] += sign * step
            ends.append(value().item())
            with torch.no_grad():
                parameter.view(-1)[place] -= sign * step
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(exact.view(-1)[place].item(), rel=1e-6)


def test_dimenet_pp_sees_what_distances_to_an_atom_do_not():
    """Two neighbours at equal distances, beyond each other's cutoff: only the angle differs."""
    found = {}
    for name in BASELINES:
        made = potential(name, cutoff=1.0)
        energies = []
        for angle in (110.0, 140.0):
            turned = (np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0)
            atoms = Atoms("OHH", positions=0.65 * np.array([(0, 0, 0), (1, 0, 0), turned]))
            energies.append(predict(made, neighbour_graph(atoms, 1.0)).energy.item())
        found[name] = abs(energies[0] - energies[1])
    assert found["schnet"] < 1e-12 and found["dimenet_pp"] > 1e-6


def test_schnets_cosine_has_continuous_forces_with_a_kink():
    """What the setting promises: forces go to zero linearly, and with the polynomial at least quadratically."""
    ratios = {}
    for envelope in ("cosine", "polynomial"):
        made = potential("schnet", envelope=envelope, cutoff=3.0)
        forces = []
        for gap in (2e-3, 1e-3):
            atoms = Atoms("HO", [(0, 0, 0), (0, 0, 3.0 - gap)])
            forces.append(predict(made, neighbour_graph(atoms, 3.0)).forces.norm().item())
        ratios[envelope] = forces[0] / forces[1]
    assert ratios["cosine"] == pytest.approx(2.0, rel=0.01)
    assert ratios["polynomial"] == pytest.approx(4.0, rel=0.01)


@pytest.mark.parametrize("name", BASELINES)
def test_new_networks_come_from_the_generator_and_leave_global_seeds_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    settings = architecture(name).settings(elements=("H",), **architecture(name).presets["small"])
    made = [architecture(name).network(settings, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    first, again, other = (torch.cat([p.flatten() for p in m.parameters()]) for m in made)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", BASELINES)
def test_command_trains_and_the_model_runs_dynamics(name, tmp_path):
    write(tmp_path / "train.xyz", lennard_jones_trimers(12))
    chosen = [f"--set={key}={value}" for key, value in TINY[name].items()]
    model = tmp_path / "model.safetensors"
    arguments = ["train", "--architecture", name, "--epochs", "3", "--cutoff", "4.0", *chosen]
    result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path / "train.xyz"), "--output", str(model)])
    assert result.exit_code == 0, result.output
    assert_dynamics_conserve_energy(model)


def lennard_jones_trimers(number: int) -> list[Atoms]:
    generator = np.random.default_rng(0)
    frames = []
    for _ in range(number):
        atoms = Atoms("C3", positions=[(0, 0, 0), (1.7, 0, 0), (0.8, 1.5, 0)])
        atoms.positions += generator.normal(scale=0.1, size=(3, 3))
        atoms.calc = LennardJones(sigma=1.5, epsilon=0.3, rc=4.0)
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def assert_dynamics_conserve_energy(model: Path) -> None:
    atoms = lennard_jones_trimers(1)[0]
    atoms.calc = NBodyCalculator(model)
    atoms.set_momenta(np.random.default_rng(1).normal(scale=1.0, size=(3, 3)))
    total = [atoms.get_total_energy() for _ in VelocityVerlet(atoms, 0.5 * units.fs).irun(20)]
    assert np.ptp(total) < 1e-3 and np.abs(atoms.get_forces()).max() > 1e-3
