"""Forces that do not fit the energies beside them are noted, with a guess of the sign and the units."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Hartree, kcal, mol

from ase_nbody.data import Labels, read_dataset
from ase_nbody.data.force_units import implausible_forces

ETHANOL, COPPER = molecule("CH3CH2OH"), bulk("Cu", cubic=True).repeat((2, 1, 1))


def rattled(atoms: Atoms, n: int = 8, size: float = 0.04, turned: bool = True) -> tuple[list[Atoms], list[Labels]]:
    """Rattled structures with EMT's labels; molecules turned and shifted at random, crystals wrapped."""
    structures, labels = [], []
    rng = np.random.default_rng(3)
    for seed in range(n):
        frame = atoms.copy()
        frame.rattle(size, seed=seed)
        if frame.pbc.any():
            frame.wrap()
        elif turned:
            frame.rotate(rng.uniform(0, 360), rng.normal(size=3))
            frame.positions += rng.normal(size=3)
        calculated = frame.copy()
        calculated.calc = EMT()
        structures.append(frame)
        labels.append(Labels(energy=calculated.get_potential_energy(), forces=calculated.get_forces()))
    return structures, labels


def scaled(labels: list[Labels], energies: float, forces: float) -> list[Labels]:
    return [Labels(x.energy * energies, x.forces * forces) for x in labels if x.energy is not None]


@pytest.mark.parametrize("atoms", [ETHANOL, COPPER], ids=["molecule", "crystal"])
@pytest.mark.parametrize(
    ("energies", "forces", "words"),
    [
        (1.0, 1.0, None),
        (1.3, 1.0, None),
        (1.0, -1.0, "opposite of ASE's"),
        (0.01, -1.0, "opposite of ASE's"),
        (1.0 / Hartree, 1.0, "energies in hartree:"),
        (mol / kcal, 1.0, "energies in kcal/mol:"),
        (1.0, Bohr / Hartree, "forces in hartree/bohr:"),
        (1.0 / Hartree, Bohr / Hartree, "energies in hartree and forces in hartree/bohr:"),
        (1.0, 5.0, "must equal it: convert them"),
    ],
)
def test_sign_and_units_are_told(atoms: Atoms, energies: float, forces: float, words: str | None) -> None:
    structures, labels = rattled(atoms)
    told = implausible_forces(structures, scaled(labels, energies, forces))
    assert told is None if words is None else words in str(told)


def test_levels_of_theory_that_are_mixed_are_told() -> None:
    structures, labels = rattled(ETHANOL, 12)
    mixed = [replace(x, energy=x.energy - 40.0 * (n % 3 == 0)) for n, x in enumerate(labels) if x.energy is not None]
    told = str(implausible_forces(structures, mixed))
    assert "differ by more than forces can explain" in told and "different methods" in told


def test_copies_with_other_energies_are_told_and_equal_ones_are_not() -> None:
    structures, labels = rattled(ETHANOL, 1)
    copies, same = structures * 6, labels * 6
    assert implausible_forces(copies, same) is None
    for frames, told in (((4,), None), ((0,), None), ((4, 5), "frames 0 and 4 by +1 eV, where forces give 0 eV")):
        other = [replace(x, energy=x.energy + (n in frames)) for n, x in enumerate(same) if x.energy is not None]
        words = implausible_forces(copies, other)
        assert words is None if told is None else told in str(words)


@pytest.mark.parametrize("size", [0.2, 0.4])
def test_nothing_is_said_of_frames_that_are_far_from_each_other(size: float) -> None:
    structures, labels = rattled(ETHANOL, size=size)
    assert implausible_forces(structures, scaled(labels, 1.0, 1.0)) is None


def test_nothing_is_said_of_steps_that_are_too_long_for_the_trapezoidal_rule() -> None:
    structures = [Atoms("Ar2", [[0, 0, 0], [0, 0, 1.0 + 1.2 * (n % 2)]]) for n in range(8)]
    labels = []
    for atoms in structures:
        atoms.calc = LennardJones(rc=10.0)
        labels.append(Labels(energy=atoms.get_potential_energy(), forces=atoms.get_forces()))
    assert implausible_forces(structures, labels) is None


def test_mirror_images_are_similar() -> None:
    structures, labels = rattled(ETHANOL, turned=False)
    for atoms, label in zip(structures[::2], labels[::2], strict=True):
        atoms.positions[:, 0] *= -1
        assert label.forces is not None
        label.forces[:, 0] *= -1
    assert implausible_forces(structures, labels) is None
    assert "opposite of ASE's" in str(implausible_forces(structures, scaled(labels, 1.0, -1.0)))


def test_few_frames_other_cells_single_atoms_and_lacking_labels_say_nothing() -> None:
    structures, labels = rattled(ETHANOL, 3)
    assert implausible_forces(structures, scaled(labels, 1.0, -1.0)) is None
    structures, labels = rattled(COPPER)
    strained = [Atoms(x.symbols, x.positions, cell=x.cell * (1 + 0.01 * n), pbc=True) for n, x in enumerate(structures)]
    assert implausible_forces(strained, scaled(labels, 1.0, -1.0)) is None
    assert (
        implausible_forces([Atoms("Cu")] * 8, [Labels(energy=float(n), forces=np.zeros((1, 3))) for n in range(8)])
        is None
    )
    assert implausible_forces(structures, [Labels(energy=x.energy) for x in labels]) is None
    assert implausible_forces(structures, [Labels(forces=x.forces) for x in labels]) is None


def test_it_is_noted_when_a_file_is_read(tmp_path: Path) -> None:
    structures, labels = rattled(ETHANOL)
    for sign, notes in ((1, 0), (-1, 1)):
        for atoms, label in zip(structures, labels, strict=True):
            atoms.calc = SinglePointCalculator(atoms, energy=label.energy, forces=sign * label.forces)
        ase.io.write(tmp_path / "x.traj", structures)
        dataset = read_dataset(tmp_path / "x.traj")
        assert len(dataset.notes) == notes and all("multiply them by -1" in note for note in dataset.notes)
