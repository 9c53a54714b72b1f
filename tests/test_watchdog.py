"""MDWatchdog: what stops molecular dynamics, and what does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet

from ase_nbody import MDWatchdog
from ase_nbody.simulation.errors import UnstableDynamicsError
from ase_nbody.simulation.fragments import Fragments
from ase_nbody.simulation.velocities import draw_velocities
from ase_nbody.simulation.watchdog import WatchdogLimits, target_temperature


class Given(Calculator):
    """Energy and forces by a function of the structure."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, energy_and_forces):
        super().__init__()
        self.energy_and_forces = energy_and_forces

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        energy, forces = self.energy_and_forces(atoms)
        self.results = {"energy": energy, "forces": forces}


def langevin(atoms, temperature=300.0, timestep=1.0, friction=0.01, seed=0):
    return Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=friction / units.fs,
        fixcm=False,
        rng=np.random.default_rng(seed),
    )


def watched(dynamics, steps, **arguments):
    watchdog = MDWatchdog(dynamics, **arguments)
    dynamics.attach(watchdog)
    dynamics.run(steps)
    return watchdog


def stopped(dynamics, steps, **arguments):
    with pytest.raises(UnstableDynamicsError) as error:
        watched(dynamics, steps, **arguments)
    return error.value


def copper(temperature=300.0, at_rest=False):
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
    atoms.calc = EMT()
    draw_velocities(atoms, temperature, np.random.default_rng(0), at_rest=at_rest)
    return atoms


def wells(atoms, heating=0.0):
    """Each atom in a harmonic well around where it is, 17 eV/angstrom^2, with a force along its momentum."""
    start = atoms.positions.copy()

    def energy_and_forces(structure):
        moved = structure.positions - start
        return 8.5 * float((moved**2).sum()), -17 * moved + heating * structure.get_momenta()

    return Given(energy_and_forces)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["energy", "forces"])
def test_values_that_are_not_finite(name, wrong):
    atoms = copper()
    good = EMT()

    def broken(structure):
        energy, forces = good.get_potential_energy(structure), good.get_forces(structure)
        if np.abs(structure.positions - start).max() > 0:
            energy = wrong if name == "energy" else energy
            forces = np.where(np.arange(len(forces))[:, None] == 3, wrong, forces) if name == "forces" else forces
        return energy, forces

    start = atoms.positions.copy()
    atoms.calc = Given(broken)
    error = stopped(langevin(atoms), 5)
    assert error.step == 1
    assert name in error.reason and "not finite" in error.reason
    assert error.last_good[0].positions == pytest.approx(start)
    assert not np.isfinite(error.failed[0].calc.results[name]).all()


@pytest.mark.parametrize("name", ["positions", "momenta"])
def test_motions_that_are_not_finite(name):
    atoms = copper()
    atoms.calc = Given(lambda structure: (0.0, np.zeros((len(structure), 3))))
    dynamics = langevin(atoms)
    watchdog = MDWatchdog(dynamics)
    atoms.get_forces()
    watchdog()
    atoms.arrays[name][2, 1] = np.nan
    with pytest.raises(UnstableDynamicsError, match=f"not finite: .*{name}"):
        watchdog()


def constant_force(size):
    def energy_and_forces(atoms):
        forces = np.zeros((len(atoms), 3))
        forces[-1, 0] = size
        return -size * float(atoms.positions[-1, 0]), forces

    return Given(energy_and_forces)


def test_forces_beyond_the_limit_name_atom_value_and_limit():
    atoms = Atoms("CuH", [[0, 0, 0], [1.5, 0, 0]])
    atoms.calc = constant_force(120.0)
    error = stopped(langevin(atoms, timestep=0.01), 1)
    assert "the force on atom 1 (H) is 120 eV/Å, the limit 100 eV/Å" in str(error)
    assert error.step == 0 and error.last_good == []
    atoms.calc = constant_force(49.0)
    atoms.calc.information = SimpleNamespace(envelope=SimpleNamespace(force_max=10.0))
    watched(langevin(atoms, timestep=0.01), 1)
    atoms.calc = constant_force(51.0)
    atoms.calc.information = SimpleNamespace(envelope=SimpleNamespace(force_max=10.0))
    assert "50 eV/Å (5 times the largest of the training)" in stopped(langevin(atoms, timestep=0.01), 1).reason
    assert "limit 20 eV/Å" in stopped(langevin(atoms, timestep=0.01), 1, limits=WatchdogLimits(force=20.0)).reason


def test_forces_on_fixed_atoms_do_not_count():
    atoms = Atoms("CuH", [[0, 0, 0], [1.5, 0, 0]], constraint=FixAtoms([1]))
    atoms.calc = constant_force(1000.0)
    watched(langevin(atoms), 5)


@pytest.mark.parametrize("ensemble", ["nvt", "nve"])
def test_long_time_steps_stop_at_the_first_step(ensemble):
    atoms = molecule("CH4")
    atoms.calc = EMT()
    draw_velocities(atoms, 300.0, np.random.default_rng(0), at_rest=ensemble == "nve")
    momenta = atoms.get_momenta()
    timestep = 50 * units.fs
    dynamics = VelocityVerlet(atoms, timestep) if ensemble == "nve" else langevin(atoms, timestep=50)
    error = stopped(dynamics, 1000)
    assert error.step == 1
    assert "in one step of 50 fs, the limit is 0.5 Å" in error.reason
    assert error.last_good[0].get_momenta() == pytest.approx(momenta)
    assert error.last_good[0].get_potential_energy() == pytest.approx(EMT().get_potential_energy(molecule("CH4")))


def test_displacement_is_speed_times_time_step():
    def after(speed):
        atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 5]], cell=[10] * 3, pbc=True)
        atoms.calc = Given(lambda structure: (0.0, np.zeros((2, 3))))
        atoms.set_velocities([[0, 0, 0], [speed / units.fs, 0, 0]])
        return VelocityVerlet(atoms, 2 * units.fs)

    watched(after(0.249), 3)
    assert "atom 1 (Cu) moves 0.502 Å" in stopped(after(0.251), 3).reason


def test_a_molecule_that_comes_apart_slowly():
    atoms = molecule("CH4")
    start = atoms.positions.copy()

    def pulled(structure):  # four atoms in harmonic wells, the last one drifts
        forces = -0.5 * (structure.positions - start)
        forces[4] = 0
        return 0.25 * float(((structure.positions - start)[:4] ** 2).sum()), forces

    atoms.calc = Given(pulled)
    atoms.set_velocities(np.zeros((5, 3)))
    velocities = np.zeros((5, 3))
    velocities[4] = 0.02 / units.fs * (start[4] - start[0]) / np.linalg.norm(start[4] - start[0])
    atoms.set_velocities(velocities)
    error = stopped(VelocityVerlet(atoms, units.fs), 200)
    distance = error.failed[0].get_distance(0, 4)
    assert "came apart: atoms 4 (H) are" in error.reason
    assert 2.5 * 1.07 < distance < 2.5 * 1.07 + 0.25  # radii 0.76 and 0.31 Å, looked at every 10 steps
    assert error.last_good[0].get_distance(0, 4) < 2.5 * 1.07


def test_atoms_may_change_partners():
    water = molecule("H2O")
    pair = water + water
    pair.positions[3:] += [0, 2.8, 0]
    fragments = Fragments(pair, 2.5)
    moved = pair.positions.copy()
    moved[1] = moved[3] + [0.0, 0.0, 0.97]  # a proton goes over to the other oxygen
    assert fragments.reason(moved) is None
    moved[1] = moved[0] + [0.0, -20.0, 0.0]
    assert "atoms 1 (H)" in fragments.reason(moved)


def test_separate_molecules_and_periodic_atoms_may_part():
    water = molecule("H2O")
    pair = water + water
    pair.positions[3:] += [0, 3.0, 0]
    fragments = Fragments(pair, 2.5)
    moved = pair.positions.copy()
    moved[3:] += [0, 50, 0]
    assert fragments.reason(moved) is None
    moved[4:] += [0, 50, 0]
    assert fragments.reason(moved) is not None
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    assert Fragments(slab, 2.5).reason(slab.positions * [1, 1, 9]) is None
    argon = Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]])
    assert Fragments(argon, 2.5).reason(argon.positions * 10) is None
    assert Fragments(Atoms("H"), 2.5).reason(np.zeros((1, 3))) is None


def test_heating_stops_far_from_the_target():
    atoms = copper()
    atoms.calc = wells(atoms, heating=0.02)
    error = stopped(langevin(atoms, timestep=2.0, friction=1e-4), 5000)
    assert "the temperature is" in error.reason and "at 300 K" in error.reason
    hot = 2 * error.failed[0].get_kinetic_energy() / (48 * units.kB)
    assert 500 < hot < 1700
    good = 2 * error.last_good[0].get_kinetic_energy() / (48 * units.kB)
    assert good < 0.6 * hot


def test_a_mean_temperature_far_from_the_target():
    atoms = bulk("Cu", cubic=True).repeat((4, 4, 4))
    atoms.calc = Given(lambda structure: (0.0, np.zeros((256, 3))))
    atoms.get_forces()
    for temperature, right in ((450.0, True), (540.0, False)):  # limits: mean 1.25 * 1.33 * 300 K, single 1.5 * 1.38
        draw_velocities(atoms, 300.0, np.random.default_rng(0), at_rest=True)
        watchdog = MDWatchdog(langevin(atoms))
        watchdog()
        draw_velocities(atoms, temperature, np.random.default_rng(0), at_rest=True)
        for _ in range(998):
            watchdog()
        if right:
            watchdog()
        else:
            with pytest.raises(UnstableDynamicsError, match="the mean temperature is 5"):
                watchdog()


def test_energy_that_is_not_conserved():
    atoms = copper(at_rest=True)
    start = atoms.get_kinetic_energy()
    atoms.calc = wells(atoms, heating=0.02)
    error = stopped(VelocityVerlet(atoms, 2 * units.fs), 2000)
    assert "the total energy, which NVE keeps, changed by +" in error.reason
    change = error.failed[0].get_total_energy() - start
    assert 0.010 * 16 < change < 0.5


def test_energy_that_drifts_slowly():
    # Heating of 0.7 meV/atom in each block of 500 steps: below the limit of one value, above that of means after some.
    atoms = Atoms("Cu8", np.zeros((8, 3)), cell=[10] * 3, pbc=True)
    steps = iter(range(10**6))
    atoms.calc = Given(lambda structure: (8 * 7e-4 * next(steps) / 500, np.zeros((8, 3))))
    atoms.positions[0] = [1e-4, 0, 0]
    atoms.set_velocities(np.full((8, 3), 1e-5))
    error = stopped(VelocityVerlet(atoms, units.fs), 5000)
    assert "drifted by +" in error.reason
    assert error.step < 0.01 / 7e-4 * 500  # before a single value reaches 10 meV/atom


def test_cells_that_jump():
    atoms = copper()
    watchdog = MDWatchdog(langevin(atoms))
    atoms.get_forces()
    watchdog()
    atoms.set_cell(atoms.cell * 1.04, scale_atoms=True)
    atoms.get_forces()
    watchdog()
    atoms.set_cell(atoms.cell * 1.06, scale_atoms=True)
    atoms.get_forces()
    with pytest.raises(UnstableDynamicsError, match="the cell changed by 6 %"):
        watchdog()


def rattled(atoms, distance):
    atoms.rattle(distance, seed=3)
    return atoms


@pytest.mark.parametrize("friction", [0.01, 0.0005])
@pytest.mark.parametrize("temperature", [0.0, 300.0, 900.0])
@pytest.mark.parametrize(
    "atoms",
    [
        copper(),
        rattled(copper(), 0.2),
        molecule("N2"),
        Atoms("Cu"),
        rattled(molecule("CH3CH2OH"), 0.05),
        rattled(fcc111("Cu", (2, 2, 3), vacuum=6.0), 0.1),
    ],
    ids=["crystal", "strained", "dimer", "atom", "molecule", "slab"],
)
def test_no_false_alarms_with_a_thermostat(atoms, temperature, friction):
    atoms = atoms.copy()
    if atoms.pbc.any() and not atoms.pbc.all():
        atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 3))
    atoms.calc = EMT()
    draw_velocities(atoms, temperature, np.random.default_rng(1), at_rest=False)
    watched(langevin(atoms, temperature, timestep=1.0 if 1 in atoms.numbers else 3.0, friction=friction), 100)


@pytest.mark.parametrize("temperature", [0.0, 600.0])
@pytest.mark.parametrize("distance", [0.0, 0.2])
def test_no_false_alarms_where_energy_is_conserved(temperature, distance):
    atoms = copper(temperature, at_rest=True)
    spring = wells(atoms)
    rattled(atoms, distance)
    atoms.calc = spring
    # The period is 124 fs, so that omega dt = 0.6: long, but stable.
    watched(VelocityVerlet(atoms, 12 * units.fs), 1200)


def test_no_false_alarm_with_a_ramp_from_rest():
    atoms = copper(temperature=0.0)
    dynamics = langevin(atoms, 0.0, timestep=3.0)
    dynamics.attach(lambda: dynamics.set_temperature(temperature_K=2.0 * dynamics.nsteps))
    watched(dynamics, 400)
    assert 2 * atoms.get_kinetic_energy() / (48 * units.kB) > 300


def test_targets_of_thermostats():
    atoms = copper()
    assert target_temperature(langevin(atoms, 250.0)) == pytest.approx(250.0)
    baoab = LangevinBAOAB(atoms, units.fs, temperature_K=260.0, T_tau=50.0, rng=np.random.default_rng(0))
    assert target_temperature(baoab) == pytest.approx(260.0)
    assert target_temperature(NVTBerendsen(atoms, units.fs, temperature_K=270.0, taut=50.0)) == pytest.approx(270.0)
    assert target_temperature(VelocityVerlet(atoms, units.fs)) is None
    assert target_temperature(VelocityVerlet(atoms, units.fs), lambda: 5.0) == 5.0


def test_the_structure_is_not_changed():
    plain, looked_at = copper(), copper()
    langevin(plain).run(20)
    watched(langevin(looked_at), 20)
    assert (plain.positions == looked_at.positions).all()
    assert (plain.get_momenta() == looked_at.get_momenta()).all()
