"""Data: labels are found wherever people put them, and everything made of them is right."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor, nn

from ase_nbody.architectures.base import Network, NetworkSettings
from ase_nbody.data import (
    Dataset,
    Labels,
    batch_samples,
    default_validation_size,
    error_report,
    evaluate,
    is_isolated_atom,
    isolated_energies,
    merge,
    parity_plot,
    read_dataset,
    reference_energies,
    samples,
    split,
    statistics,
    without_isolated_atoms,
)
from ase_nbody.data.evaluation import joined
from ase_nbody.envelope import EnvelopeReport
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, ENERGY_PER_ATOM, FORCES, LABELLED, STRESS

STRESS_LABEL = np.array([[1.0, 0.6, 0.5], [0.6, 2.0, 0.4], [0.5, 0.4, 3.0]]) * 1e-2


class PairNetwork(Network):
    """Energies of pairs, smooth at the cutoff: sum over neighbours of strength[z, z'] (1 - (r / cutoff)^2)^3."""

    def __init__(self, settings: NetworkSettings, strengths: Tensor) -> None:
        super().__init__()
        self.settings = settings
        self.strengths = nn.Parameter(strengths)
        numbers = torch.zeros(119, dtype=torch.int64)
        for i, symbol in enumerate(settings.elements):
            numbers[atomic_numbers[symbol]] = i
        self.register_buffer("numbers", numbers)

    def forward(self, graph: Graph) -> Tensor:
        squares = edge_vectors(graph).square().sum(dim=1) / self.settings.cutoff**2  # (E,)
        kinds = self.numbers[graph.atomic_numbers]  # (N,)
        pairs = self.strengths[kinds[graph.edges.senders], kinds[graph.edges.receivers]] * (1 - squares) ** 3
        return torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.edges.receivers, pairs)


def pair_potential(elements: tuple[str, ...], dtype: torch.dtype = torch.float64) -> Potential:
    strengths = torch.randn((len(elements),) * 2, generator=torch.Generator().manual_seed(3), dtype=dtype)
    network = PairNetwork(NetworkSettings(elements=elements, cutoff=3.0), strengths + strengths.T)
    return Potential(network, {e: -10.0 * (i + 1) for i, e in enumerate(elements)})


def water_frames(n: int = 4, seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.positions += rng.normal(0.0, 0.05, (3, 3))
        frames.append(atoms)
    return frames


def crystal(pbc: object = True) -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.pbc = pbc
    atoms.rattle(0.05, seed=1)
    return atoms


def labelled_forces(n_atoms: int) -> np.ndarray:
    return np.random.default_rng(n_atoms).normal(size=(n_atoms, 3))


def with_calculator(atoms: Atoms, **results: object) -> Atoms:
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def dataset_of(structures: list[Atoms], energies: list[float | None], forces: list[np.ndarray | None] | None = None):
    forces = forces or [None] * len(structures)
    labels = tuple(Labels(energy=e, forces=f) for e, f in zip(energies, forces, strict=True))
    return Dataset(tuple(structures), labels, "memory", "0", "made in a test")


class TestReading:
    @pytest.mark.parametrize("name", ["x.xyz", "x.extxyz", "x.traj", "x.db", "x.json"])
    def test_labels_come_from_the_calculator(self, tmp_path: Path, name: str) -> None:
        frames = [crystal() for _ in range(2)]
        for i, atoms in enumerate(frames):
            voigt = full_3x3_to_voigt_6_stress(STRESS_LABEL)
            with_calculator(atoms, energy=-1.5 - i, forces=labelled_forces(4), stress=voigt)
        ase.io.write(tmp_path / name, frames)
        dataset = read_dataset(tmp_path / name)
        assert [x.energy for x in dataset.labels] == [-1.5, -2.5]
        np.testing.assert_allclose(dataset.labels[1].forces, labelled_forces(4), atol=1e-8)
        np.testing.assert_allclose(dataset.labels[1].stress, STRESS_LABEL)
        assert dataset.label_source == (
            "energy from the calculator (2 of 2 frames), forces from the calculator (2 of 2 frames), "
            "stress from the calculator (2 of 2 frames)"
        )
        assert dataset.source == str(tmp_path / name)
        assert dataset.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        np.testing.assert_allclose(dataset.structures[0].positions, crystal().positions, atol=1e-8)

    def test_structures_are_bare(self, tmp_path: Path) -> None:
        atoms = with_calculator(crystal(), energy=1.0)
        atoms.info["note"] = "kept in the file only"
        ase.io.write(tmp_path / "x.xyz", atoms)
        structure = read_dataset(tmp_path / "x.xyz").structures[0]
        assert structure.calc is None and structure.info == {} and set(structure.arrays) == {"numbers", "positions"}
        assert structure.pbc.all() and np.allclose(structure.cell, atoms.cell)

    @pytest.mark.parametrize(
        ("energy", "forces"),
        [
            *(("REF_energy", "REF_forces"), ("ref_energy", "ref_force"), ("DFT_energy", "DFT_forces")),
            *(("energy_dft", "forces_dft"), ("Energy", "force"), ("total_energy", "Forces"), ("TotEnergy", "force")),
        ],
    )
    def test_labels_come_from_the_usual_keys(self, tmp_path: Path, energy: str, forces: str) -> None:
        atoms = molecule("H2O")
        atoms.info[energy] = -7.0
        atoms.arrays[forces] = labelled_forces(3)
        ase.io.write(tmp_path / "x.xyz", atoms)
        dataset = read_dataset(tmp_path / "x.xyz")
        assert dataset.labels[0].energy == -7.0
        np.testing.assert_allclose(dataset.labels[0].forces, labelled_forces(3), atol=1e-8)
        assert f"energy from {energy} in info" in dataset.label_source
        assert f"forces from {forces} in arrays" in dataset.label_source
        assert dataset.label_source.endswith("no stress")

    def test_database_rows_keep_labels_in_key_value_pairs_and_data(self, tmp_path: Path) -> None:
        with ase.db.connect(tmp_path / "x.db") as database:
            database.write(molecule("H2O"), REF_energy=2.0, data={"REF_forces": labelled_forces(3)})
        dataset = read_dataset(tmp_path / "x.db")
        assert dataset.labels[0].energy == 2.0
        np.testing.assert_allclose(dataset.labels[0].forces, labelled_forces(3))

    def test_the_source_that_labels_the_most_frames_serves_the_file(self, tmp_path: Path) -> None:
        frames = water_frames(3)
        for atoms in frames:
            atoms.info["REF_energy"] = 2.0
        with_calculator(frames[0], energy=1.0)
        ase.io.write(tmp_path / "x.traj", frames)
        assert [x.energy for x in read_dataset(tmp_path / "x.traj").labels] == [2.0, 2.0, 2.0]

    def test_frames_without_a_label_keep_none(self, tmp_path: Path) -> None:
        frames = water_frames(3)
        with_calculator(frames[0], energy=1.0)
        with_calculator(frames[1], energy=2.0, forces=labelled_forces(3))
        ase.io.write(tmp_path / "x.xyz", frames)
        dataset = read_dataset(tmp_path / "x.xyz")
        assert [x.energy for x in dataset.labels] == [1.0, 2.0, None]
        assert [x.forces is None for x in dataset.labels] == [True, False, True]
        assert "energy from the calculator (2 of 3 frames)" in dataset.label_source
        assert "forces from the calculator (1 of 3 frames)" in dataset.label_source

    @pytest.mark.parametrize("shape", [(3, 3), (9,), (6,)])
    def test_stress_in_every_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        atoms = with_calculator(crystal(), energy=1.0)
        atoms.info["Stress"] = (
            full_3x3_to_voigt_6_stress(STRESS_LABEL) if shape == (6,) else STRESS_LABEL.reshape(shape)
        )
        ase.io.write(tmp_path / "x.traj", atoms)
        np.testing.assert_allclose(read_dataset(tmp_path / "x.traj").labels[0].stress, STRESS_LABEL)

    @pytest.mark.parametrize("key", ["virial", "Virial", "virials"])
    def test_virial_becomes_stress(self, tmp_path: Path, key: str) -> None:
        atoms = with_calculator(crystal(), energy=1.0)
        atoms.info[key] = -STRESS_LABEL * atoms.get_volume()
        ase.io.write(tmp_path / "x.xyz", atoms)
        np.testing.assert_allclose(read_dataset(tmp_path / "x.xyz").labels[0].stress, STRESS_LABEL)
        np.testing.assert_allclose(read_dataset(tmp_path / "x.xyz", stress_key=key).labels[0].stress, STRESS_LABEL)

    def test_virial_has_the_sign_of_ase(self, tmp_path: Path) -> None:
        atoms = crystal()
        atoms.calc = EMT()
        virial = np.zeros((3, 3))
        for i, strain in ((i, 1e-5) for i in range(3)):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                matrix = np.eye(3)
                matrix[i, i] += sign * strain
                moved.set_cell(moved.cell @ matrix, scale_atoms=True)
                moved.calc = EMT()
                ends.append(moved.get_potential_energy())
            virial[i, i] = -(ends[0] - ends[1]) / (2 * strain)
        stored = with_calculator(crystal(), energy=atoms.get_potential_energy())
        stored.info["virial"] = virial
        ase.io.write(tmp_path / "x.xyz", stored)
        found = read_dataset(tmp_path / "x.xyz").labels[0].stress
        np.testing.assert_allclose(np.diag(found), atoms.get_stress()[:3], atol=1e-7)

    def test_a_single_frame_in_another_format_of_ase(self, tmp_path: Path) -> None:
        atoms = with_calculator(molecule("H2O"), energy=1.0, forces=labelled_forces(3))
        ase.io.write(tmp_path / "a@b.traj", atoms)
        assert len(read_dataset(tmp_path / "a@b.traj")) == 1


class TestRefusals:
    def refused(self, path: Path, match: str, **keys: str) -> None:
        with pytest.raises(ValueError, match=match):
            read_dataset(path, **keys)

    def test_missing_empty_and_foreign_files(self, tmp_path: Path) -> None:
        self.refused(tmp_path / "none.xyz", "no such file")
        self.refused(tmp_path, "is not a file")
        for name in ("x.xyz", "x.traj", "x.db", "x.json"):
            (tmp_path / name).touch()
            self.refused(tmp_path / name, "is empty")
            (tmp_path / name).write_text("no structures here\n")
            wanted = "line 1: 'no structures here' stands where the number of atoms of frame 0 is expected"
            self.refused(tmp_path / name, wanted if name == "x.xyz" else "ASE cannot read structures")
        (tmp_path / "x.pdf").write_text("%PDF-1.4\n")
        self.refused(tmp_path / "x.pdf", "ASE cannot read structures")

    def test_a_file_without_structures(self, tmp_path: Path) -> None:
        with ase.db.connect(tmp_path / "x.db") as database:
            del database[database.write(molecule("H2O"))]
        self.refused(tmp_path / "x.db", "has no structures")

    def test_no_labels_says_which_keys_were_found(self, tmp_path: Path) -> None:
        atoms = molecule("H2O")
        atoms.info["wrong_name"] = 1.0
        atoms.arrays["odd_forces"] = labelled_forces(3)
        with_calculator(atoms, dipole=np.ones(3))
        ase.io.write(tmp_path / "x.xyz", atoms)
        self.refused(tmp_path / "x.xyz", "info: wrong_name; arrays: odd_forces; calculator: dipole")
        self.refused(tmp_path / "x.xyz", "key 'mine'.*wrong_name", energy_key="mine")
        assert read_dataset(tmp_path / "x.xyz", energy_key="wrong_name", forces_key="odd_forces").labels[0].energy == 1

    def test_stress_alone_is_not_enough(self, tmp_path: Path) -> None:
        ase.io.write(tmp_path / "x.traj", with_calculator(crystal(), stress=np.ones(6)))
        self.refused(tmp_path / "x.traj", "no energies or forces found")

    @pytest.mark.parametrize(
        ("info", "match"),
        [
            ({"REF_energy": np.nan}, "frame 1: REF_energy has NaN"),
            ({"REF_energy": np.array([1.0, 2.0])}, r"frame 1: REF_energy has shape \(2,\)"),
            ({"REF_energy": "low"}, "frame 1: REF_energy is 'low'"),
            ({"REF_forces": np.ones((4, 2))}, r"frame 1: REF_forces has shape \(4, 2\)"),
            ({"REF_forces": np.full((4, 3), np.inf)}, "frame 1: REF_forces has NaN or infinite"),
            ({"REF_stress": np.ones(5)}, r"frame 1: REF_stress has shape \(5,\)"),
            ({"REF_stress": np.triu(np.ones((3, 3)))}, "frame 1: REF_stress is not symmetric"),
        ],
    )
    def test_bad_labels_name_the_frame(self, tmp_path: Path, info: dict[str, object], match: str) -> None:
        frames = [crystal(), crystal()]
        for atoms in frames:
            atoms.info.update(REF_energy=1.0, REF_forces=np.ones((4, 3)), REF_stress=STRESS_LABEL)
        frames[1].info.update(info)
        ase.io.write(tmp_path / "x.traj", frames)
        self.refused(tmp_path / "x.traj", match)

    def test_positions_that_are_not_finite(self, tmp_path: Path) -> None:
        atoms = with_calculator(molecule("H2O"), energy=1.0)
        atoms.positions[1, 2] = np.nan
        ase.io.write(tmp_path / "x.xyz", atoms)
        self.refused(tmp_path / "x.xyz", "frame 0: ")

    def test_counts_of_labels_and_structures_agree(self) -> None:
        with pytest.raises(ValueError, match="cannot have"):
            Dataset((molecule("H2O"),), (), "", "", "")


class TestSplits:
    def test_a_split_is_a_partition_and_seeded(self) -> None:
        dataset = dataset_of(water_frames(20), list(range(20)))
        train, valid = split(dataset, 5, seed=1)
        energies = [x.energy for x in train.labels], [x.energy for x in valid.labels]
        assert (len(train), len(valid)) == (15, 5)
        assert sorted(energies[0] + energies[1]) == list(range(20))
        again = split(dataset, 5, seed=1)[1]
        assert [x.energy for x in again.labels] == energies[1]
        assert [x.energy for x in split(dataset, 5, seed=2)[1].labels] != energies[1]

    def test_a_split_leaves_the_global_generator_alone(self) -> None:
        state = np.random.get_state()[1].copy()
        split(dataset_of(water_frames(4), [0.0] * 4), 2, seed=1)
        assert (np.random.get_state()[1] == state).all()

    def test_sizes(self) -> None:
        assert [default_validation_size(n) for n in (2, 10, 50, 1000, 9000)] == [1, 1, 5, 100, 200]
        with pytest.raises(ValueError, match="at least 2"):
            default_validation_size(1)
        for n in (4, -1):
            with pytest.raises(ValueError, match="allowed are 0 to 3"):
                split(dataset_of(water_frames(4), [0.0] * 4), n, seed=0)

    def test_merge(self, tmp_path: Path) -> None:
        one, two = dataset_of(water_frames(2), [1.0, 2.0]), dataset_of([crystal()], [3.0])
        both = merge([one, two])
        assert [x.energy for x in both.labels] == [1.0, 2.0, 3.0]
        assert both.elements == ("H", "O", "Cu") and both.sha256 == "0, 0" and "\n" not in both.label_source
        elsewhere = merge([replace(one, source=str(tmp_path / "one.xyz")), two]).label_source
        assert elsewhere.startswith("one.xyz: ") and str(tmp_path) not in elsewhere
        assert merge([one]) is one
        with pytest.raises(ValueError, match="at least one"):
            merge([])


class TestReferenceEnergies:
    def test_given_values_go_before_isolated_atoms_and_those_before_the_fit(self) -> None:
        structures = [Atoms("H"), Atoms("O"), molecule("H2O"), molecule("CO2")]
        dataset = dataset_of(structures, [-13.0, -400.0, -440.0, -1000.0])
        found = reference_energies(dataset, ("H", "C", "O"), {"H": -14.0, "Fe": 0.0})
        values, words = found.energies, found.source
        assert values == {"H": -14.0, "O": -400.0, "C": pytest.approx(-200.0)}
        assert list(values) == ["H", "C", "O"]
        assert words == (
            "reference energies of H: given; O: isolated atoms in the data; "
            "C: least squares of total energies on the composition"
        )

    def test_least_squares_finds_additive_energies(self) -> None:
        truth = {"H": -13.6, "C": -1029.0, "O": -2041.0}
        structures = [molecule(n) for n in ("H2O", "CO2", "CH4", "CH3OH", "H2O2")]
        dataset = dataset_of(structures, [sum(truth[s] for s in m.symbols) for m in structures])
        values = reference_energies(dataset, ("H", "C", "O")).energies
        assert values == pytest.approx(truth)

    @pytest.mark.parametrize("scale", [1.0, 1e-3])
    def test_one_molecule_gives_its_energy_back_and_no_absurd_share(self, scale: float) -> None:
        dataset = dataset_of([molecule("CH3CH2OH")] * 3, [-4216.0 * scale] * 3)
        values = reference_energies(dataset, ("H", "C", "O")).energies
        total = sum(values[s] for s in molecule("CH3CH2OH").symbols)
        assert total == pytest.approx(-4216.0 * scale)
        assert values["H"] > values["C"] > values["O"]
        assert values["H"] == pytest.approx(-16.0 * scale, abs=1.0 * scale)

    def test_frames_without_energy_do_not_count(self) -> None:
        dataset = dataset_of([molecule("H2"), molecule("O2")], [-30.0, None])
        assert reference_energies(dataset, ("H",)).energies == {"H": pytest.approx(-15.0)}
        with pytest.raises(ValueError, match="no reference energy for O"):
            reference_energies(dataset, ("H", "O"))

    def test_elements_must_cover_the_data(self) -> None:
        with pytest.raises(ValueError, match="has O, which is not among the elements"):
            reference_energies(dataset_of(water_frames(1), [-440.0]), ("H",))

    def test_isolated_atoms(self, tmp_path: Path) -> None:
        assert is_isolated_atom(Atoms("H")) and not is_isolated_atom(molecule("H2"))
        assert is_isolated_atom(Atoms("H", cell=[9, 9, 9], pbc=True))
        assert not is_isolated_atom(bulk("Cu"))
        skewed = [[12, 0, 0], [10, 5, 0], [0, 0, 12]]
        assert not is_isolated_atom(Atoms("H", cell=skewed, pbc=True))
        assert not is_isolated_atom(Atoms("H", cell=[3, 30, 30], pbc=(True, False, False)))
        frames = [with_calculator(Atoms("H"), energy=-13.6), with_calculator(Atoms("C"), energy=-1029.5)]
        ase.io.write(tmp_path / "iso.xyz", frames)
        assert isolated_energies(tmp_path / "iso.xyz") == {"H": -13.6, "C": -1029.5}
        ase.io.write(tmp_path / "none.xyz", with_calculator(molecule("H2O"), energy=-440.0))
        with pytest.raises(ValueError, match="no isolated atom"):
            isolated_energies(tmp_path / "none.xyz")

    def test_isolated_atoms_that_disagree(self) -> None:
        with pytest.raises(ValueError, match="isolated H has energies"):
            reference_energies(dataset_of([Atoms("H"), Atoms("H")], [-13.6, -12.0]), ("H",))

    def test_isolated_atoms_are_left_out_of_training(self) -> None:
        dataset = dataset_of([Atoms("H"), molecule("H2"), Atoms("O")], [-13.6, -31.0, -2041.0])
        assert [x.energy for x in without_isolated_atoms(dataset).labels] == [-31.0]
        with pytest.raises(ValueError, match="only isolated atoms"):
            without_isolated_atoms(dataset.subset([0, 2]))


class TestStatistics:
    def test_known_figures(self) -> None:
        square = Atoms("OH2C", positions=[[0, 0, 0], [1, 0, 0], [0, 1.2, 0], [50, 0, 0]])
        forces = np.array([[3.0, 4.0, 0.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
        dataset = dataset_of([square, Atoms("H")], [-12.0, None], [forces, None])
        figures = statistics(dataset, {"H": -1.0, "O": -2.0, "C": -4.0}, cutoff=3.0)
        assert figures.closest_distances == {"H-H": pytest.approx(np.sqrt(1 + 1.2**2)), "H-O": pytest.approx(1.0)}
        assert figures.average_neighbours == pytest.approx(6 / 5)
        assert figures.force_max == 5.0 and figures.force_rms == pytest.approx(np.sqrt(25 / 12))
        assert figures.energy_range_per_atom == (-1.0, -1.0)
        assert (figures.n_structures, figures.n_atoms) == (2, 5)

    def test_periodic_images_count(self) -> None:
        figures = statistics(dataset_of([bulk("Cu", a=3.6)], [-3.0]), {"Cu": 0.0}, cutoff=3.0)
        assert figures.average_neighbours == 12.0
        assert figures.closest_distances == {"Cu-Cu": pytest.approx(3.6 / np.sqrt(2))}
        assert figures.force_rms is None and figures.force_max is None

    def test_without_energies(self) -> None:
        dataset = dataset_of([molecule("H2")], [None], [np.ones((2, 3))])
        assert statistics(dataset, {"H": 0.0}, 3.0).energy_range_per_atom is None

    def test_refusals(self) -> None:
        dataset = dataset_of(water_frames(1), [-1.0])
        with pytest.raises(ValueError, match="no reference energy for O"):
            statistics(dataset, {"H": 0.0}, 3.0)
        with pytest.raises(ValueError, match="empty"):
            statistics(dataset.subset([]), {"H": 0.0}, 3.0)


class TestSamples:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_batches_of_mixed_labels_and_sizes(self, dtype: torch.dtype) -> None:
        full = Labels(energy=-1.0, forces=labelled_forces(4), stress=STRESS_LABEL)
        dataset = Dataset(
            (crystal(), molecule("H2O"), Atoms("H")),
            (full, Labels(energy=-2.0), Labels(forces=np.zeros((1, 3)))),
            *("", "", ""),
        )
        batch = batch_samples(samples(dataset, 3.0, dtype=dtype))
        energy, forces, stress = (batch.targets.labels[kind] for kind in LABELLED)
        assert batch.graph.structure.tolist() == [0] * 4 + [1] * 3 + [2]
        assert energy.dtype == torch.float64 and forces.dtype == stress.dtype == batch.graph.positions.dtype == dtype
        assert energy.isnan().tolist() == [False, False, True]
        assert forces.isnan().all(dim=1).tolist() == [False] * 4 + [True] * 3 + [False]
        assert stress.isnan().all(dim=(1, 2)).tolist() == [False, True, True]
        np.testing.assert_allclose(forces[:4].numpy(), labelled_forces(4), rtol=1e-6)
        np.testing.assert_allclose(stress[0].numpy(), STRESS_LABEL, rtol=1e-6)

    def test_samples_do_not_share_memory_with_the_dataset(self) -> None:
        dataset = dataset_of(water_frames(1), [0.0], [np.zeros((3, 3))])
        forces = samples(dataset, 3.0)[0].targets.labels[FORCES]
        forces += 1.0
        assert not dataset.labels[0].forces.any()


JSON_NAMES = {
    *("n_structures", "n_compositions", "n_structures_without_shift", "forces_mae_by_element"),
    *(f"energy_{error}_mev{end}" for error in ("mae", "rmse") for end in ("", "_per_atom")),
    *(f"energy_{error}_mev{end}_without_shift" for error in ("mae", "rmse") for end in ("", "_per_atom")),
    *(f"forces_{error}_mev_per_angstrom" for error in ("mae", "rmse")),
    *(f"stress_{error}_mev_per_cubic_angstrom" for error in ("mae", "rmse")),
}


class TestErrors:
    def perturbed(
        self, potential: Potential, structures: list[Atoms], seed: int = 5
    ) -> tuple[Dataset, dict[str, float]]:
        """A dataset whose labels are the potential's own, moved by known amounts."""
        zeros = [np.zeros((len(a), 3)) for a in structures]
        _, exact = evaluate(potential, dataset_of(structures, [0.0] * len(structures), zeros))
        rng = np.random.default_rng(seed)
        d_energy = rng.normal(size=len(structures))
        d_forces = rng.normal(size=exact.of(FORCES).predictions.shape)
        starts = np.cumsum(exact.n_atoms)[:-1]
        dataset = dataset_of(
            structures,
            (exact.of(ENERGY).predictions - d_energy).tolist(),
            np.split(exact.of(FORCES).predictions - d_forces, starts),
        )
        n = exact.n_atoms
        return dataset, {
            "energy_rmse_mev": 1e3 * np.sqrt(np.mean(d_energy**2)),
            "energy_mae_mev": 1e3 * np.mean(abs(d_energy)),
            "energy_rmse_mev_per_atom": 1e3 * np.sqrt(np.mean((d_energy / n) ** 2)),
            "energy_mae_mev_per_atom": 1e3 * np.mean(abs(d_energy / n)),
            "forces_rmse_mev_per_angstrom": 1e3 * np.sqrt(np.mean(d_forces**2)),
            "forces_mae_mev_per_angstrom": 1e3 * np.mean(abs(d_forces)),
        }

    def test_known_errors_in_the_names_of_the_contract(self) -> None:
        potential = pair_potential(("H", "C", "O"))
        structures = [*water_frames(3), molecule("CH4"), Atoms("H"), molecule("CH3CH2OH")]
        dataset, expected = self.perturbed(potential, structures)
        report, _ = evaluate(potential, dataset, batch_atoms=7)
        written = json.loads(json.dumps(report.to_json_dict()))
        assert {k: written[k] for k in expected} == pytest.approx(expected)
        assert written["n_structures"] == 6
        assert set(written) == JSON_NAMES
        assert written["stress_rmse_mev_per_cubic_angstrom"] is written["stress_mae_mev_per_cubic_angstrom"] is None
        counts = {s: sum(a.symbols.count(s) for a in structures) for s in ("H", "C", "O")}
        mean = sum(written["forces_mae_by_element"][s] * counts[s] for s in counts) / sum(counts.values())
        assert mean == pytest.approx(written["forces_mae_mev_per_angstrom"])

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_batches_do_not_change_the_errors(self, dtype: torch.dtype) -> None:
        potential = pair_potential(("H", "O"), dtype)
        dataset, _ = self.perturbed(potential, water_frames(5))
        tolerance = 1e-9 if dtype == torch.float64 else 1e-4
        one, many = (evaluate(potential, dataset, batch_atoms=n)[0] for n in (1, 1000))
        assert one.of(ENERGY).rmse == pytest.approx(many.of(ENERGY).rmse, rel=tolerance)
        assert one.of(ENERGY_PER_ATOM).mae == pytest.approx(many.of(ENERGY_PER_ATOM).mae, rel=tolerance)
        assert one.of(FORCES).mae == pytest.approx(many.of(FORCES).mae, rel=tolerance)
        by_element = [report.of(FORCES).mae_by_element for report in (one, many)]
        assert by_element[0] == pytest.approx(by_element[1], rel=tolerance) and set(by_element[0]) == {"H", "O"}

    def test_structures_are_numbered_through_where_evaluations_are_joined(self) -> None:
        _, one = evaluate(pair_potential(("H", "O")), dataset_of(water_frames(3), [0.0] * 3))
        report = EnvelopeReport("H2O", True, (), 0.0, 0, None, None, None)
        both = joined([replace(one, outside={2: report}), replace(one, outside={0: report})])
        assert list(both.outside) == [2, 3] and len(both.n_atoms) == 6 and len(both.atomic_numbers) == 18
        assert both.of(FORCES).predictions.shape == (18, 3)

    def test_only_what_is_labelled_counts(self) -> None:
        potential = pair_potential(("Cu",))
        structures, none = (crystal(), crystal((False, False, False)), crystal()), Labels(forces=np.zeros((4, 3)))
        _, exact = evaluate(potential, Dataset(structures, (none,) * 3, "", "", ""))
        assert np.isnan(exact.of(STRESS).predictions[1]).all()
        stress = Labels(stress=exact.of(STRESS).predictions[0] + 2e-3, energy=exact.of(ENERGY).predictions[0])
        report, _ = evaluate(potential, Dataset(structures, (stress, none, none), "", "", ""))
        assert report.of(STRESS).mae == pytest.approx(2e-3)
        assert report.of(STRESS).rmse == pytest.approx(2e-3)
        assert report.of(ENERGY).mae == pytest.approx(0.0, abs=1e-12)
        only_forces, _ = evaluate(potential, Dataset(structures, (none,) * 3, "", "", ""))
        assert only_forces.of(ENERGY).rmse is only_forces.of(ENERGY_PER_ATOM).mae is None

    def test_refusals(self) -> None:
        dataset = dataset_of(water_frames(1), [0.0])
        with pytest.raises(ValueError, match=r"has H, O, which the model does not know \(Cu\)"):
            evaluate(pair_potential(("Cu",)), dataset)
        with pytest.raises(ValueError, match="empty"):
            evaluate(pair_potential(("H", "O")), dataset.subset([]))


class TestPlots:
    def test_one_picture_for_each_labelled_quantity(self, tmp_path: Path) -> None:
        potential = pair_potential(("Cu",))
        labels = Labels(energy=1.0, forces=labelled_forces(4), stress=STRESS_LABEL)
        report, evaluation = evaluate(potential, Dataset((crystal(),) * 3, (labels,) * 3, "", "", ""))
        paths = parity_plot(evaluation, report, tmp_path / "new" / "plots")
        assert [p.name for p in paths] == ["parity_energy.png", "parity_forces.png", "parity_stress.png"]
        assert sorted(paths) == sorted((tmp_path / "new" / "plots").iterdir())
        for path in paths:
            picture = pytest.importorskip("matplotlib.image").imread(path)
            assert picture.shape[0] > 500 and picture.std() > 0.01

    def test_unlabelled_quantities_have_none(self, tmp_path: Path) -> None:
        report, evaluation = evaluate(pair_potential(("H", "O")), dataset_of(water_frames(2), [1.0, 2.0]))
        assert [p.name for p in parity_plot(evaluation, report, tmp_path)] == ["parity_energy.png"]

    def test_pyplot_is_left_alone(self, tmp_path: Path) -> None:
        pyplot = pytest.importorskip("matplotlib.pyplot")
        report, evaluation = evaluate(pair_potential(("H", "O")), dataset_of(water_frames(2), [1.0, 2.0]))
        before = pyplot.get_fignums()
        parity_plot(evaluation, report, tmp_path)
        assert pyplot.get_fignums() == before

    def test_reports_of_one_evaluation_agree(self) -> None:
        report, evaluation = evaluate(pair_potential(("H", "O")), dataset_of(water_frames(2), [1.0, 2.0]))
        assert error_report(evaluation) == report
