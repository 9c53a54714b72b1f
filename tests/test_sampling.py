"""Structures to be labelled: bonds, normal modes, torsions, stretches, dimers and crystals."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations

from ase_nbody.labelling.sampling.bonds import bond_graph, reaction
from ase_nbody.labelling.sampling.crystals import strained, supercell, with_vacancies
from ase_nbody.labelling.sampling.dimers import donor_hydrogens, pair_positions, split
from ase_nbody.labelling.sampling.dynamics import watched_frames
from ase_nbody.labelling.sampling.normal_modes import amplitudes, displaced_structures, hessian, vibrations
from ase_nbody.labelling.sampling.placing import turned, with_distances
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.stretches import FACTORS, bent_structures, stretched_structures
from ase_nbody.labelling.sampling.torsions import rotatable_bonds, torsion_combinations, torsion_scan

NOISE = 0.2  # angstrom: six times the standard deviation of the noise of stretches


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_bonds_of_ethanol_and_what_they_divide():
    ethanol = molecule("CH3CH2OH")  # C, C, O, H of the OH, 2 H, 3 H
    bonds = bond_graph(ethanol)
    assert len(bonds.pairs) == 8
    first, second = next((i, j) for i, j in bonds.pairs if set(ethanol.symbols[[i, j]]) == {"C"})
    sides = bonds.side(first, second), bonds.side(second, first)
    assert sorted(ethanol[side].get_chemical_formula() for side in sides) == ["CH3", "CH3O"]
    assert second in sides[0] and first in sides[1]
    kinds = [sorted(ethanol.symbols[[i, j]]) for i, j in bonds.kinds_of_bonds()]
    assert sorted(kinds) == [["C", "C"], ["C", "H"], ["C", "H"], ["C", "O"], ["H", "O"]]


def test_a_ring_bond_has_no_side():
    bonds = bond_graph(molecule("CH2OCH2"))
    carbons_and_oxygen = [(i, j) for i, j in bonds.pairs if bonds.numbers[i] != 1 and bonds.numbers[j] != 1]
    assert len(carbons_and_oxygen) == 3
    assert all(bonds.side(i, j) is None for i, j in carbons_and_oxygen)


def test_reactions_are_told_from_vibrations():
    water = molecule("H2O")
    bonds = bond_graph(water)
    assert reaction(bonds, water) is None
    for factor, words in ((1.3, None), (1.7, "O0-H1 broke")):
        atoms = water.copy()
        atoms.set_distance(0, 1, factor * water.get_distance(0, 1), fix=0)
        assert reaction(bonds, atoms) == words
    near = water.copy()
    near.set_distance(1, 2, 0.6)
    assert "H1-H2 formed" in reaction(bonds, near)


def test_distances_are_reached_by_small_moves_and_impossible_ones_are_none():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    pairs = np.array([[0, 1], [0, 2], [1, 2]])
    wanted = np.array([1.1, 1.2, 1.9])
    moved = with_distances(corners, pairs, wanted)
    assert np.allclose([np.linalg.norm(moved[i] - moved[j]) for i, j in pairs], wanted, atol=2e-3)
    assert np.allclose(moved.mean(axis=0), corners.mean(axis=0), atol=1e-6)
    assert with_distances(corners, pairs, np.array([1.0, 1.0, 2.5])) is None


def test_turning_is_right_handed_about_the_axis():
    positions = np.array([[1.0, 0, 5], [1, 0, 0]])
    result = turned(positions, np.array([0]), np.array([0.0, 0, 5]), np.array([0.0, 0, 3]), 90)
    assert np.allclose(result, [[0, 1, 5], [1, 0, 0]])


@pytest.mark.parametrize(("name", "n_modes"), [("H2O", 3), ("CO2", 4), ("H2", 1)])
def test_vibrations_are_those_of_ase_without_the_motions_of_the_whole(name, n_modes, tmp_path):
    atoms = molecule(name)
    calculator = EMT()
    energies, modes = vibrations(atoms, hessian(atoms, calculator))
    assert len(energies) == n_modes and np.allclose(modes @ modes.T, np.eye(n_modes))
    atoms.calc = EMT()
    ase_vibrations = Vibrations(atoms, name=str(tmp_path / "vib"))
    ase_vibrations.run()
    signed = np.array([e.real if e.imag == 0 else -abs(e) for e in ase_vibrations.get_energies()])
    hard = sorted(signed, key=abs)[-1]  # EMT has no minimum here, but the hardest mode is nearly free of rotation
    assert energies[np.abs(energies).argmax()] == pytest.approx(hard, rel=0.02)


def test_an_atom_has_no_vibrations():
    energies, modes = vibrations(Atoms("H"), np.zeros((3, 3)))
    assert energies.shape == (0,) and modes.shape == (0, 3)


def test_amplitudes_are_zero_point_motion_when_cold_and_classical_when_hot():
    hbar = units._hbar * units.J * units.second
    quantum = np.array([0.2])
    omega = quantum / hbar
    assert amplitudes(quantum, 1.0, 0.01) ** 2 == pytest.approx(hbar / (2 * omega))
    assert amplitudes(quantum, 1e6, 0.01) ** 2 == pytest.approx(units.kB * 1e6 / omega**2, rel=1e-4)
    soft = amplitudes(np.array([1e-5, -0.01]), 300, 0.01)
    assert soft == pytest.approx(amplitudes(np.full(2, 0.01), 300, 0.001))


def test_bond_lengths_of_a_diatomic_have_the_spread_of_its_oscillator(generator):
    atoms = Atoms("NO", [[0, 0, 0], [0, 0, 1.15]])
    second = np.zeros((6, 6))
    k = 80.0  # eV/angstrom^2
    second[np.ix_([2, 5], [2, 5])] = [[k, -k], [-k, k]]
    draws = displaced_structures(atoms, bond_graph(atoms), vibrations(atoms, second), 1000.0, generator)
    lengths = np.array([a.get_distance(0, 1) for a in islice(draws, 4000)])
    m1, m2 = atoms.get_masses()
    omega = np.sqrt(k * (m1 + m2) / (m1 * m2))
    hbar = units._hbar * units.J * units.second
    variance = hbar * omega / (2 * k) / np.tanh(hbar * omega / (2 * units.kB * 1000))
    assert lengths.std() == pytest.approx(np.sqrt(variance), rel=0.04)
    assert lengths.mean() == pytest.approx(1.15, abs=0.002)


def test_displacements_along_a_rotation_do_not_stretch_bonds(generator):
    """A methyl-like rotor: the only soft mode turns it, and its bonds keep their lengths."""
    ethane = molecule("C2H6")
    bonds = bond_graph(ethane)
    axis = ethane.positions[1] - ethane.positions[0]
    turning = np.zeros((8, 3))
    side = bonds.side(0, 1)
    turning[side] = np.cross(axis, ethane.positions[side] - ethane.positions[1])
    weighted = (turning * np.sqrt(ethane.get_masses())[:, None]).ravel()
    modes = np.array([0.0]), weighted[None] / np.linalg.norm(weighted)
    lengths = np.linalg.norm(np.subtract(*ethane.positions[bonds.pairs.T]), axis=1)
    moved = []
    for atoms in islice(displaced_structures(ethane, bonds, modes, 600.0, generator), 20):
        assert np.allclose(np.linalg.norm(np.subtract(*atoms.positions[bonds.pairs.T]), axis=1), lengths, atol=2e-3)
        moved.append(np.abs(atoms.positions - ethane.positions).max())
    assert max(moved) > 0.3


def test_dynamics_gives_frames_at_the_temperature_and_changes_nothing(generator):
    start = bulk("Cu", cubic=True).repeat(2)
    before = start.positions.copy()
    settings = SampleSettings(timestep=4.0, frame_interval=40.0)
    frames = watched_frames(start, EMT(), 300.0, 4, settings, generator).frames
    assert len(frames) == 4 and (start.positions == before).all()
    assert all(f.calc is None and f.info["sampled_by"] == "md 300 K" and "momenta" not in f.arrays for f in frames)
    spread = np.array([np.sqrt(((f.positions - before) ** 2).sum(axis=1).mean()) for f in frames])
    assert (spread > 0.05).all() and (spread < 0.4).all()  # copper at 300 K: 0.15 angstrom


def test_torsions_turn_one_side_rigidly_by_the_angle_that_they_say():
    butane = molecule("trans-butane")
    bonds = bond_graph(butane)
    torsions = rotatable_bonds(bonds, butane.positions)
    assert len(torsions) == 3
    scan = list(torsion_scan(butane, bonds, 30.0))
    assert len(scan) == 3 * 11
    lengths = np.linalg.norm(np.subtract(*butane.positions[bonds.pairs.T]), axis=1)
    for number, (atoms, torsion) in enumerate(scan):
        change = (atoms.get_dihedral(*torsion) - butane.get_dihedral(*torsion)) % 360
        assert change == pytest.approx(30 * (number % 11 + 1), abs=1e-6)
        assert f"{atoms.get_dihedral(*torsion):.0f}°" in atoms.info["sampled_by"]
        assert np.allclose(np.linalg.norm(np.subtract(*atoms.positions[bonds.pairs.T]), axis=1), lengths)


def test_double_bonds_turn_and_straight_or_ring_bonds_do_not(generator):
    for name, number in (("C2H4", 1), ("C2H2", 0), ("CH2OCH2", 0), ("H2O2", 1), ("C6H6", 0), ("CH3CN", 0)):
        atoms = molecule(name)
        assert len(rotatable_bonds(bond_graph(atoms), atoms.positions)) == number, name
    assert list(torsion_combinations(molecule("H2O2"), bond_graph(molecule("H2O2")), 30, generator)) == []


def test_stretches_reach_from_compressed_to_apart_and_fragments_stay_rigid(generator):
    ethanol = molecule("CH3CH2OH")
    bonds = bond_graph(ethanol)
    structures = [atoms for atoms, held in stretched_structures(ethanol, bonds, generator) if held == ()]
    assert len(structures) == 5 * (len(FACTORS) + 3)
    pair = next((i, j) for i, j in bonds.pairs if set(ethanol.symbols[[i, j]]) == {"C", "O"})
    side = bonds.side(*pair)
    rest = np.setdiff1d(np.arange(9), side)
    length = ethanol.get_distance(*pair)
    stretched = [
        atoms for atoms in structures if "C-O" in atoms.info["sampled_by"] or "O-C" in atoms.info["sampled_by"]
    ]
    ratios = np.array([atoms.get_distance(*pair) for atoms in stretched]) / length
    assert ratios.min() < 0.9 and 2.8 < ratios[-4] < 3.2 and ratios[-1] * length > 7
    assert ((ratios > 1) & (ratios < 2)).sum() > 2 * ((ratios > 2) & (ratios < 3.1)).sum()
    for atoms in stretched:
        assert float(atoms.info["sampled_by"].split()[-1]) == pytest.approx(atoms.get_distance(*pair), abs=NOISE)
        for fragment in (side, rest):
            before, after = ethanol[fragment].get_all_distances(), atoms[fragment].get_all_distances()
            assert np.abs(before - after).max() < NOISE


def test_rings_open_and_their_other_bonds_hold(generator):
    oxirane = molecule("CH2OCH2")
    bonds = bond_graph(oxirane)
    opened = [(atoms, held) for atoms, held in stretched_structures(oxirane, bonds, generator) if held]
    assert opened
    lengths = np.linalg.norm(np.subtract(*oxirane.positions[bonds.pairs.T]), axis=1)
    factors = []
    for atoms, held in opened:
        others = ~(bonds.pairs == held).all(axis=1)
        found = np.linalg.norm(np.subtract(*atoms.positions[bonds.pairs.T]), axis=1)
        assert np.allclose(found[others], lengths[others], atol=NOISE)
        factors.append((found / lengths)[~others][0])
    assert min(factors) < 0.9 and max(factors) > 1.6


def test_bends_change_the_angle_they_name(generator):
    water = molecule("H2O")
    bent = list(bent_structures(water, bond_graph(water), generator))
    angles = [atoms.get_angle(1, 0, 2) for atoms in bent]
    assert min(angles) < 65 and max(angles) > 145
    assert [f"bend H-O-H {angle:.0f}°" for angle in angles] == [atoms.info["sampled_by"] for atoms in bent]
    straight = molecule("CO2")
    angles = [atoms.get_angle(1, 0, 2) for atoms in bent_structures(straight, bond_graph(straight), generator)]
    assert min(angles) < 140


def test_dimers_touch_at_many_distances_and_some_by_hydrogen_bonds(generator):
    water = molecule("H2O")
    donors = donor_hydrogens(bond_graph(water))
    assert donors == [(0, 1), (0, 2)]
    closest, bonded = [], 0
    for _ in range(60):
        positions, distance = pair_positions(water, water, (donors, donors), generator)
        pair = Atoms("OH2OH2", positions)
        distances = pair.get_all_distances()[:3, 3:]
        assert distances.min() == pytest.approx(distance)
        closest.append(distance)
        for o, h, donor in ((0, 4, 3), (0, 5, 3), (3, 1, 0), (3, 2, 0)):
            bonded += pair.get_distance(o, h) < 2.7 and pair.get_angle(donor, h, o) > 130
    assert min(closest) > 1.3 and max(closest) > 3.2
    assert bonded > 25


def test_a_structure_of_two_molecules_is_split():
    two = molecule("H2O") + Atoms("He", [[0, 0, 4.0]])
    ((fixed, moving),) = split(two, bond_graph(two))
    assert fixed.tolist() == [0, 1, 2] and moving.tolist() == [3]
    assert list(split(molecule("H2O"), bond_graph(molecule("H2O")))) == []


def test_supercells_grow_where_they_are_narrow_and_stop_in_time():
    cell = supercell(bulk("Cu"), 64)
    assert 8 < len(cell) <= 64
    assert len(supercell(bulk("Si", cubic=True), 64)) == 64 and len(supercell(bulk("Si", cubic=True), 63)) == 32
    slab = supercell(fcc111("Cu", (1, 1, 3), vacuum=6), 64)
    assert np.allclose(slab.cell.lengths()[2], fcc111("Cu", (1, 1, 3), vacuum=6).cell.lengths()[2])
    assert len(slab) > 20


def test_strains_are_symmetric_within_limits_and_leave_the_vacuum_of_slabs(generator):
    copper, slab = bulk("Cu"), fcc111("Cu", (1, 1, 3), vacuum=6)
    volumes = []
    for _ in range(40):
        atoms = strained(copper, 0.1, generator)
        strain = np.linalg.solve(copper.cell.array, atoms.cell.array) - np.eye(3)
        assert np.allclose(strain, strain.T) and np.abs(strain).max() <= 0.1
        assert atoms.get_scaled_positions() == pytest.approx(copper.get_scaled_positions())
        volumes.append(atoms.get_volume() / copper.get_volume())
        flat = strained(slab, 0.1, generator)
        assert np.allclose(flat.cell.array[2], slab.cell.array[2]) and np.allclose(
            flat.cell.array[:, 2], slab.cell.array[:, 2]
        )
        assert not np.allclose(flat.cell.array, slab.cell.array)
    assert min(volumes) < 0.85 and max(volumes) > 1.15


def test_vacancies_take_one_or_two_atoms(generator):
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    left = [with_vacancies(crystal, 0.1, generator) for _ in range(30)]
    assert {len(atoms) for atoms in left} == {6, 7}
    assert all(len(atoms.info["sampled_by"].split()) == 9 - len(atoms) for atoms in left)
    assert {len(with_vacancies(crystal[:4], 0.1, generator)) for _ in range(30)} == {3}
