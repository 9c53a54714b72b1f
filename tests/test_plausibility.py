"""Labels and structures that cannot be right are named by frame when they are read."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa

from ase_nbody.data import Dataset, Labels, read_dataset, read_structures
from ase_nbody.data.plausibility import check_distances, implausible_labels
from ase_nbody.data.stress_units import _fit, _similar, implausible_stress

STRESS = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]]) * 1e-2


def labelled(atoms: Atoms, **results: object) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


class TestDistances:
    @pytest.mark.parametrize("distance", [0.0, 1e-3, 0.09])
    def test_atoms_on_one_spot_are_named(self, tmp_path: Path, distance: float) -> None:
        frames = [labelled(molecule("CH4"), energy=-1.0) for _ in range(4)]
        frames[2].positions[3] = frames[2].positions[1] + [0, distance, 0]
        ase.io.write(tmp_path / "x.traj", frames)
        for read in (read_dataset, read_structures):
            with pytest.raises(ValueError, match=r"x.traj, frame 2: atoms 1 and 3 \(H, H\) are .* angstrom apart"):
                read(tmp_path / "x.traj")

    @pytest.mark.parametrize("pbc", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    @pytest.mark.parametrize("cell", [np.diag([4, 5, 6]), [[4, 0, 0], [3, 5, 0], [-2, 1, 6]], -np.diag([4, 5, 6])])
    def test_periodic_images_count(self, pbc: tuple[int, int, int], cell: object) -> None:
        for shift in np.ndindex(3, 3, 3):
            atoms = Atoms("HeLi", positions=[[0.01, 0.02, -0.02]] * 2, cell=cell, pbc=pbc)
            atoms.positions[1] += 3 * (np.array(shift) - 1) @ atoms.cell.array + [0.03, -0.04, 0.0]
            periodic = all(p or s == 1 for p, s in zip(pbc, shift, strict=True))
            if periodic:
                with pytest.raises(ValueError, match=r"atoms 0 and 1 \(He, Li\) are 0.05 angstrom apart"):
                    check_distances(atoms)
            else:
                check_distances(atoms)

    def test_the_closest_pair_is_named(self) -> None:
        positions = [[0, 0, 0], [0, 0, 0.09], [5, 0, 0], [5, 0.03, 0], [9, 0, 0], [9, 0, 0.06]]
        with pytest.raises(ValueError, match=r"atoms 2 and 3 .* are 0.03 angstrom"):
            check_distances(Atoms("H6", positions))

    def test_short_distances_that_exist_pass(self) -> None:
        check_distances(Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.11]]))
        check_distances(bulk("Cu"))
        check_distances(Atoms("H"))
        check_distances(fcc111("Cu", (2, 2, 2), vacuum=None))


class TestLabels:
    def frames(self, n: int = 8) -> list[Atoms]:
        rng = np.random.default_rng(4)
        return [
            labelled(molecule("CH4"), energy=-40.0 + rng.normal(0, 0.1), forces=rng.normal(size=(5, 3)))
            for _ in range(n)
        ]

    def test_usual_labels_have_no_notes(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / "x.xyz", self.frames())
        assert read_dataset(tmp_path / "x.xyz").notes == ()

    def test_absurd_forces_are_noted_and_impossible_ones_refused(self, tmp_path: Path) -> None:
        frames = self.frames()
        frames[3].calc.results["forces"][2] = [0.0, 3000.0, 4000.0]
        frames[6].calc.results["forces"][0, 0] = -2000.0
        ase.io.write(tmp_path / "x.traj", frames)
        (note,) = read_dataset(tmp_path / "x.traj").notes
        assert "forces beyond 1000 eV/angstrom, up to 5e+03, in 2 frames (3, 6)" in note
        frames[6].calc.results["forces"][1, 0] = 9.9e36
        ase.io.write(tmp_path / "x.traj", frames)
        with pytest.raises(ValueError, match=r"frame 6: the force on atom 1 is 9.9e\+36"):
            read_dataset(tmp_path / "x.traj")

    @pytest.mark.parametrize("energy", [0.0, -34.0, -46.0, -400.0])
    def test_energies_far_from_the_others_are_noted(self, tmp_path: Path, energy: float) -> None:
        frames = self.frames()
        frames[5].calc.results["energy"] = energy
        frames += [labelled(molecule("H2O"), energy=-10.0 - i) for i in range(2)]  # another composition
        ase.io.write(tmp_path / "x.xyz", frames)
        dataset = read_dataset(tmp_path / "x.xyz")
        if energy in (-34.0, -46.0):  # 1.2 eV per atom, where the others agree within 0.1 / 5
            assert len(dataset.notes) == 1 and "frame 5 by" in dataset.notes[0]
        (note,) = dataset.notes
        assert "energies far from the others of the same composition in frame 5; " in note
        middle = np.median([a.calc.results["energy"] for a in frames[:8]])
        assert f"frame 5 by {(energy - middle) / 5:+.3g} eV per atom" in note

    def test_fill_values_of_energies_are_refused(self, tmp_path: Path) -> None:
        frames = self.frames()
        frames[1].calc.results["energy"] = -1e30
        ase.io.write(tmp_path / "x.traj", frames)
        with pytest.raises(ValueError, match=r"frame 1: the energy is -1e\+30 eV for 5 atoms"):
            read_dataset(tmp_path / "x.traj")

    def test_spread_energies_and_few_frames_are_no_reason(self) -> None:
        structures = [molecule("H2")] * 6
        broken = [Labels(energy=e) for e in (-31.0, -30.5, -29.0, -27.0, -26.5, -26.4)]
        assert implausible_labels(structures, broken) == []
        (note,) = implausible_labels(structures, [*broken[:5], Labels(energy=0.0)])  # 14 eV per atom
        assert "in frame 5; " in note
        assert implausible_labels(structures[:3], [Labels(energy=e) for e in (-31.0, -31.0, 0.0)]) == []
        atoms = [Atoms("Si")] * 6
        assert implausible_labels(atoms, [Labels(energy=e) for e in (-0.8, -5.4, -5.4, -5.4, -5.4, -5.4)]) == []


class TestWhereStressIs:
    @pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True), True])
    def test_slabs_and_wires_with_a_volume_have_a_stress(self, tmp_path: Path, pbc: object) -> None:
        atoms = bulk("Cu", cubic=True)
        atoms.pbc = pbc
        ase.io.write(tmp_path / "x.traj", labelled(atoms, energy=1.0, stress=STRESS.ravel()[[0, 4, 8, 5, 2, 1]]))
        dataset = read_dataset(tmp_path / "x.traj")
        np.testing.assert_allclose(dataset.labels[0].stress, STRESS)
        assert dataset.notes == ()

    def test_the_volume_of_a_virial_is_that_of_the_cell(self, tmp_path: Path) -> None:
        slab = fcc111("Cu", (1, 1, 3), vacuum=7.0)
        slab.pbc, slab.info = (True, True, False), {}
        labelled(slab, energy=1.0).info["virial"] = -STRESS * slab.get_volume()
        ase.io.write(tmp_path / "x.xyz", slab)
        np.testing.assert_allclose(read_dataset(tmp_path / "x.xyz").labels[0].stress, STRESS)

    @pytest.mark.parametrize("size", [0.0, 1.0, np.nan])
    def test_stresses_that_do_not_exist_are_left_out_and_counted(self, tmp_path: Path, size: float) -> None:
        def frame(pbc: object, cell: object) -> Atoms:
            atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]], cell=cell, pbc=pbc)
            return labelled(atoms, energy=1.0, stress=np.full(6, size))

        full = labelled(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], cell=[4, 4, 4], pbc=True), energy=1.0, stress=np.ones(6))
        flat = [[5, 0, 0], [0, 5, 0], [0, 0, 0]]
        frames = [full, frame(False, [9, 9, 9]), frame((True, True, False), flat), full, frame(False, None)]
        ase.io.write(tmp_path / "x.traj", frames)
        dataset = read_dataset(tmp_path / "x.traj")
        assert [x.stress is None for x in dataset.labels] == [False, True, True, False, True]
        assert "stress from the calculator (2 of 5 frames)" in dataset.label_source
        assert "stress labels left out in 3 frames (1, 2, 4): no direction is periodic" in dataset.notes[0]

    def test_no_stress_at_all_is_left(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / "x.traj", labelled(molecule("H2O"), energy=1.0, stress=np.ones(6)))
        dataset = read_dataset(tmp_path / "x.traj")
        assert dataset.label_source.endswith("no stress") and "left out in frame 0: " in dataset.notes[0]


class TestImplausibleStress:
    def strained(
        self, n: int = 12, size: float = 0.03, rattle: float = 0.02, shear_only: bool = False
    ) -> tuple[list[Atoms], list[Labels]]:
        """Copper under random strains, labelled by ASE's EMT: an energy, its forces and its stress."""
        rng = np.random.default_rng(7)
        structures, labels = [], []
        for _ in range(n):
            atoms = bulk("Cu", cubic=True)
            strain = rng.normal(0.0, size, (3, 3)) * (1.0 - shear_only * np.eye(3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain + strain.T), scale_atoms=True)
            atoms.positions += rng.normal(0.0, rattle, atoms.positions.shape)
            atoms.calc = EMT()
            structures.append(atoms)
            energy, forces, stress = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)
            labels.append(Labels(energy=energy, forces=forces, stress=stress))
        return structures, labels

    def scaled(self, labels: list[Labels], factor: float) -> list[Labels]:
        return [Labels(x.energy, x.forces, x.stress * factor) for x in labels if x.stress is not None]

    @pytest.mark.parametrize(
        ("factor", "words"),
        [
            (1.0, None),
            (1 / GPa, "looks like GPa: divide it by 160.218"),
            (10 / GPa, "looks like kbar: divide it by 1602.18"),
            (-1.0, "the opposite sign: divide it by -1 "),
            (-10 / GPa, r"kbar with the opposite sign .*divide it by -1602.18"),
            (0.01, "the stress does not fit the energies"),
        ],
    )
    def test_energies_of_strained_cells_tell_the_unit_and_the_sign(self, factor: float, words: str | None) -> None:
        structures, labels = self.strained()
        found = implausible_stress(structures, self.scaled(labels, factor))
        if words is None:
            assert found is None
        else:
            assert found is not None
            with pytest.raises(ValueError, match=words):
                raise ValueError(found)

    @pytest.mark.parametrize("shear_only", [False, True])
    def test_stress_times_strain_is_the_change_of_the_energy(self, shear_only: bool) -> None:
        structures, labels = self.strained(n=20, size=0.005, rattle=0.0, shear_only=shear_only)
        followed, ratio = _fit(list(_similar(structures, labels, [list(range(20))])), (0, 1, 2))
        assert followed > 0.99 and ratio == pytest.approx(1.0, abs=0.1)

    def test_the_forces_do_their_work(self) -> None:
        structures, labels = self.strained(n=20, size=0.005, rattle=0.02)
        assert implausible_stress(structures, labels) is None
        assert "opposite sign" in str(implausible_stress(structures, self.scaled(labels, -1.0)))

    def test_components_in_another_order(self) -> None:
        structures, labels = self.strained(n=30, rattle=0.0, shear_only=True)
        swapped = []
        for x in labels:
            stress = np.array(x.stress)
            stress[1, 2], stress[0, 2] = x.stress[0, 2], x.stress[1, 2]
            stress[2, 1], stress[2, 0] = stress[1, 2], stress[0, 2]
            swapped.append(Labels(x.energy, x.forces, stress))
        found = implausible_stress(structures, swapped)
        assert found is not None and "xz where yz is, yz where xz is" in found

    def test_without_similar_frames_the_sign_shows_in_the_volume(self) -> None:
        structures, labels = [], []
        for a in np.linspace(3.4, 3.9, 6):
            atoms = bulk("Cu", a=a)
            atoms.calc = EMT()
            structures.append(atoms)
            labels.append(Labels(forces=np.zeros((1, 3)), stress=atoms.get_stress(voigt=False)))  # no energies
        assert implausible_stress(structures, labels) is None
        assert "must rise" in str(implausible_stress(structures, self.scaled(labels, -1.0)))

    def test_without_any_other_sign_the_size_shows(self) -> None:
        structures, labels = self.strained(n=3)
        assert implausible_stress(structures, labels) is None
        kbar = implausible_stress(structures, self.scaled(labels, 10 / GPa))
        assert kbar is not None and "it looks like kbar or GPa: divide by 1602.18 or 160.218" in kbar

    def test_it_is_noted_and_the_numbers_stay(self, tmp_path: Path) -> None:
        structures, labels = self.strained()
        for atoms, label in zip(structures, labels, strict=True):
            stress = -10 / GPa * np.array(label.stress).ravel()[[0, 4, 8, 5, 2, 1]]
            labelled(atoms, energy=label.energy, forces=label.forces, stress=stress)
        ase.io.write(tmp_path / "x.traj", structures)
        dataset = read_dataset(tmp_path / "x.traj")
        assert "kbar with the opposite sign" in dataset.notes[0] and len(dataset.notes) == 1
        np.testing.assert_allclose(dataset.labels[3].stress, -10 / GPa * np.array(labels[3].stress), rtol=1e-6)

    def test_a_dataset_has_no_notes_by_default(self) -> None:
        assert Dataset((), (), "", "", "").notes == ()
