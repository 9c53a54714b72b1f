"""A potential from a model of the package `nequip`: its own environment opens the file, tensors are read from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.architectures.nequip import NequipNetwork
from ase_nbody.architectures.nequip_settings import NequipSettings, state_irreps
from ase_nbody.importers import e3nn_export, nequip_export
from ase_nbody.importers.exported import Exported, check, run_export
from ase_nbody.importers.nequip_weights import copy_weights
from ase_nbody.potential import Potential


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
    return run_export((nequip_export, e3nn_export), path, python, f"nequip {nequip_export.SUPPORTED}x")


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
