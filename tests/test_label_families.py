"""Labels of one file are of one origin, and what is not used is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from ase_nbody.data import Dataset, merge, read_dataset
from ase_nbody.data.label_names import label_name

FORCES = np.arange(9.0).reshape(3, 3) / 10.0
Change = Callable[[int, Atoms], None]


def write(
    path: Path,
    calculator: dict[str, Any] | None = None,
    info: dict[str, Any] | None = None,
    arrays: dict[str, Any] | None = None,
    change: Change = lambda number, atoms: None,
) -> Path:
    """Four frames of water with labels."""
    frames = []
    for number in range(4):
        atoms = molecule("H2O")
        if calculator is not None:
            atoms.calc = SinglePointCalculator(atoms, **calculator)
        atoms.info.update(info or {})
        atoms.arrays.update(arrays or {})
        change(number, atoms)
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def first(dataset: Dataset) -> tuple[float | None, float | None]:
    """Energy, and the y component of the force on atom 1, of the first frame."""
    label = dataset.labels[0]
    return label.energy, None if label.forces is None else pytest.approx(float(label.forces[1, 1]))


class TestOneFamily:
    def test_explicit_names_go_before_the_calculator_and_both_values_are_shown(self, tmp_path: Path) -> None:
        calculator = {"energy": -1.0, "forces": FORCES}
        info, arrays = {"REF_energy": -2.0}, {"REF_forces": FORCES + np.eye(3)}
        dataset = read_dataset(write(tmp_path / "x.xyz", calculator, info, arrays))
        assert first(dataset) == (-2.0, 1.4)
        assert dataset.label_source == (
            "energy from REF_energy in info (4 of 4 frames), forces from REF_forces in arrays (4 of 4 frames), "
            "no stress; not used: the calculator's energy, the calculator's forces"
        )
        energy, forces = dataset.notes
        assert "REF_energy in info and the calculator's energy differ in 4 of 4 frames, most in frame 0" in energy
        assert "-2.000000 and -1.000000 eV; REF_energy in info is used" in energy and "--energy-key" in energy
        assert "most in frame 0: atom 0, x: 1 and 0 eV/angstrom" in forces and "--forces-key" in forces

    def test_the_largest_disagreement_is_shown(self, tmp_path: Path) -> None:
        def change(number: int, atoms: Atoms) -> None:
            atoms.info["REF_energy"] = -1.0 - (0, 0.5, 2.5, 0.25)[number]

        path = write(tmp_path / "x.xyz", {"energy": -1.0}, change=change)
        (note,) = read_dataset(path).notes
        assert "differ in 3 of 4 frames, most in frame 2: -3.500000 and -1.000000 eV" in note

    def test_rounding_is_no_disagreement(self, tmp_path: Path) -> None:
        calculator = {"energy": -1.0, "forces": FORCES}
        path = write(tmp_path / "x.xyz", calculator, {"REF_energy": -1.0004}, {"REF_forces": FORCES + 4e-4})
        assert read_dataset(path).notes == () and read_dataset(path).labels[0].energy == -1.0004

    def test_ref_goes_before_dft(self, tmp_path: Path) -> None:
        info, arrays = {"dft_energy": -3.0, "REF_energy": -2.0}, {"dft_forces": FORCES, "REF_forces": FORCES + 1}
        dataset = read_dataset(write(tmp_path / "x.xyz", None, info, arrays))
        assert first(dataset) == (-2.0, 1.4) and "dft_energy in info, dft_forces in arrays" in dataset.label_source

    @pytest.mark.parametrize(
        ("calculator", "info", "arrays"),
        [
            ({"energy": -1.0}, {}, {"REF_forces": FORCES}),
            ({"forces": FORCES}, {"REF_energy": -1.0}, {}),
            ({}, {"DFT_energy": -1.0}, {"ref_force": FORCES}),
            ({}, {"total_energy": -1.0}, {"forces_dft": FORCES}),
        ],
    )
    def test_energies_of_one_and_forces_of_another_are_asked_for(
        self, tmp_path: Path, calculator: dict[str, Any], info: dict[str, Any], arrays: dict[str, Any]
    ) -> None:
        path = write(tmp_path / "x.xyz", calculator or None, info, arrays)
        with pytest.raises(ValueError, match="labels of different names may be of different methods") as error:
            read_dataset(path)
        energy, forces = next(iter(info), "energy"), next(iter(arrays), "forces")
        assert f"energy_key='{energy}' and forces_key='{forces}'" in str(error.value)
        assert first(read_dataset(path, energy_key=energy, forces_key=forces)) == (-1.0, 0.4)
        assert first(read_dataset(path, energy_key=energy)) == (-1.0, 0.4)

    def test_a_family_with_both_goes_before_an_explicit_one_with_one(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.xyz", {"energy": -1.0, "forces": FORCES}, {"REF_energy": -2.0})
        dataset = read_dataset(path)
        assert first(dataset) == (-1.0, 0.4) and dataset.label_source.endswith("not used: REF_energy in info")
        assert "-1.000000 and -2.000000 eV" in dataset.notes[0]

    @pytest.mark.parametrize(("labelled", "energy"), [((0,), -1.0), ((0, 3), -2.0), ((0, 1, 2), -2.0)])
    def test_a_family_labels_half_of_the_frames_at_least(
        self, tmp_path: Path, labelled: tuple[int, ...], energy: float
    ) -> None:
        def change(number: int, atoms: Atoms) -> None:
            if number in labelled:
                atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -2.0, FORCES

        dataset = read_dataset(write(tmp_path / "x.xyz", {"energy": -1.0, "forces": FORCES}, change=change))
        assert first(dataset)[0] == energy
        n_labels = sum(label.energy is not None for label in dataset.labels)
        assert n_labels == (4 if energy == -1.0 else len(labelled))
        alone = [note for note in dataset.notes if "the calculator's energy and no REF_energy" in note]
        assert bool(alone) == (energy == -2.0)

    def test_plain_names_and_the_calculator_are_one_family(self, tmp_path: Path) -> None:
        dataset = read_dataset(write(tmp_path / "x.xyz", {"forces": FORCES}, {"total_energy": -3.0}))
        assert first(dataset) == (-3.0, 0.4) and dataset.notes == ()
        both = read_dataset(write(tmp_path / "y.xyz", {"energy": -1.0, "forces": FORCES}, {"TotEnergy": -3.0}))
        assert first(both) == (-1.0, 0.4) and "-1.000000 and -3.000000 eV" in both.notes[0]

    def test_the_stress_is_of_the_same_family(self, tmp_path: Path) -> None:
        atoms = bulk("Cu", cubic=True)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((4, 3)), stress=np.full(6, 0.1))
        atoms.info.update(REF_energy=-2.0, REF_virial=-0.2 * np.eye(3) * atoms.get_volume())
        atoms.arrays["REF_forces"] = np.zeros((4, 3))
        ase.io.write(tmp_path / "x.xyz", atoms)
        np.testing.assert_allclose(read_dataset(tmp_path / "x.xyz").labels[0].stress, 0.2 * np.eye(3), atol=1e-12)
        atoms.info.pop("REF_virial")
        ase.io.write(tmp_path / "x.xyz", atoms)
        without = read_dataset(tmp_path / "x.xyz")
        assert (
            without.labels[0].stress is None and "the calculator's stress" in without.label_source.split("not used")[1]
        )
        mixed = read_dataset(tmp_path / "x.xyz", stress_key="stress")
        np.testing.assert_allclose(mixed.labels[0].stress, np.full((3, 3), 0.1))
        assert mixed.labels[0].energy == -2.0


class TestOwnPrefix:
    def test_it_is_found_when_nothing_else_fits(self, tmp_path: Path) -> None:
        dataset = read_dataset(write(tmp_path / "x.xyz", None, {"mp2_energy": -2.0}, {"mp2_forces": FORCES}))
        assert first(dataset) == (-2.0, 0.4)
        assert "energy from mp2_energy in info" in dataset.label_source
        assert "forces from mp2_forces" in dataset.label_source

    def test_it_is_named_when_something_else_fits(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "x.xyz", {"energy": -1.0, "forces": FORCES}, {"energy_mp2": -2.0}, {"forces_mp2": FORCES}
        )
        dataset = read_dataset(path)
        assert first(dataset) == (-1.0, 0.4)
        assert dataset.label_source.endswith("not used: energy_mp2 in info, forces_mp2 in arrays")
        assert "-1.000000 and -2.000000 eV" in dataset.notes[0]
        assert first(read_dataset(path, energy_key="energy_mp2"))[0] == -2.0

    def test_two_of_them_are_asked_for(self, tmp_path: Path) -> None:
        info, arrays = {"mp2_energy": -2.0, "hf_energy": -1.0}, {"mp2_forces": FORCES, "hf_forces": FORCES + 1}
        path = write(tmp_path / "x.xyz", None, info, arrays)
        with pytest.raises(ValueError, match=r"hf_energy in info and hf_forces in arrays; mp2_energy .*say which"):
            read_dataset(path)
        assert first(read_dataset(path, energy_key="hf_energy")) == (-1.0, 1.4)
        assert first(read_dataset(path, forces_key="mp2_forces")) == (-2.0, 0.4)

    @pytest.mark.parametrize("info", [{"mp2_energy": -2.0}, {"config_energy_weight": 1.0, "config_forces_weight": 1.0}])
    def test_energies_alone_and_weights_are_no_labels(self, tmp_path: Path, info: dict[str, Any]) -> None:
        path = write(tmp_path / "x.xyz", None, info)
        with pytest.raises(ValueError, match=f"no energies or forces found.*info: {', '.join(info)}"):
            read_dataset(path)

    def test_everything_that_looks_like_a_label_is_named(self, tmp_path: Path) -> None:
        info = {"Binding_ENERGY": -2.0, "config_forces_weight": 1.0, "pressure": 3.0}
        arrays = {"gradients": FORCES, "momenta": FORCES, "tags": np.zeros(3, dtype=int)}
        dataset = read_dataset(write(tmp_path / "x.xyz", {"energy": -1.0}, info, arrays))
        assert dataset.label_source.split("not used: ")[1] == (
            "Binding_ENERGY in info, config_forces_weight in info, gradients in arrays"
        )


class TestFreeEnergy:
    def test_of_a_calculator_the_one_of_the_forces(self, tmp_path: Path) -> None:
        calculator = {"energy": -1.0, "free_energy": -1.2, "forces": FORCES}
        for name in ("x.xyz", "x.traj", "x.db"):
            dataset = read_dataset(write(tmp_path / name, calculator))
            assert first(dataset) == (-1.2, 0.4)
            assert "energy from the calculator's free_energy (4 of 4 frames)" in dataset.label_source
            assert "-1.000000 and -1.200000 eV; the free energy is used" in dataset.notes[0]
        assert read_dataset(tmp_path / "x.traj", energy_key="energy").labels[0].energy == -1.0

    def test_equal_or_without_forces_it_does_not_matter(self, tmp_path: Path) -> None:
        equal = read_dataset(write(tmp_path / "x.xyz", {"energy": -1.0, "free_energy": -1.0, "forces": FORCES}))
        assert equal.labels[0].energy == -1.0 and equal.notes == () and "not used" not in equal.label_source
        alone = read_dataset(write(tmp_path / "x.xyz", {"energy": -1.0, "free_energy": -1.2}))
        assert alone.labels[0].energy == -1.0 and alone.label_source.endswith("not used: the calculator's free_energy")
        only = read_dataset(write(tmp_path / "x.xyz", {"free_energy": -1.2, "forces": FORCES}))
        assert only.labels[0].energy == -1.2

    def test_the_user_is_asked_where_it_cannot_be_known(self, tmp_path: Path) -> None:
        path = write(tmp_path / "x.xyz", None, {"REF_energy": -1.0, "REF_free_energy": -1.2}, {"REF_forces": FORCES})
        with pytest.raises(ValueError, match=r"-1.000000 and -1.200000 eV; say which .*'REF_energy' or 'REF_free_ener"):
            read_dataset(path)
        assert first(read_dataset(path, energy_key="REF_free_energy")) == (-1.2, 0.4)

        def change(number: int, atoms: Atoms) -> None:
            if number == 2:
                atoms.calc.results["free_energy"] = -1.2

        path = write(tmp_path / "y.xyz", {"energy": -1.0, "forces": FORCES}, change=change)
        with pytest.raises(ValueError, match=r"in frame 2: .*energy_key='energy' or 'free_energy'"):
            read_dataset(path)


class TestNames:
    @pytest.mark.parametrize(
        ("key", "quantity", "origin"),
        [
            *(("energy", "energy", ""), ("TotEnergy", "energy", ""), ("REF_energy", "energy", "ref")),
            *(("energy_dft", "energy", "dft"), ("Forces", "forces", ""), ("dft_force", "forces", "dft")),
            *(("reference_energy", "energy", "ref"), ("mp2-FORCES", "forces", "mp2"), ("virials", "stress", "")),
            *(("REF_stress", "stress", "ref"), ("energies", "energy", "atomic"), ("energies_total", "energy", "")),
            ("ccsd(t)_total_energy", "energy", "ccsd_t"),
        ],
    )
    def test_quantity_and_origin(self, key: str, quantity: str, origin: str) -> None:
        name = label_name(key)
        assert name is not None and (name.quantity, name.origin) == (quantity, origin)

    def test_names_of_nothing(self) -> None:
        assert label_name("charge") is label_name("positions") is label_name("") is None


class TestNotes:
    def test_notes_go_with_subsets_and_merges(self, tmp_path: Path) -> None:
        one = read_dataset(write(tmp_path / "one.xyz", {"energy": -1.0, "forces": FORCES}, {"REF_energy": -2.0}))
        two = read_dataset(write(tmp_path / "two.xyz", {"energy": -1.0, "forces": FORCES}))
        assert one.notes and one.subset([1]).notes == one.notes and two.notes == ()
        both = merge([one, two])
        assert both.notes == (f"one.xyz: {one.notes[0]}",)
        assert both.label_source == f"one.xyz: {one.label_source} | two.xyz: {two.label_source}"
        assert both.sha256 == f"{one.sha256}, {two.sha256}"
