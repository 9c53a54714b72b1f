"""Extended XYZ, families and stresses that earlier versions took for something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from ase_nbody.data import read_dataset


def labelled(atoms: Atoms, *, factor: float = 1.0) -> Atoms:
    """With energy, forces and stress of EMT, the stress times a factor."""
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **results, stress=factor * emt_stress(atoms))
    return atoms


def emt_stress(atoms: Atoms) -> np.ndarray:
    """EMT's virial over the volume, for slabs too."""
    periodic = atoms.copy()
    periodic.calc = EMT()
    periodic.pbc = True
    return np.asarray(periodic.get_stress())


def strained(start: Atoms, n: int, size: float) -> list[Atoms]:
    generator, frames = np.random.default_rng(0), []
    for _ in range(n):
        atoms = Atoms(start.symbols, positions=start.positions, cell=start.cell, pbc=start.pbc)
        deformation = np.eye(3)
        periodic = np.flatnonzero(atoms.pbc)
        deformation[np.ix_(periodic, periodic)] += generator.normal(0, size, (len(periodic), len(periodic)))
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        atoms.positions += generator.normal(0, 0.03, atoms.positions.shape)
        frames.append(atoms)
    return frames


@pytest.mark.parametrize(
    "text",
    [
        "2\nProperties=species:S:1:pos:R:3 energy=-1.0\nH 0.0 0.0 -0.37\nH 0.0 0.0 0.37",
        "3\nProperties=species:S:1:pos:R:3 energy=-1.0\nO 0 0 0.12\nH 0 1.5 0.25\nH 0 0 1",
    ],
)
def test_a_last_line_without_its_end_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.xyz"
    path.write_text(text)
    assert read_dataset(path).labels[0].energy == -1.0


def test_properties_within_quotes_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    columns = "species:S:1:pos:R:3:forces:R:3"
    comment = f'energy=-1 note="old Properties=species:S:1:pos:R:3" Properties={columns}'
    path.write_text(f"2\n{comment}\nH 0 0 0 1 1 1\nH 0 0 0.74 1 1 1\n")
    dataset = read_dataset(path)
    assert dataset.notes == ()
    assert (dataset.labels[0].forces == 1).all()


def test_a_named_energy_beside_forces_of_another_is_noted(tmp_path: Path) -> None:
    frames = [labelled(atoms) for atoms in strained(bulk("Cu", cubic=True), 4, 0.01)]
    for atoms in frames:
        atoms.info["REF_energy"] = atoms.get_potential_energy() + 5.0
    write(tmp_path / "a.xyz", frames)
    dataset = read_dataset(tmp_path / "a.xyz", energy_key="REF_energy")
    assert dataset.labels[0].energy == pytest.approx(frames[0].get_potential_energy() + 5.0)
    assert any("stand beside other energies than REF_energy" in note for note in dataset.notes)


def test_a_complete_family_of_a_users_prefix_goes_before_half_of_a_usual_one(tmp_path: Path) -> None:
    frames = strained(bulk("Cu", cubic=True), 4, 0.01)
    for atoms in frames:
        energy, forces = labelled(atoms).get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        atoms.info["mp2_energy"] = energy + 5.0
        atoms.arrays["mp2_forces"] = forces
    write(tmp_path / "a.xyz", frames)
    dataset = read_dataset(tmp_path / "a.xyz")
    assert "mp2_energy" in dataset.label_source and "mp2_forces" in dataset.label_source
    assert dataset.labels[1].energy == pytest.approx(frames[1].info["mp2_energy"])


@pytest.mark.parametrize("start", [bulk("Cu", cubic=True), fcc111("Cu", (1, 1, 3), vacuum=6.0)], ids=["bulk", "slab"])
@pytest.mark.parametrize("factor", [-1.0, -1602.18, 1.0])
def test_the_wrong_sign_of_a_stress_is_reported_in_any_unit(tmp_path: Path, start: Atoms, factor: float) -> None:
    frames = [labelled(atoms, factor=factor) for atoms in strained(start, 16, 0.02)]
    write(tmp_path / "a.xyz", frames)
    notes = " ".join(read_dataset(tmp_path / "a.xyz").notes)
    assert ("opposite" in notes) == (factor < 0), notes
    assert ("kbar" in notes) == (factor < -1000), notes
