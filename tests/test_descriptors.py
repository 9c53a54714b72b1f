"""Descriptors turn with a structure or do not, and linear readouts of them are the energies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from wigner import REFLECTION, wigner

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import architectures
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, seen_by_network
from ase_nbody.repulsion import Repulsion
from ase_nbody.steps.features import energy_steps

EXACT = 1e-10  # float64, of features of about 1; broken laws differ by 1e-3 and more
SINGLE = 2e-5  # float32
SEVENNET = {"states": ("6x0e", "5x0e+2x0o+4x1o+3x1e+2x2e", "3x0e"), "radial_widths": (7,)}
MACE = {"states": "6x0e+6x1o", "max_degree": 2, "radial_widths": (8,), "readout_width": 5}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "nbody": ("nbody", {"channels": 8}),
    "nbody of three levels": ("nbody", {"channels": 4, "levels": 3, "max_degree_states": 2}),
    "nequip": ("nequip", {"channels": 8, "layers": 2, "max_degree": 2}),
    "nequip with hidden layers": ("nequip", {"channels": 6, "layers": 2, "readout_depth": 2, "readout_width": 3}),
    "sevennet": ("sevennet", SEVENNET),
    "mace": ("mace", MACE),
}
IRREPS = {
    "nbody": "8x0e+8x1o+8x0e",
    "nbody of three levels": "4x0e+4x1o+4x2e+4x0e+4x1o+4x2e+4x0e",
    "nequip": "8x0e",
    "nequip with hidden layers": "6x0e",
    "sevennet": "3x0e",
    "mace": "6x0e+6x1o+6x0e",
}


def potential(architecture: str, **settings: Any) -> Potential:
    its = architectures()[architecture]
    chosen = its.settings(elements=("H", "C", "O"), cutoff=3.5, average_neighbours=9.0, **settings)
    network = its.network(chosen, torch.Generator().manual_seed(0)).double()
    return Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=2.0)


def calculator(name: str, dtype: str = "float64") -> NBodyCalculator:
    architecture, settings = NETWORKS[name]
    return NBodyCalculator(potential(architecture, **settings), device="cpu", dtype=dtype)


def crystal() -> Atoms:
    atoms = bulk("C", "diamond", a=3.6, cubic=True)
    atoms.set_cell(atoms.cell[:] @ [[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]], scale_atoms=True)
    atoms.symbols[0] = "O"
    atoms.rattle(0.08, seed=1)
    return atoms


def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.08, seed=0)
    return atoms


def turned(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell[:] @ matrix.T)
    atoms.positions = atoms.positions @ matrix.T + [1.0, -20.0, 3.0]
    return atoms


@pytest.mark.parametrize("atoms", [ethanol(), crystal()], ids=["molecule", "crystal"])
@pytest.mark.parametrize("name", NETWORKS)
def test_symmetries(name: str, atoms: Atoms) -> None:
    calc = calculator(name)
    assert calc.descriptor_irreps == IRREPS[name]
    invariant, covariant = (calc.get_descriptors(atoms, invariant=choice) for choice in (True, False))
    assert (invariant.dtype, covariant.dtype) == (np.float64, np.float64)
    assert np.ptp(invariant, axis=0).min() > 1e-3  # of all features, some atoms differ
    moved = turned(atoms, REFLECTION)
    np.testing.assert_allclose(calc.get_descriptors(moved), invariant, rtol=0, atol=EXACT)
    matrix = wigner(calc.descriptor_irreps, REFLECTION).numpy()
    expected = covariant @ matrix.T
    np.testing.assert_allclose(calc.get_descriptors(moved, invariant=False), expected, rtol=0, atol=EXACT)
    assert np.abs(expected - covariant).max() > 1e-3 or covariant.shape == invariant.shape
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(calc.get_descriptors(atoms[order]), invariant[order], rtol=0, atol=EXACT)


def test_invariant_ones_are_those_of_the_whole_states_that_are_not_turned() -> None:
    calc = calculator("mace")
    invariant, covariant = (calc.get_descriptors(ethanol(), invariant=choice) for choice in (True, False))
    assert np.array_equal(invariant, np.hstack([covariant[:, :6], covariant[:, -6:]]))


def test_a_supercell_has_the_descriptors_of_its_cell() -> None:
    calc = calculator("nbody")
    cell = calc.get_descriptors(crystal(), invariant=False)
    many = calc.get_descriptors(crystal() * (1, 2, 1), invariant=False)
    np.testing.assert_allclose(many, np.tile(cell, (2, 1)), rtol=0, atol=EXACT)


@pytest.mark.parametrize("name", ["nbody", "nbody of three levels", "nequip", "sevennet"])
def test_linear_readouts_of_them_are_the_energies(name: str) -> None:
    calc, atoms = calculator(name), crystal()
    network = calc.potential.network
    vectors = network.step_weights().vectors
    of_elements = [vectors[step.weights].detach().numpy() for step in energy_steps(network.description())]
    types = [network.settings.elements.index(symbol) for symbol in atoms.symbols]
    with_ones = np.hstack([calc.get_descriptors(atoms), np.ones((len(atoms), 1))])  # for shifts
    together = np.hstack([*of_elements, np.zeros((3, 1))])[:, : with_ones.shape[1]]
    references = [calc.potential.reference_energies[symbol] for symbol in atoms.symbols]
    energies = references + 2.0 * (with_ones * together[types]).sum(axis=1)
    np.testing.assert_allclose(energies, calc.get_property("energies", atoms), rtol=0, atol=1e-8)
    assert np.abs(energies - references).max() > 1e-3


@pytest.mark.parametrize("name", ["nbody", "mace"])
def test_float32(name: str) -> None:
    single, double = (calculator(name, dtype).get_descriptors(ethanol()) for dtype in ("float32", "float64"))
    assert single.dtype == np.float64 and 0 < np.abs(single - double).max() < SINGLE


def test_means_over_inversion() -> None:
    """Of a network that tells mirror images apart, in float64."""
    states = ("6x0e", *["5x0e+4x1e+2x2e"] * 2, "3x0e")
    chiral = potential("sevennet", **{**SEVENNET, "parity": False, "states": states})
    here, there = ethanol(), turned(ethanol(), -np.eye(3))
    plain = NBodyCalculator(chiral, device="cpu")
    assert np.abs(plain.get_descriptors(here) - plain.get_descriptors(there)).max() > 1e-4
    mean = NBodyCalculator(chiral, device="cpu", average_over_inversion=True)
    found = mean.get_descriptors(here)
    np.testing.assert_allclose(found, mean.get_descriptors(there), rtol=0, atol=EXACT)
    both = 0.5 * (plain.get_descriptors(here) + plain.get_descriptors(there))
    np.testing.assert_allclose(found, both, rtol=0, atol=EXACT)


def test_means_over_inversion_of_vectors_turn_with_the_structure() -> None:
    calc = NBodyCalculator(potential("nbody", channels=4), device="cpu", average_over_inversion=True)
    plain = NBodyCalculator(potential("nbody", channels=4), device="cpu")
    found, expected = (c.get_descriptors(ethanol(), invariant=False) for c in (calc, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)


def test_contacts_are_seen_lengthened() -> None:
    """As energies see them."""
    bare = potential("nbody", channels=4)
    repelled = replace(bare, repulsion=Repulsion({"C-O": 1.0}))
    close = Atoms("CO", [[0, 0, 0], [0, 0, 0.95]])
    graph = neighbour_graph(close, bare.cutoff, dtype=torch.float64)
    seen = seen_by_network(repelled, graph)
    assert seen.vectors is not None
    distance = float(seen.vectors.norm(dim=1)[0])
    longer = Atoms("CO", [[0, 0, 0], [0, 0, distance]])
    assert 0.951 < distance < 1.0
    here, there = (NBodyCalculator(p, device="cpu") for p in (repelled, bare))
    np.testing.assert_allclose(here.get_descriptors(close), there.get_descriptors(longer), rtol=0, atol=EXACT)
    apart = Atoms("CO", [[0, 0, 0], [0, 0, 1.2]])
    assert np.array_equal(here.get_descriptors(apart), there.get_descriptors(apart))


@pytest.mark.parametrize("architecture", ["schnet", "nbody"])
def test_networks_that_have_none_say_so(architecture: str) -> None:
    settings = {"radial": "strict", "channels": 4} if architecture == "nbody" else {"features": 8, "filters": 8}
    calc = NBodyCalculator(potential(architecture, **settings), device="cpu")
    assert calc.descriptor_irreps == ""
    with pytest.raises(PropertyNotImplementedError, match="with these settings is not a list of steps"):
        calc.get_descriptors(ethanol())


def test_bad_structures_are_refused() -> None:
    calc = calculator("nbody")
    with pytest.raises(ValueError, match="element 'N' is not in this model"):
        calc.get_descriptors(molecule("N2"))
