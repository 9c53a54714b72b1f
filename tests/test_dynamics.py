"""Molecular dynamics: integrators, velocities, and what the log says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.md.langevinbaoab import LangevinBAOAB

from ase_nbody.simulation.dynamics import DynamicsSettings, barostat_mass, integrator, repeated
from ase_nbody.simulation.recorder import Frame, energy_drift
from ase_nbody.simulation.velocities import degrees_of_freedom, draw_velocities

SETTINGS = DynamicsSettings(
    ensemble="npt",
    temperature=300.0,
    timestep=2.0,
    friction=0.01,
    pressure=0.0,
    barostat_time=200.0,
    flexible_cell=False,
)


class FreeParticles(Calculator):
    """No forces: what moves is the integrator's doing."""

    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def free_particles(velocity):
    """Two atoms far apart in a periodic box, with one velocity, angstrom/fs."""
    atoms = Atoms("HO", [[0, 0, 0], [10, 0, 0]], cell=[20, 20, 20], pbc=True)
    atoms.set_velocities(np.tile(np.array(velocity) / units.fs, (2, 1)))
    atoms.calc = FreeParticles()
    return atoms


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_free_flight_takes_the_time_step_in_femtoseconds(ensemble):
    atoms = free_particles([0.01, 0.0, -0.02])
    before = atoms.positions.copy()
    # No temperature, hardly any friction, and a cell that does not move: free flight in every ensemble.
    settings = replace(SETTINGS, ensemble=ensemble, temperature=0.0, timestep=0.5, friction=1e-9, barostat_time=1e9)
    integrator(atoms, settings, np.random.default_rng(0)).run(40)
    assert atoms.positions - before == pytest.approx(np.tile([0.2, 0.0, -0.4], (2, 1)), rel=1e-6)  # 20 fs


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_velocities_decay_with_the_friction(ensemble):
    atoms = free_particles([0.01, 0.0, 0.0])
    settings = replace(SETTINGS, ensemble=ensemble, temperature=0.0, timestep=1.0, friction=0.02, barostat_time=1e9)
    integrator(atoms, settings, np.random.default_rng(0)).run(50)
    speeds = atoms.get_velocities()[:, 0] * units.fs
    # exp(-1); the second order in friction times time step that Langevin's scheme leaves out is 1e-5
    assert speeds == pytest.approx(0.01 * np.exp(-1.0), rel=1e-4)


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_temperatures_relax_to_the_target_with_twice_the_friction(ensemble):
    atoms = Atoms("Ar400", np.zeros((400, 3)), cell=[20, 20, 20], pbc=True)
    atoms.calc = FreeParticles()
    settings = replace(SETTINGS, ensemble=ensemble, timestep=2.0, friction=0.005, barostat_time=1e9)
    draw_velocities(atoms, 900.0, np.random.default_rng(0), at_rest=False)
    integrator(atoms, settings, np.random.default_rng(1)).run(50)  # 100 fs, one e-folding of 1 / (2 * 0.005) fs
    # 1200 momenta fluctuate by 4 % of the 521 K.
    assert atoms.get_temperature() == pytest.approx(300 + 600 * np.exp(-1.0), rel=0.1)


def test_supercells_need_a_cell_vector():
    assert len(repeated(bulk("Si"), (1, 2, 3))) == 12
    assert len(repeated(molecule("H2O"), (1, 1, 1))) == 3
    slab = Atoms("H", cell=[3, 3, 0], pbc=[True, True, False])
    assert len(repeated(slab, (2, 2, 1))) == 4
    with pytest.raises(ValueError, match="no cell vector c to repeat it along"):
        repeated(slab, (1, 1, 2))
    with pytest.raises(ValueError, match="no cell vector a and b"):
        repeated(molecule("H2O"), (2, 3, 1))
    with pytest.raises(ValueError, match="at least one cell"):
        repeated(bulk("Si"), (1, 0, 1))


@pytest.mark.parametrize(
    "atoms, expected",
    [
        (molecule("CH3CH2OH"), 27 - 6),
        (molecule("CO2"), 9 - 5),
        (bulk("Si", cubic=True), 24 - 3),
        (Atoms("H", [[0, 0, 0]]), 0),
    ],
)
def test_degrees_of_freedom(atoms, expected):
    draw_velocities(atoms, 300.0, np.random.default_rng(0), at_rest=True)
    assert degrees_of_freedom(atoms, "nve") == expected
    assert degrees_of_freedom(atoms, "nvt") == 3 * len(atoms)


def test_momenta_that_are_conserved_but_not_zero_count():
    atoms = bulk("Si", cubic=True)
    draw_velocities(atoms, 300.0, np.random.default_rng(0), at_rest=False)
    assert degrees_of_freedom(atoms, "nve") == 24


def test_velocities_follow_maxwell_boltzmann():
    atoms = Atoms("HSi" * 2000, np.zeros((4000, 3)))
    draw_velocities(atoms, 300.0, np.random.default_rng(0), at_rest=False)
    variances = (atoms.get_momenta() ** 2 / atoms.get_masses()[:, None]).reshape(2000, 2, 3).mean(axis=(0, 2))
    assert variances == pytest.approx(units.kB * 300.0, rel=0.05)


def test_barostat_mass_is_ases():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    with pytest.warns(UserWarning, match="heuristic"):
        theirs = LangevinBAOAB(
            atoms, units.fs, temperature_K=300, externalstress=0.0, hydrostatic=True, T_tau=50.0, P_tau=80.0, rng=0
        )
    assert barostat_mass(80.0, len(atoms)) == pytest.approx(theirs.barostat_mass)


def test_pressure_compresses():
    volumes = []
    for pressure in (-10.0, 10.0):
        atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
        atoms.calc = EMT()
        draw_velocities(atoms, 100.0, np.random.default_rng(0), at_rest=False)
        dynamics = integrator(atoms, replace(SETTINGS, pressure=pressure, temperature=100.0), np.random.default_rng(1))
        dynamics.run(100)
        volumes.append(atoms.get_volume())
    assert volumes[1] < 0.97 * volumes[0]


def test_energy_drift_is_the_slope():
    frames = [Frame(i, 1000.0 * i, -1.0, 1.0 + 0.002 * i, 300.0, None, None) for i in range(5)]
    drift, spread = energy_drift(frames, 2)
    assert drift == pytest.approx(1.0)  # 2 meV per ps and 2 atoms
    assert spread == pytest.approx(0.0, abs=1e-9)
