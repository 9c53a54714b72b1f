"""A potential from a model of the package `nequip`: its own environment opens the file, tensors are read from there."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.architectures.nequip import NequipNetwork
from ase_nbody.architectures.nequip_settings import NequipSettings, state_irreps
from ase_nbody.cli import nequip_export
from ase_nbody.cli.nequip_weights import copy_weights
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict

ACCURACY = {"float64": 1e-8, "float32": 1e-4}  # largest relative difference from the model's own predictions


@dataclass(frozen=True)
class Exported:
    """What nequip_export.py wrote.

    Attributes:
        description: its JSON.
        arrays: all arrays by name.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def exported_model(path: Path, python: Path) -> Exported:
    """A model opened by nequip in its own environment, as arrays.

    Args:
        path: checkpoint or package of nequip.
        python: interpreter of the environment.

    Raises:
        FileNotFoundError: there is no such file or interpreter.
        ValueError: nequip is not there, is of another version, or has a model that ase_nbody cannot have.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a checkpoint or a package (.nequip.zip) of nequip")
    if not python.is_file():
        raise FileNotFoundError(
            f"there is no Python interpreter {python}; give that of an environment with nequip "
            f"{nequip_export.SUPPORTED}x, such as FOLDER/bin/python"
        )
    source = Path(nequip_export.__file__).read_text()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model.npz"
        command = [str(python.absolute()), "-c", source, str(path.absolute()), str(target)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"it stopped with status {done.returncode}"])[-1]
            hint = f"({python} must have nequip {nequip_export.SUPPORTED}x, and the file be one of nequip's)"
            told = last if done.returncode == nequip_export.REFUSED else f"it could not be opened: {last} {hint}"
            raise ValueError(f"{path} is not imported: {told}")
        return read_exported(target)


def read_exported(path: Path) -> Exported:
    """The arrays of a file that nequip_export.py wrote; nothing in it is run."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Exported(json.loads(str(arrays["description"])), arrays)


def imported_potential(exported: Exported) -> Potential:
    """The same potential in our own architecture; energy shifts of types become reference energies.

    Raises:
        ValueError: the model has irreps that ase_nbody's NequIP has not, or the two do not agree.
    """
    settings = network_settings(exported)
    network = NequipNetwork(settings, torch.Generator().manual_seed(0)).double()
    scales = exported.arrays["energy_scales"].astype(np.float64)
    overall = float(np.abs(scales).mean()) or 1.0
    with torch.no_grad():
        network.neighbour_scales.copy_(torch.as_tensor(exported.arrays["neighbour_scales"]))
        network.energy_scales.copy_(torch.as_tensor(scales / overall))
        copy_weights(network, exported.description, exported.arrays)
    shifts = exported.arrays["energy_shifts"].tolist()
    potential = Potential(network, dict(zip(settings.elements, shifts, strict=True)), overall)
    check(potential, exported)
    return potential


def network_settings(exported: Exported) -> NequipSettings:
    """Settings that give the model's irreps.

    Raises:
        ValueError: there are none.
    """
    described, arrays = exported.description, exported.arrays
    layers = described["layers"]
    made = [mul for layer in layers for part in ("scalars", "gated") for _, mul in layer[part]]
    values: dict[str, Any] = {
        "elements": tuple(described["type_names"]),
        "cutoff": described["cutoff"],
        "average_neighbours": float((arrays["neighbour_scales"].astype(np.float64) ** -2).mean()),
        "layers": len(layers),
        "max_degree": round(arrays["harmonics"].shape[1] ** 0.5) - 1,
        "channels": max(made),
        "embedding_channels": arrays["embedding"].shape[1],
        "radial_depth": layers[0]["radial"]["matrices"] - 1,
        "radial_width": _hidden_width(arrays, "layer0.radial", layers[0]["radial"], 1),
        "bessel_functions": described["bessel_functions"],
        "envelope_power": int(described["envelope_power"]),
        "readout_depth": described["readout"]["matrices"] - 1,
        "readout_width": _hidden_width(arrays, "readout", described["readout"], None),
        "readout_activation": described["readout"]["activation"],
    }
    wanted = [{irrep for irrep, _ in layer["states"]} for layer in layers]
    for parity in (False, True):
        settings = NequipSettings(**values, parity=parity)
        if [{str(i) for i in irreps} for irreps in state_irreps(settings)[:-1]] == wanted:
            return _checked(settings, described)
    shown = "; ".join("+".join(sorted(irreps)) for irreps in wanted)
    raise ValueError(f"the model's layers have irreps ({shown}) that no setting of nequip in ase_nbody gives")


def _hidden_width(arrays: Mapping[str, NDArray[Any]], name: str, described: Mapping[str, Any], absent: Any) -> Any:
    return arrays[f"{name}.0"].shape[1] if described["matrices"] > 1 else absent


def _checked(settings: NequipSettings, described: Mapping[str, Any]) -> NequipSettings:
    depths = {layer["radial"]["matrices"] - 1 for layer in described["layers"]}
    if depths != {settings.radial_depth}:
        raise ValueError(f"the model's layers have radial networks of different depths {sorted(depths)}")
    if described["envelope_power"] != settings.envelope_power:
        raise ValueError(f"the model's envelope has power {described['envelope_power']}; ase_nbody has whole ones only")
    return settings


def check(potential: Potential, exported: Exported) -> None:
    """Compare with the model's own predictions.

    Raises:
        ValueError: they differ.
    """
    allowed = ACCURACY[exported.description["dtype"]]
    for number in range(exported.description["n_structures"]):
        found = differences(potential, exported, number)
        if not max(found.values()) < allowed:
            shown = ", ".join(f"{name} by {value:.1e}" for name, value in found.items())
            raise ValueError(
                f"the imported model differs from the original ({shown}, relative); "
                "nothing is written, please report this with the model's settings"
            )


def largest_difference(potential: Potential, exported: Exported) -> float:
    """Of all structures and parts of `differences`."""
    structures = range(exported.description["n_structures"])
    return max(value for number in structures for value in differences(potential, exported, number).values())


def differences(potential: Potential, exported: Exported, number: int) -> dict[str, float]:
    """Largest differences of energy, forces and stress from the original's for a structure, relative to its largest.

    The energy is compared with that of the interaction: reference energies are taken off.
    """
    parts = {
        name: exported.arrays.get(f"structure{number}.{name}")
        for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress")
    }
    atoms = Atoms(parts["numbers"], positions=parts["positions"], cell=parts["cell"], pbc=parts["pbc"])
    ours = predict(potential, neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype))
    assert parts["energy"] is not None and parts["forces"] is not None
    references = sum(potential.reference_energies[symbol] for symbol in atoms.symbols)
    found = {
        "energy": _relative([float(ours.energy[0]) - references], parts["energy"].astype(np.float64) - references),
        "forces": _relative(ours.forces.numpy(), parts["forces"]),
    }
    if parts["stress"] is not None:
        found["stress"] = _relative(ours.stress[0].numpy(), parts["stress"])
    return found


def _relative(ours: Sequence[float] | NDArray[Any], theirs: NDArray[Any]) -> float:
    largest = float(np.abs(theirs).max()) or 1.0
    return float(np.abs(np.asarray(ours) - theirs).max()) / largest
