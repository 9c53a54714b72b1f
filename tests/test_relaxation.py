"""Relaxations: what stops them, cells of slabs and wires, and when they are not converged."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.io import read

from ase_nbody.simulation.errors import NotConvergedError, UnstableOptimisationError
from ase_nbody.simulation.optimisation_watchdog import ForceCheck, closest_ratio
from ase_nbody.simulation.relaxation import OptimisationSettings, periodic_strains, relaxed, with_cell

SETTINGS = OptimisationSettings("fire", fmax=0.01, steps=500)


class Pair(Calculator):
    """Energy of two atoms as a function of their distance, with its derivative."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, energy, slope):
        super().__init__()
        self.energy, self.slope = energy, slope

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        vector = atoms.positions[1] - atoms.positions[0]
        distance = np.linalg.norm(vector)
        force = -self.slope(distance) * vector / distance
        self.results = {"energy": self.energy(distance), "forces": np.array([-force, force])}


def hydrogen(distance, energy, slope):
    atoms = Atoms("H2", [[0, 0, 0], [distance, 0, 0]])
    atoms.calc = Pair(energy, slope)
    return atoms


def stopped(atoms, settings=SETTINGS, **arguments):
    with pytest.raises(UnstableOptimisationError) as error:
        relaxed(atoms, settings, **arguments)
    return error.value


@pytest.mark.parametrize("optimizer", ["bfgs", "lbfgs", "fire"])
def test_forces_that_explode(optimizer, tmp_path):
    atoms = hydrogen(0.74, lambda r: -(r**-9), lambda r: 9 * r**-10)  # a hole: the closer, the lower
    error = stopped(atoms, OptimisationSettings(optimizer, 0.01, 500), trajectory=tmp_path / "out.traj")
    assert "eV/Å" in error.reason or "fell by" in error.reason or "collapsed" in error.reason
    frames = read(tmp_path / "out.traj", ":")
    assert len(frames) == error.step + 1
    assert error.last_good[0].positions == pytest.approx(frames[-2].positions)
    assert error.failed[0].positions == pytest.approx(frames[-1].positions)


def test_energy_that_falls_without_end():
    atoms = hydrogen(3.0, lambda r: 60 * r, lambda r: 60.0)  # constant force: 60 eV/Å inwards
    error = stopped(atoms)
    assert "the energy fell by" in error.reason and "10 that bonds give" in error.reason
    fall = (error.last_good[0].get_potential_energy() - 180) / 2
    assert -10 <= fall < 0


def test_atoms_that_collapse():
    # Less than 10 eV/atom deep, but at a distance that no atoms have.
    atoms = hydrogen(0.74, lambda r: 20 * r, lambda r: 20.0)
    assert "collapsed to" in stopped(atoms).reason


def test_a_molecule_that_comes_apart():
    atoms = hydrogen(0.74, lambda r: -r, lambda r: -1.0)
    error = stopped(atoms)
    assert "came apart" in error.reason
    assert 2.0 * 0.62 < error.failed[0].get_distance(0, 1) < 2.0 * 0.62 + 0.5


def test_values_that_are_not_finite():
    atoms = hydrogen(0.74, lambda r: r if r > 0.7 else np.nan, lambda r: 1.0 if r > 0.7 else np.nan)
    error = stopped(atoms)
    assert "not finite" in error.reason
    assert error.last_good[0].get_distance(0, 1) > 0.7


def test_without_watchdog_nothing_stops():
    atoms = hydrogen(0.74, lambda r: -r, lambda r: -1.0)
    with pytest.raises(NotConvergedError, match="after 30 steps"):
        relaxed(atoms, OptimisationSettings("fire", 0.01, 30, watchdog=False))


def test_atoms_that_overlap_may_release_their_energy():
    # Repulsion as strong as that of nuclei, and a minimum at 0.74 Å: 400 eV/atom are released from 0.1 Å.
    atoms = hydrogen(
        0.1,
        lambda r: 80 * (0.74 / r - 1) ** 2 * (r < 0.74) + 20 * (r - 0.74) ** 2 * (r >= 0.74),
        lambda r: -160 * (0.74 / r - 1) * 0.74 / r**2 * (r < 0.74) + 40 * (r - 0.74) * (r >= 0.74),
    )
    assert closest_ratio(atoms) == pytest.approx(0.1 / 0.62)
    relaxed(atoms, OptimisationSettings("fire", 0.05, 2000))
    assert atoms.get_distance(0, 1) == pytest.approx(0.74, abs=0.01)


def test_forces_may_start_above_the_limit_and_shrink():
    check = ForceCheck(100.0, "as given")
    assert check.reason(5000.0) is None
    assert check.reason(90.0) is None
    assert check.reason(899.0) is None
    assert "grew from 90 to 901" in check.reason(901.0)
    check = ForceCheck(100.0, "as given")
    assert check.reason(1.0) is None and check.reason(99.0) is None
    assert check.reason(101.0) is not None


@pytest.mark.parametrize(
    "atoms",
    [bulk("Cu", cubic=True), fcc111("Cu", (2, 2, 3), vacuum=6.0), molecule("CH3CH2OH"), Atoms("Cu")],
    ids=["crystal", "slab", "molecule", "atom"],
)
def test_no_false_alarms(atoms):
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=0)
    atoms.calc = EMT()
    relaxed(atoms, OptimisationSettings("bfgs", 0.05, 200))
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= 0.05


def test_no_steps_are_an_evaluation(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = EMT()
    with pytest.raises(NotConvergedError, match="after 0 steps"):
        relaxed(atoms, OptimisationSettings("bfgs", 0.01, 0), tmp_path / "out.traj")
    assert len(read(tmp_path / "out.traj", ":")) == 1
    relaxed(atoms, OptimisationSettings("bfgs", 0.01, 100))
    assert relaxed(atoms, OptimisationSettings("bfgs", 0.01, 0)) == 0


@pytest.mark.parametrize("fmax", [0.0, -1.0, np.nan, np.inf])
def test_largest_forces_are_positive(fmax):
    with pytest.raises(ValueError, match="fmax must be positive"):
        OptimisationSettings("bfgs", fmax, 1)


def test_cells_of_slabs_relax_in_their_plane():
    slab = fcc111("Cu", (1, 1, 4), vacuum=6.0)
    slab.set_cell(slab.cell.array * [1.03, 1.03, 1.0], scale_atoms=True)
    slab.calc = EMT()
    height = slab.cell.array[2].copy()
    before = slab.get_potential_energy()
    relaxed(with_cell(slab, 0.0), OptimisationSettings("bfgs", 0.001, 200))
    assert slab.cell.array[2] == pytest.approx(height)
    assert slab.cell.array[:2, 2] == pytest.approx(0.0)
    assert np.abs(slab.get_stress()[[0, 1, 5]]).max() * slab.get_volume() / len(slab) < 0.002
    assert slab.get_potential_energy() < before - 0.05
    # The surface pulls the plane together: a little below the distance of atoms in EMT's crystal, 3.59 / sqrt(2).
    assert 2.45 < slab.cell.lengths()[0] < 3.59 / np.sqrt(2)


def test_strains_are_those_of_the_periodic_directions():
    assert periodic_strains(Atoms("H", cell=[3, 4, 20], pbc=[1, 1, 0])).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert periodic_strains(Atoms("H", cell=[20, 4, 20], pbc=[0, 1, 0])).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    swapped = Atoms("H", cell=[[0, 0, 3], [20, 0, 0], [0, 4, 0]], pbc=[1, 0, 1])
    assert periodic_strains(swapped).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    tilted = Atoms("H", cell=[[3, 0, 1], [0, 4, 0], [0, 0, 20]], pbc=[1, 1, 0])
    with pytest.raises(ValueError, match="turn the structure with its cell"):
        periodic_strains(tilted)


def test_cells_that_cannot_relax():
    for atoms in (molecule("H2O"), Atoms("H", cell=[3, 3, 0], pbc=[1, 1, 0]), Atoms("H", cell=[9, 9, 9])):
        with pytest.raises(ValueError, match="three vectors and is periodic"):
            with_cell(atoms, 0.0)
    with pytest.raises(ValueError, match="a pressure needs three periodic directions"):
        with_cell(fcc111("Cu", (1, 1, 2), vacuum=5.0), 1.0)


def test_pressure_compresses_the_cell():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    relaxed(with_cell(atoms, 5.0), OptimisationSettings("bfgs", 0.001, 100))
    assert -atoms.get_stress()[:3] / units.GPa == pytest.approx(5.0, abs=0.05)
