"""A potential from a model of the package `mace-torch`: its own environment opens the file, arrays come from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ase_nbody.architectures.mace import MaceNetwork
from ase_nbody.architectures.mace_settings import MaceSettings
from ase_nbody.importers import e3nn_export, mace_export, mace_export_layers
from ase_nbody.importers.exported import Exported, check, run_export
from ase_nbody.importers.mace_weights import copy_weights
from ase_nbody.potential import Potential


def exported_model(path: Path, python: Path, head: str | None = None) -> Exported:
    """A model opened by mace in its own environment, as arrays.

    Args:
        path: of a file that mace saved, as the published ones.
        python: interpreter of the environment.
        head: level of theory of a model that has several.

    Raises:
        FileNotFoundError: there is no such file or interpreter.
        ValueError: mace is not there, is of another version, or has a model that ase_nbody cannot have.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a model (.model) of mace")
    modules = (mace_export, mace_export_layers, e3nn_export)
    return run_export(modules, path, python, f"mace-torch {mace_export.SUPPORTED}x", head or "")


def imported_potential(exported: Exported) -> Potential:
    """The same potential in our own architecture, in float64; energies of isolated atoms become reference energies.

    Raises:
        ValueError: the model has something that ase_nbody has not, or the two do not agree.
    """
    arrays, settings = exported.arrays, network_settings(exported)
    network = MaceNetwork(settings, torch.Generator().manual_seed(0)).double()
    scale, shift = float(arrays["scale"]), float(arrays["shift"])
    with torch.no_grad():
        constant = copy_weights(network, exported)
        weights = network.step_weights()
        isolated = -weights.vectors["isolated"][:, 0]
        references = torch.from_numpy(arrays["references"]).double() + shift + scale * (isolated + constant)
    potential = Potential(network, dict(zip(settings.elements, references.tolist(), strict=True)), scale)
    check(potential, exported)
    return potential


def network_settings(exported: Exported) -> MaceSettings:
    """Settings that give the model's states.

    Raises:
        ValueError: there are none.
    """
    described = exported.description
    first, *others = described["layers"]
    kinds = {layer["kind"] for layer in others} or {first["kind"]}
    correlations = {layer["correlation"] for layer in described["layers"]}
    if len(kinds) > 1 or len(correlations) > 1:
        raise ValueError(
            f"the model's layers differ (interactions {sorted(kinds)}, correlations {sorted(correlations)}); those of "
            "mace in ase_nbody are alike but for the first"
        )
    hidden = [exported.arrays[f"layer0.radial.{n}"].shape[1] for n in range(first["radial"] - 1)]
    same = ("cutoff", "bessel_functions", "envelope_power", "envelope_of_weights", "distance_transform", "repulsion")
    values: dict[str, Any] = {name: described[name] for name in (*same, "readout_width", "readout_depth")}
    return MaceSettings(
        **values,
        elements=tuple(described["elements"]),
        average_neighbours=first["average_neighbours"],
        states=_text(first["states"]) if others else _text(first["features"][:1]),
        edge_states=tuple(_text(layer["senders"]) for layer in described["layers"]),
        layers=len(described["layers"]),
        max_degree=len(first["features"]) - 1,
        correlation=correlations.pop(),
        first_interaction=first["kind"],
        interaction=kinds.pop(),
        contraction_by_element=len(exported.arrays["layer0.weights.0e.1"]) > 1 or len(described["elements"]) == 1,
        radial_widths=tuple(hidden),
        readout_of_all_layers=bool(described["linear_readouts"]) or len(described["layers"]) == 1,
    )


def _text(listed: list[tuple[str, int]]) -> str:
    return "+".join(f"{count}x{irrep}" for irrep, count in listed)
