"""Bands: their ends, saddle points of first and higher order, and paths pushed out to lower ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.vibrations.data import VibrationsData

from ase_nbody import NBodyCalculator
from ase_nbody.simulation.errors import UnstableOptimisationError
from ase_nbody.simulation.nudged_elastic_band import (
    BandSettings,
    barrier,
    check_ends,
    highest_image,
    interpolated,
    largest_difference,
    optimise_band,
    relax_ends,
    with_results,
)
from ase_nbody.simulation.saddle_points import across, allowed_displacements, imaginary_modes, pushed_out


class Ring(Calculator):
    """One atom of mass 1 on (r^2 - 1)^2 - 0.1 x^2 + 0.5 z^2 in a plane: a hill in the middle, a valley around it.

    The straight way from (-1, 0) to (1, 0) leads over the top, with two directions down; the valley is lower.
    """

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x, y, z = atoms.positions[0]
        ring = x * x + y * y - 1
        gradient = np.array([4 * ring * x - 0.2 * x, 4 * ring * y, z])
        self.results = {"energy": ring**2 - 0.1 * x * x + 0.5 * z * z, "forces": -gradient[None]}

    def get_hessian(self, atoms):
        x, y, _ = atoms.positions[0]
        ring = x * x + y * y - 1
        return np.array([[8 * x * x + 4 * ring - 0.2, 8 * x * y, 0], [8 * x * y, 8 * y * y + 4 * ring, 0], [0, 0, 1.0]])


def in_the_plane(x, y=0.0):
    # A constraint on nothing that moves keeps the atom where it is: a molecule of one atom would be moved to its end.
    return Atoms("H", [[x, y, 0]], masses=[1.0], constraint=FixCartesian([0], mask=[False, False, True]))


SETTINGS = BandSettings(fmax=0.02, steps=500, climb=True)


def test_a_straight_path_over_a_hill_is_pushed_out_into_the_valley():
    calculator = Ring()
    minimum = np.sqrt(1.05)
    images = interpolated(in_the_plane(-minimum), in_the_plane(minimum), 7)
    optimise_band(images, calculator, SETTINGS)
    path = with_results(images, calculator)
    assert barrier(path)[0] == pytest.approx(1 + 0.1 * 1.05 - 0.05**2, abs=1e-3)
    top = path[highest_image(path)]
    modes = imaginary_modes(top, calculator.get_hessian(top))
    # -4.2 and -4 eV/Å^2 with a mass of 1 u: sqrt(4.2 eV/Å^2/u) is 1068.9 cm^-1
    assert modes.wavenumbers == pytest.approx([1068.9, 1043.1], abs=0.5)
    sideways = across(modes, path, highest_image(path))
    assert np.abs(sideways) == pytest.approx(np.array([[0, 1, 0]]), abs=1e-6)

    moved = pushed_out(path, sideways, 0.4)
    assert np.abs(moved[highest_image(path)].positions[0, 1]) == pytest.approx(0.4)
    assert (moved[0].positions == path[0].positions).all() and (moved[-1].positions == path[-1].positions).all()
    optimise_band(moved, calculator, SETTINGS)
    lower = with_results(moved, calculator)
    assert barrier(lower)[0] == pytest.approx(0.1 * 1.05 - 0.05**2, abs=2e-3)  # over (0, 1)
    saddle = lower[highest_image(lower)]
    assert len(imaginary_modes(saddle, calculator.get_hessian(saddle))) == 1
    assert len(imaginary_modes(lower[0], calculator.get_hessian(lower[0]))) == 0


@pytest.mark.slow
def test_acetic_acid_is_pushed_out_of_its_plane():
    calculator = NBodyCalculator("organic")
    syn = molecule("CH3COOH")
    anti = syn.copy()
    anti.set_dihedral(1, 0, 2, 3, 180.0, mask=[0, 0, 0, 1, 0, 0, 0, 0])
    settings = BandSettings(fmax=0.05, steps=500, climb=True)
    relax_ends((syn, anti), calculator, settings)
    images = interpolated(syn, anti, 7)
    optimise_band(images, calculator, settings)
    planar = with_results(images, calculator)
    assert barrier(planar)[0] == pytest.approx(1.32, abs=0.02)
    top = highest_image(planar)
    modes = imaginary_modes(planar[top], calculator.get_hessian(planar[top]))
    assert len(modes) == 2
    moved = pushed_out(planar, across(modes, planar, top), 0.4)
    optimise_band(moved, calculator, settings)
    path = with_results(moved, calculator)
    assert barrier(path)[0] == pytest.approx(0.54, abs=0.02)
    saddle = path[highest_image(path)]
    assert len(imaginary_modes(saddle, calculator.get_hessian(saddle))) == 1


def numerical_hessian(atoms, calculator):
    hessian = np.empty((3 * len(atoms), 3 * len(atoms)))
    for k in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.set_constraint()
            moved.positions.flat[k] += sign * 1e-3
            forces.append(calculator.get_forces(moved).ravel())
        hessian[k] = (forces[1] - forces[0]) / 2e-3
    return hessian


def test_modes_are_ases():
    # Linear CO2 of EMT, squeezed: both bending modes are imaginary, and are two of 4 = 3 * 3 - 5.
    atoms = molecule("CO2")
    atoms.positions *= 0.9
    hessian = numerical_hessian(atoms, EMT())
    modes = imaginary_modes(atoms, hessian)
    theirs = VibrationsData.from_2d(atoms, hessian).get_frequencies()
    expected = sorted((f.imag for f in theirs if f.imag > 200), reverse=True)
    assert len(expected) == 2
    assert modes.wavenumbers == pytest.approx(expected, rel=1e-3)
    assert np.abs(modes.displacements[:, :, 2]).max() < 1e-6  # across the axis
    assert allowed_displacements(atoms).shape == (9, 4)


def test_motions_of_the_whole_do_not_count():
    for atoms, freedom in (
        (molecule("H2O"), 3),
        (Atoms("H"), 0),
        (bulk("Cu", cubic=True), 9),
        (molecule("N2"), 1),
    ):
        basis = allowed_displacements(atoms)
        assert basis.shape == (3 * len(atoms), freedom)
        # They carry no momentum, and no force on the whole has a part along them.
        momenta = atoms.get_masses()[:, None] * basis.T.reshape(-1, len(atoms), 3)
        assert np.abs(momenta.sum(axis=1)).max(initial=0) < 1e-10
        assert len(imaginary_modes(atoms, -np.eye(3 * len(atoms)))) == freedom


def test_constraints_leave_their_directions_out():
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint([FixAtoms([0]), FixCartesian([1], mask=[True, False, True])])
    basis = allowed_displacements(atoms)
    assert basis.shape == (12, 7)
    assert np.abs(basis[:3]).max() < 1e-12 and np.abs(basis[[3, 5]]).max() < 1e-12
    assert len(imaginary_modes(atoms, -np.eye(12))) == 7


def test_an_adatom_crosses_a_first_order_saddle():
    slab = fcc100("Al", (2, 2, 2), vacuum=6.0)
    add_adsorbate(slab, "Au", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 0))
    final = slab.copy()
    final.positions[-1, 0] += slab.cell[0, 0] / 2
    ends = slab, final
    settings = BandSettings(fmax=0.05, steps=200, climb=True)
    relax_ends(ends, EMT(), settings)
    images = interpolated(*ends, 5)
    optimise_band(images, EMT(), settings)
    path = with_results(images, EMT())
    saddle = path[2]
    assert highest_image(path) == 2
    modes = imaginary_modes(saddle, numerical_hessian(saddle, EMT()))
    assert len(modes) == 1
    along = modes.displacements[0, -1]
    assert np.abs(along) == pytest.approx([1, 0, 0], abs=0.05)
    assert np.abs(modes.displacements[0, :-1]).max() < 1e-12


def test_ends_that_are_one_structure():
    water = molecule("H2O")
    turned = water.copy()
    turned.rotate(77, [1, 2, 3])
    turned.translate([3, 1, 2])
    with pytest.raises(ValueError, match="the same structure"):
        check_ends(water, turned)
    turned.set_distance(0, 1, 1.2, fix=0)
    check_ends(water, turned)
    crystal = bulk("Si", cubic=True)
    shifted = crystal.copy()
    shifted.translate([0.3, 0.2, 0.1])
    shifted.wrap()
    with pytest.raises(ValueError, match="the same structure"):
        check_ends(crystal, shifted)
    crystal.set_constraint(FixAtoms([0]))  # where an atom is held, places count
    check_ends(crystal, shifted)
    mirrored = Atoms("CHFClBr", [[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    other = mirrored.copy()
    other.positions[:, 0] *= -1
    assert largest_difference(mirrored, other) > 0.5


def test_ends_that_relax_to_one_structure():
    water = molecule("H2O")
    stretched = water.copy()
    stretched.set_distance(0, 1, 1.1, fix=0)
    with pytest.raises(ValueError, match="relax to the same structure"):
        relax_ends((water, stretched), EMT(), BandSettings(fmax=0.05, steps=200, climb=True))


class Hole(Ring):
    """A path that leads over a hole without bottom, and ends that know nothing of it."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if abs(atoms.positions[0, 0]) < 0.5:
            self.results["energy"] -= 1000.0


def test_images_that_fall_without_end():
    images = interpolated(in_the_plane(-1.0), in_the_plane(1.0), 5)
    with pytest.raises(UnstableOptimisationError, match="lies 999 eV/atom below the ends"):
        optimise_band(images, Hole(), SETTINGS)
    optimise_band(images, Hole(), BandSettings(fmax=50.0, steps=5, climb=False, watchdog=False))
