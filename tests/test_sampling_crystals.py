"""Crystals to be labelled: normal modes of supercells, and slabs."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.neighborlist import neighbor_list
from ase.phonons import Phonons

from ase_nbody.labelling.sampling.candidates import CRYSTALS
from ase_nbody.labelling.sampling.crystals import supercell, supercell_times
from ase_nbody.labelling.sampling.normal_modes import HBAR, displaced_crystals, hessian, vibrations
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.slabs import FACES, faces, slab, with_cubic_cell
from ase_nbody.labelling.sampling.start import RelaxedStart

COPPER = 3.59  # angstrom; EMT's minimum
IRON = 2.87


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_the_hessian_of_a_supercell_follows_from_one_cell():
    cell = bulk("CuAu", "rocksalt", a=5.0)
    cell.positions[1] += 0.1  # no symmetry but the translations
    times = (3, 1, 2)
    whole = cell.repeat(times)
    matrix = hessian(whole, EMT(), times)
    assert np.abs(matrix - hessian(whole, EMT())).max() < 1e-9 < np.abs(matrix).max()


def test_modes_of_a_supercell_are_phonons(tmp_path):
    """Those at the wave vectors that fit into the cell; EMT reaches to the neighbours of neighbours, so 4 cells do."""
    cell = bulk("Cu", a=COPPER)
    whole = cell.repeat((4, 1, 1))
    energies, modes = vibrations(whole, hessian(whole, EMT(), (4, 1, 1)))
    assert len(energies) == 9 and np.allclose(modes @ modes.T, np.eye(9))
    phonons = Phonons(cell, EMT(), supercell=(5, 5, 5), delta=0.01, name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    expected = np.sort(phonons.band_structure([(n / 4, 0, 0) for n in (1, 2, 3)], verbose=False).ravel())
    assert energies == pytest.approx(expected, rel=0.02)


def test_displaced_crystals_have_the_energy_of_quantum_oscillators(generator):
    cell = bulk("Cu", a=COPPER)
    whole = cell.repeat(2)
    matrix = hessian(whole, EMT(), (2, 2, 2))
    modes = vibrations(whole, matrix)
    energies = []
    for atoms in islice(displaced_crystals(whole, modes, 300.0, generator), 2000):
        moves = (atoms.positions - whole.positions).ravel()
        energies.append(0.5 * moves @ matrix @ moves)
        assert atoms.info["sampled_by"] == "normal modes 300 K" and (atoms.cell == whole.cell).all()
    expected = (modes[0] / 4 / np.tanh(modes[0] / (2 * units.kB * 300.0))).sum()
    assert np.mean(energies) == pytest.approx(expected, rel=0.03)  # 1 % is the error of 2000 draws
    assert HBAR == pytest.approx(6.582e-16 * units.second, rel=1e-3)


def coordination(atoms, distance):
    """Neighbours of the outermost atoms, and the most that an atom has."""
    counts = np.bincount(neighbor_list("i", atoms, distance), minlength=len(atoms))
    heights = atoms.positions[:, 2]
    outer = (heights > heights.max() - 0.1) | (heights < heights.min() + 0.1)
    return set(counts[outer].tolist()), counts.max()


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize(("face", "missing"), list(zip(FACES, (3, 5, 4), strict=True)))
def test_atoms_of_fcc_faces_miss_the_neighbours_that_they_must(face, missing, cubic, generator):
    atoms = slab(with_cubic_cell(bulk("Cu", a=COPPER, cubic=cubic)), face, 64, generator)
    assert coordination(atoms, 0.8 * COPPER) == ({12 - missing}, 12)
    assert len(atoms) <= 64 and atoms.pbc.tolist() == [True, True, False]
    assert atoms.info["sampled_by"] == "surface " + "".join(map(str, face))
    heights = atoms.positions[:, 2]
    assert heights.min() == pytest.approx(6.0) and atoms.cell[2, 2] - heights.max() == pytest.approx(6.0)
    assert np.ptp(heights) > 5.0 and np.linalg.norm(atoms.cell.array[:2], axis=1).min() > 7.0


def test_faces_of_bcc_refer_to_its_cubic_cell(generator):
    iron = with_cubic_cell(bulk("Fe", a=IRON))
    assert coordination(slab(iron, (1, 1, 0), 64, generator), 0.9 * IRON) == ({6}, 8)
    assert coordination(slab(iron, (1, 0, 0), 64, generator), 0.9 * IRON) == ({4}, 8)


def test_slabs_of_compounds_end_in_different_ways_and_keep_the_formula(generator):
    salt = with_cubic_cell(bulk("NaCl", "rocksalt", a=5.64))
    ends = set()
    for _ in range(12):
        atoms = slab(salt, (1, 1, 1), 64, generator)
        ends.add(atoms.symbols[atoms.positions[:, 2].argmax()])
        assert (atoms.symbols == "Na").sum() == len(atoms) / 2
    assert ends == {"Na", "Cl"}


def test_other_cells_stay_and_have_a_basal_plane(generator):
    titanium = bulk("Ti")
    assert with_cubic_cell(titanium) is titanium and faces(titanium) == (*FACES, (0, 0, 1))
    assert faces(bulk("Cu", cubic=True)) == FACES
    atoms = slab(titanium, (0, 0, 1), 64, generator)
    assert coordination(atoms, 3.2) == ({9}, 12)


def test_large_cells_are_cut_one_layer_thick(generator):
    big = bulk("Cu", a=COPPER, cubic=True).repeat(3)
    assert len(slab(big, (1, 0, 0), 64, generator)) == len(big)


def start_of(atoms):
    atoms.info |= {"name": "start", "charge": 0}
    copy = atoms.copy()
    copy.calc = EMT()
    return RelaxedStart("start", (atoms,), (copy.get_potential_energy(),), (), None, EMT())


def test_surfaces_are_relaxed_and_rattled_and_compared_with_their_own_minimum(generator):
    start = start_of(bulk("Cu", a=COPPER))
    candidates = list(CRYSTALS["surfaces"].candidates(start, SampleSettings(), 9, generator))
    words = [candidate.atoms.info["sampled_by"].split() for candidate in candidates]
    assert [one[1] for one in words] == ["111"] * 3 + ["110"] * 3 + ["100"] * 3
    assert [one[2] for one in words] == ["relaxed", "relaxed", "rattle"] * 3
    for candidate, one in zip(candidates, words, strict=True):
        atoms = candidate.atoms.copy()
        atoms.calc = EMT()
        excess = atoms.get_potential_energy() - candidate.minimum
        assert (excess == 0) if one[2:] == ["relaxed"] else (0 < excess < len(atoms))
        assert candidate.minimum > start.lowest_energy(atoms) + 1.0  # a surface costs something
        assert atoms.info["name"] == "start" and candidate.bonds is None


def test_slabs_have_modes_and_no_further_surfaces(generator):
    start = start_of(fcc111("Cu", (1, 1, 3), a=COPPER, vacuum=6.0))
    settings = SampleSettings(supercell_atoms=12, temperatures=(300.0, 600.0))
    assert list(CRYSTALS["surfaces"].candidates(start, settings, 9, generator)) == []
    modes = list(CRYSTALS["normal-modes"].candidates(start, settings, 4, generator))
    assert [one.atoms.info["sampled_by"] for one in modes] == ["normal modes 300 K"] * 2 + ["normal modes 600 K"] * 2
    assert all(len(one.atoms) == 12 for one in modes)


def test_a_crystal_of_one_atom_has_no_modes(generator):
    start = start_of(bulk("Cu", a=COPPER))
    settings = SampleSettings(supercell_atoms=1)
    assert list(CRYSTALS["normal-modes"].candidates(start, settings, 4, generator)) == []
    assert supercell_times(start.minima[0], 1) == (1, 1, 1) and len(supercell(start.minima[0], 8)) == 8
