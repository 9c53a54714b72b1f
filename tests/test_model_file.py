"""Model files: what is saved is loaded, nothing is overwritten, and every damaged or foreign file is named."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from safetensors.torch import load_file, save_file
from toy_network import ARCHITECTURE, toy_potential

import ase_nbody.architectures
from ase_nbody import models_directory
from ase_nbody.model_file import (
    DataFile,
    Envelope,
    ModelFileError,
    file_hash,
    load_model,
    model_information,
    read_information,
    save_model,
)
from ase_nbody.model_information import FORMAT_VERSION, HEADER_KEY, UPGRADES
from ase_nbody.models_directory import find_model, list_models
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.repulsion import Repulsion

REAL = ase_nbody.architectures.architectures()


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    monkeypatch.setattr(ase_nbody.architectures, "architectures", lambda: {"toy": ARCHITECTURE})


@pytest.fixture
def potential():
    return toy_potential()


@pytest.fixture
def information(potential):
    return model_information(
        potential,
        name="test",
        reference_energies_source="given",
        method="PBE/def2-SVP",
        licence="CC0",
        data=[DataFile(name="a.xyz", sha256="0" * 64, role="train", n_structures=3)],
        errors={"valid": {"forces_mae_mev_per_angstrom": 12.5}},
        envelope=Envelope(closest_distances={"C-H": 1.0}, force_max=5.0, energy_per_atom_range=(-2.0, -1.0)),
        training={"settings": {"seed": 0}, "seconds": 3.5, "command": "nbody train"},
    )


@pytest.fixture
def saved(tmp_path, potential, information):
    return save_model(tmp_path / "test.safetensors", potential, information)


def rewrite(path: Path, tensors=None, **header) -> Path:
    """The same file with other tensors or other fields in its header."""
    old = json.loads(read_information(path).model_dump_json())
    save_file(tensors or load_file(path), path, metadata={HEADER_KEY: json.dumps({**old, **header})})
    return path


def test_a_loaded_model_is_the_saved_one(saved, potential, information):
    loaded, found = load_model(saved)
    assert found == information == read_information(saved)
    assert loaded.reference_energies == potential.reference_energies
    graph = neighbour_graph(molecule("CH3OH"), potential.cutoff)
    before, after = predict(potential, graph), predict(loaded, graph)
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.forces, after.forces)


@pytest.mark.parametrize("name", list(REAL))
def test_every_architecture_is_saved_and_loaded(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ase_nbody.architectures, "architectures", lambda: REAL)
    architecture = REAL[name]
    settings = architecture.settings(elements=("H", "C", "O"), **architecture.presets["small"])
    network = architecture.network(settings, generator=torch.Generator().manual_seed(0))
    potential = Potential(network, {"H": -1.0, "C": -2.0, "O": -3.0}, energy_scale=0.5)
    about = model_information(potential, name="a", reference_energies_source="given")
    path = save_model(tmp_path / "a.safetensors", potential, about)
    loaded, _ = load_model(path, dtype=potential.dtype)
    graph = neighbour_graph(molecule("CH3OH"), potential.cutoff, dtype=potential.dtype)
    before, after = predict(potential, graph), predict(loaded, graph)
    assert torch.equal(before.energy, after.energy)
    assert torch.equal(before.forces, after.forces)


def test_information_says_what_made_the_model(information):
    assert set(information.made_with) == {"ase_nbody", "python", "torch", "numpy", "e3nn"}
    assert information.cutoff == 4.0
    assert information.units == {"energy": "eV", "length": "angstrom"}
    assert information.created is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_keep_the_dtype_of_training_and_load_in_any(tmp_path, potential, information, dtype):
    potential.network.to(dtype)
    path = save_model(tmp_path / "a.safetensors", potential, information)
    assert load_file(path)["weights"].dtype == dtype
    assert load_model(path)[0].dtype == torch.float64
    assert load_model(path, dtype=torch.float32)[0].dtype == torch.float32
    assert torch.equal(load_model(path)[0].network.weights, potential.network.weights.double())


def test_nothing_is_overwritten_without_force(saved, potential, information):
    before = saved.read_bytes()
    with pytest.raises(FileExistsError, match="force"):
        save_model(saved, potential, information)
    assert saved.read_bytes() == before
    with torch.no_grad():
        potential.network.weights.add_(1.0)
    save_model(saved, potential, information, force=True)
    assert saved.read_bytes() != before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_failed_save_leaves_the_old_file_and_no_other(saved, potential, information, monkeypatch):
    before = saved.read_bytes()

    def full_disk(path, content):
        with open(path, "wb") as file:
            file.write(content[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(saved, potential, information, force=True)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_file_can_be_read_by_others(saved, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode


def test_refused_names_and_folders(tmp_path, potential, information):
    with pytest.raises(ValueError, match=r"ends in '\.safetensors', not in '\.pt'"):
        save_model(tmp_path / "model.pt", potential, information)
    with pytest.raises(FileNotFoundError, match="no folder"):
        save_model(tmp_path / "absent" / "a.safetensors", potential, information)


def test_information_of_another_potential_is_refused(tmp_path, information):
    with pytest.raises(ValueError, match="settings, elements, reference_energies differ"):
        save_model(tmp_path / "a.safetensors", toy_potential(("H", "C")), information)


def test_information_needs_a_registered_architecture(potential, monkeypatch):
    monkeypatch.setattr(ase_nbody.architectures, "architectures", dict)
    with pytest.raises(ValueError, match="ToyNetwork is no registered architecture"):
        model_information(potential, name="a", reference_energies_source="given")


def zip_file(path):
    torch.save({"a": torch.zeros(1)}, path)


def pickle_file(path):
    path.write_bytes(pickle.dumps({"a": 1}))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: None, "there is no model file"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.touch(), "is empty"),
        (lambda p: p.write_text("2\ncomment\nH 0 0 0\nH 0 0 1\n"), "looks like text"),
        (lambda p: p.write_text("H"), "looks like text"),
        (zip_file, "zip archive, such as torch.save writes; pickled models are never loaded"),
        (pickle_file, "a pickle"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(20)), "HDF5"),
        (lambda p: p.write_bytes(bytes(range(255, 0, -1))), "binary data of another kind"),
        (lambda p: save_file({"a": torch.zeros(2)}, p), "not a model of ase_nbody.*no metadata"),
        (lambda p: save_file({"a": torch.zeros(2)}, p, metadata={"format": "pt"}), r"not a model.*\['format'\]"),
    ],
)
def test_files_that_are_no_models_are_named(tmp_path, write, message):
    path = tmp_path / "a.safetensors"
    write(path)
    for read in (read_information, load_model):
        with pytest.raises((FileNotFoundError, ModelFileError), match=message):
            read(path)


@pytest.mark.parametrize("kept", [4, 8, 12, 200, -1])
def test_truncated_files_are_named(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"truncated or damaged|not a safetensors file"):
        load_model(saved)


def test_a_flipped_header_is_named(saved):
    content = bytearray(saved.read_bytes())
    content[20] = 0xFF
    saved.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load_model(saved)


@pytest.mark.parametrize("place", ["first tensor", "last tensor", "a number of the header"])
def test_a_flipped_bit_is_found(saved, place):
    content = bytearray(saved.read_bytes())
    header_length = int.from_bytes(content[:8], "little")
    at = {"first tensor": 8 + header_length, "last tensor": len(content) - 1}.get(place)
    if at is None:
        at = content.index(b"energy_scale") + len(b'energy_scale\\":')
        assert chr(content[at]).isdigit()
    content[at] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match=r"is damaged.*checksum"):
        load_model(saved)


def test_files_from_before_checksums_load(saved, potential):
    rewrite(saved, format_version=1)
    loaded, found = load_model(saved)
    assert found.format_version == FORMAT_VERSION
    assert loaded.repulsion is None
    for old, new in zip(potential.network.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_file_of_today_without_its_checksum_is_refused(saved):
    with pytest.raises(ModelFileError, match="checksum"):
        load_model(rewrite(saved))


def test_the_repulsion_is_kept(tmp_path, potential):
    repelling = replace(potential, repulsion=Repulsion({"C-H": 0.9, "H-H": 1.2}))
    information = model_information(repelling, name="repelling", reference_energies_source="a test")
    loaded, found = load_model(save_model(tmp_path / "repelling.safetensors", repelling, information))
    assert found.repulsion == {"C-H": 0.9, "H-H": 1.2}
    assert loaded.repulsion == repelling.repulsion
    with pytest.raises(ValueError, match="repulsion differ"):
        save_model(tmp_path / "other.safetensors", potential, information)


def test_a_newer_format_is_refused(saved):
    rewrite(saved, format_version=FORMAT_VERSION + 1, made_with={"ase_nbody": "9.1"})
    with pytest.raises(ModelFileError, match=rf"format {FORMAT_VERSION + 1}, made with ase_nbody 9\.1.*upgrade"):
        read_information(saved)


def test_older_formats_are_upgraded_step_by_step(saved, monkeypatch):
    rewrite(saved, format_version=1)
    monkeypatch.setattr("ase_nbody.model_information.FORMAT_VERSION", 3)
    monkeypatch.setitem(UPGRADES, 1, lambda header: {**header, "method": "one"})
    monkeypatch.setitem(UPGRADES, 2, lambda header: {**header, "method": header["method"] + " two"})
    found = read_information(saved)
    assert (found.format_version, found.method) == (3, "one two")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format_version": None}, "no format version"),
        ({"reference_energies": "many"}, "damaged.*reference_energies"),
        ({"colour": "red"}, "damaged.*colour"),
        ({"architecture": "schnet"}, r"architecture 'schnet', which is not in this version of ase_nbody \(toy\)"),
        ({"settings": {"elements": ["H"], "depth": 3}}, "settings in .* do not fit"),
    ],
)
def test_headers_that_do_not_fit_are_named(saved, header, message):
    rewrite(saved, **header)
    with pytest.raises(ModelFileError, match=f"(?s){message}"):
        load_model(saved)


def test_a_header_that_is_no_json_is_named(saved):
    save_file(load_file(saved), saved, metadata={HEADER_KEY: "{half"})
    with pytest.raises(ModelFileError, match="damaged"):
        read_information(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"index": t["index"]}, "'weights' is missing"),
        (lambda t: {**t, "bias": torch.zeros(1)}, "'bias' is not part of the network"),
        (lambda t: {**t, "weights": torch.zeros(3, 3, 2)}, r"'weights' has shape \(3, 3, 2\), not \(3, 3, 3\)"),
    ],
)
def test_other_tensors_are_named(saved, change, message):
    rewrite(saved, tensors=change(load_file(saved)))
    with pytest.raises(ModelFileError, match=message):
        load_model(saved)


def test_file_hash(tmp_path):
    path = tmp_path / "abc"
    path.write_text("abc")
    # FIPS 180-2, appendix B.1.
    assert file_hash(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_models_are_found_by_name_and_by_path(saved, monkeypatch):
    monkeypatch.setattr(models_directory, "models_directory", lambda: saved.parent)
    monkeypatch.chdir(saved.parent)
    assert [(m.name, m.path, m.information.method) for m in list_models()] == [("test", saved, "PBE/def2-SVP")]
    assert find_model("test") == find_model(saved) == saved
    assert find_model("test.safetensors").resolve() == saved.resolve()
    Path("old.pt").touch()
    assert find_model("old.pt").resolve() == saved.parent / "old.pt"
    with pytest.raises(ValueError, match=r"no shipped model is called 'water' \(there are: test\)"):
        find_model("water")
    with pytest.raises(FileNotFoundError, match=r"no model file absent/a\.safetensors; shipped models: test"):
        find_model("absent/a.safetensors")


def test_no_models_is_an_empty_list(tmp_path):
    assert list_models(tmp_path) == list_models(tmp_path / "absent") == []


def test_every_shipped_model_has_a_header():
    assert all(m.information.name == m.name for m in list_models())


def test_information_is_read_without_torch(saved):
    script = (
        "import sys; from ase_nbody.model_file import read_information;"
        f"print(read_information({str(saved)!r}).name);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'e3nn', 'llvmlite')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "test\n", "")
