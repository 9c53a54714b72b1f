"""SevenNet: the shipped model gives sevenn's own numbers; checkpoints are read without running code."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from command_line import run_command
from sevennet_peer import CUTOFF, SevenNetPeer

from ase_nbody import NBodyCalculator
from ase_nbody.architectures.sevennet import SevenNetNetwork
from ase_nbody.architectures.sevennet_layers import SevenNetSettings
from ase_nbody.importers.sevennet import Checkpoint, imported_potential, network_settings, read_checkpoint
from ase_nbody.model_file import load_model
from ase_nbody.models_directory import find_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import predict
from ase_nbody.timings import Timings

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks" / "universal"))
from structures import structures  # noqa: E402

REFERENCES = {"universal": "sevennet_0.json", "universal-l3i5": "sevennet_l3i5.json"}


def mixed() -> Atoms:
    atoms = bulk("Si", cubic=True, a=4.9)
    atoms.symbols[[0, 3]] = "O"
    atoms.symbols[5] = "H"
    atoms.rattle(0.1, seed=0)
    return atoms


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("model", REFERENCES)
def test_shipped_models_give_the_numbers_of_sevenn(model: str, dtype: torch.dtype) -> None:
    rows = json.loads((ROOT / "tests" / REFERENCES[model]).read_text())["rows"]
    reference = {row["name"]: row for row in rows}
    potential, _ = load_model(find_model(model), device="cpu", dtype=dtype)
    tolerance = 2e-6 if dtype == torch.float64 else 2e-5  # weights are stored in float32
    for name, atoms in structures():
        if name in reference:
            row = reference[name]
            found = predict(potential, neighbour_graph(atoms, potential.cutoff, dtype=dtype))
            assert abs(float(found.energy[0]) - row["energy"]) < tolerance * len(atoms), name
            assert np.abs(found.forces.numpy() - row["forces"]).max() < tolerance, name
            if "stress" in row:
                assert np.abs(found.stress[0].numpy() - row["stress"]).max() < tolerance, name


def test_universal_is_a_calculator_for_a_crystal_of_three_elements() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64) * (2, 1, 1)
    atoms.symbols[0] = "K"
    atoms.rattle(0.05, seed=0)
    atoms.calc = NBodyCalculator("universal", dtype="float64")
    step, forces = 1e-4, atoms.get_forces()
    atoms.positions[1, 2] += step
    above = atoms.get_potential_energy()
    atoms.positions[1, 2] -= 2 * step
    assert (atoms.get_potential_energy() - above) / (2 * step) == pytest.approx(forces[1, 2], abs=1e-6)


def test_mirror_images_differ_slightly_as_the_card_says() -> None:
    atoms = mixed()
    atoms.symbols[:] = "Si"
    image = atoms.copy()
    image.positions[:, 0] *= -1
    atoms.calc = image.calc = NBodyCalculator("universal", dtype="float64", device="cpu")
    difference = abs(atoms.get_potential_energy() - image.get_potential_energy())
    assert 1e-6 < difference / len(atoms) < 0.005
    assert "mirror images differ slightly" in atoms.calc.information.not_for


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_mean_over_inversion_is_the_same_for_mirror_images(dtype: str) -> None:
    atoms = mixed()
    image = atoms.copy()
    image.set_cell(-atoms.cell[:])
    image.positions *= -1
    one = NBodyCalculator("universal", dtype=dtype, device="cpu")
    mean = NBodyCalculator("universal", dtype=dtype, device="cpu", average_over_inversion=True)
    here, there = (dict(one.calculate_many([a])[0]) for a in (atoms, image))
    found, mirrored = (mean.calculate_many([a])[0] for a in (atoms, image))
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    assert np.abs(here["forces"] + there["forces"]).max() > 1e-4  # it is not invariant by itself
    assert found["energy"] == pytest.approx(0.5 * (here["energy"] + there["energy"]), abs=tolerance)
    assert mirrored["energy"] == pytest.approx(found["energy"], abs=tolerance)
    np.testing.assert_allclose(found["forces"], 0.5 * (here["forces"] - there["forces"]), atol=tolerance)
    np.testing.assert_allclose(mirrored["forces"], -found["forces"], atol=tolerance)
    np.testing.assert_allclose(found["stress"], 0.5 * (here["stress"] + there["stress"]), atol=tolerance)
    np.testing.assert_allclose(mean.get_forces(atoms), found["forces"], atol=tolerance)


def test_forces_and_hessian_of_the_mean_over_inversion_are_derivatives_of_its_energy() -> None:
    # chiral: the mirror image of a planar molecule is the same molecule turned
    atoms = Atoms("CHFClBr", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.8, -0.8, 0.8], [1.0, -1.0, -1.0], [-1.1, 1.1, -1.1]])
    one = NBodyCalculator("universal", device="cpu", outside="ignore")
    calc = NBodyCalculator("universal", device="cpu", average_over_inversion=True, outside="ignore")
    forces, hessian, step = calc.get_forces(atoms), calc.get_hessian(atoms), 1e-4
    assert np.abs(one.get_hessian(atoms) - hessian).max() > 1e-2
    moved = []
    for sign in (1, -1):
        atoms.positions[1, 0] += sign * step
        moved.append((calc.get_potential_energy(atoms), calc.get_forces(atoms)))
        atoms.positions[1, 0] -= sign * step
    (above, forces_above), (below, forces_below) = moved
    assert (below - above) / (2 * step) == pytest.approx(forces[1, 0], abs=1e-5)
    np.testing.assert_allclose((forces_below - forces_above).ravel() / (2 * step), hessian[3], atol=1e-4)


SMALL = {
    "elements": ("H", "O"),
    "cutoff": 3.5,
    "states": ("6x0e", "5x0e+4x1e+2x2e", "3x0e"),
    "parity": False,
    "radial_widths": (7,),
    "bessel_functions": 4,
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"parity": True, "states": ("6x0e", "5x0e+2x0o+4x1o+3x1e+2x2e", "3x0e")},
        {"envelope": "xplor", "envelope_start": 2.8, "biases": True},
        {"unit_vectors": False, "radial_widths": ()},
    ],
    ids=str,
)
def test_compiled_evaluation_is_that_of_autograd(settings: dict[str, object]) -> None:
    chosen = SevenNetSettings(**{**SMALL, **settings})
    network = SevenNetNetwork(chosen, torch.Generator().manual_seed(0)).double()
    if chosen.biases:
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if "bias" in name:
                    parameter.normal_(generator=torch.Generator().manual_seed(1))
    atoms = bulk("O", "fcc", a=3.4, cubic=True)
    atoms.symbols[1] = "H"
    atoms.rattle(0.1, seed=0)
    graph = neighbour_graph(atoms, 4.0, dtype=torch.float64)
    positions = graph.positions.clone().requires_grad_()
    energies = network(type(graph)(**{**graph.__dict__, "positions": positions}))
    (forces,) = torch.autograd.grad(energies.sum(), positions)
    found = network.gradients(graph, Timings())
    assert float(forces.abs().max()) > 1e-3
    torch.testing.assert_close(found.energies, energies.detach(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.positions, forces, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (("6x0e", "4x1e+5x0e", "3x0e"), "states must begin with 0e"),
        (("6x0e", "5x0e+4y1e", "3x0e"), "states must look like '64x0e"),
        (("6x0e+2x1o", "5x0e", "3x0e"), "the first and the last states are invariant"),
    ],
)
def test_states_that_cannot_be(states: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SevenNetSettings(**{**SMALL, "states": states})


# --- checkpoints -----------------------------------------------------------------------------------------------------

CONFIG = {
    "version": "0.11.0",
    "_type_map": {8: 1, 1: 0},
    "cutoff": 4.0,
    "lmax": 1,
    "channel": 4,
    "num_convolution_layer": 2,
    "irreps_manual": False,
    "is_parity": False,
    "interaction_type": "nequip",
    "self_connection_type": "linear",
    "act_radial": "silu",
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 3},
    "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
    "weight_nn_hidden_neurons": [5],
    "_normalize_sph": True,
}
TENSORS = {"0_convolution.denominator": torch.tensor([3.0]), "edge_embedding.basis_function.coeffs": torch.ones(3)}


def test_settings_of_a_checkpoint() -> None:
    settings = network_settings(Checkpoint(CONFIG, TENSORS))
    assert settings.elements == ("H", "O")
    assert settings.states == ("4x0e", "4x0e+4x1e", "4x0e")
    assert settings.average_neighbours == pytest.approx(9.0)
    assert settings.unit_vectors and settings.envelope_power == 6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"is_parity": True}, "the model has is_parity = True; ase_nbody can take over False only"),
        ({"self_connection_type": "nequip"}, "self_connection_type = nequip; ase_nbody can take over linear only"),
        ({"radial_basis": {"radial_basis_name": "gaussian"}}, r"radial basis gaussian; .* bessel only"),
        ({"lmax": 5}, "degree 5; ase_nbody goes to 4"),
        (
            {"use_modality": True, "_modal_map": {"R2SCAN": 0, "PBE": 1}},
            "the modalities R2SCAN, PBE: choose one of them, by --modality",
        ),
    ],
)
def test_checkpoints_that_are_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        imported_potential(Checkpoint({**CONFIG, **change}, TENSORS))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Touches:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "touched",)

    torch.save({"config": CONFIG, "model_state_dict": {"x": Touches()}}, tmp_path / "bad.pth", pickle_module=pickle)
    with pytest.raises(
        ValueError, match=r"bad.pth is not a checkpoint of sevenn .* plain values only, .*: it has getattr in it$"
    ):
        read_checkpoint(tmp_path / "bad.pth")
    assert not (tmp_path / "touched").exists()
    (tmp_path / "text.pth").write_text("6\nProperties=species:S:1\n")
    with pytest.raises(ValueError, match=r"text.pth is not a checkpoint of sevenn .* as the published ones do$"):
        read_checkpoint(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError, match="give a checkpoint"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"text.pth is not a checkpoint of sevenn"):
        read_checkpoint(tmp_path / "text.pth")


PEERS = [
    {"is_sorted": True, "modalities": 0, "unit_vectors": True, "xplor": False},
    {"is_sorted": False, "modalities": 0, "unit_vectors": False, "xplor": True},
    {"is_sorted": False, "modalities": 2, "unit_vectors": True, "xplor": True},
]


@pytest.mark.parametrize("kind", PEERS, ids=str)
def test_an_imported_checkpoint_is_the_network_made_of_e3nns_modules(kind: dict[str, object], tmp_path: Path) -> None:
    peer = SevenNetPeer(**kind)
    torch.save(peer.checkpoint, tmp_path / "theirs.pth")
    modality = f"M{peer.modalities - 1}" if peer.modalities else None
    potential = imported_potential(read_checkpoint(tmp_path / "theirs.pth"), modality)
    graph = neighbour_graph(mixed(), CUTOFF, dtype=torch.float64)
    positions = graph.positions.clone().requires_grad_()
    energy = peer.energy(replace(graph, positions=positions))
    (gradient,) = torch.autograd.grad(energy, positions)
    assert float(gradient.abs().max()) > 1e-2
    for differentiable, tolerance in ((True, 1e-10), (False, 1e-7)):
        found = predict(potential, graph, differentiable=differentiable)
        assert float(found.energy[0].detach()) == pytest.approx(float(energy.detach()), abs=1e-8)
        torch.testing.assert_close(found.forces.detach(), -gradient, rtol=0, atol=tolerance)


def test_the_command_imports_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = SevenNetPeer(**PEERS[2])
    theirs, ours = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    torch.save(peer.checkpoint, theirs)
    for wrong, sentence in (
        ([], "the model has the modalities M0, M1: choose one of them, by --modality"),
        (["--modality", "M7"], "choose one of them, not 'M7'"),
        (["--modality", "M1", "--python", "python"], "checkpoints of sevenn are read without sevenn"),
    ):
        status, _, error = run_command(monkeypatch, capsys, "import", "sevennet", theirs, "--output", ours, *wrong)
        assert status != 0 and sentence in " ".join(error.split()) and not ours.exists()
    status, out, _ = run_command(
        monkeypatch, capsys, "import", "sevennet", theirs, "--output", ours, "--modality", "M1"
    )
    assert status == 0 and "sevenn 0.9.1" in out
    atoms = mixed()
    atoms.calc = NBodyCalculator(ours, device="cpu")
    graph = neighbour_graph(atoms, CUTOFF, dtype=torch.float64)
    assert atoms.get_potential_energy() == pytest.approx(
        float(peer.energy(graph).detach()), abs=1e-4
    )  # float32 in the file
