"""A potential from a checkpoint of the package `sevenn`. Only tensors and plain values are read; no code is run."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from ase_nbody.architectures.sevennet import SevenNetNetwork
from ase_nbody.architectures.sevennet_layers import SevenNetSettings
from ase_nbody.importers.sevennet_weights import copy_weights
from ase_nbody.potential import Potential
from ase_nbody.steps.state_irreps import parse_state_irreps

_OLD_WORDS = ("convolution", "self interaction 2", "self connection intro", "equivariant gate")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        config: settings of the model.
        tensors: by the names that sevenn 0.13 gives them.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def version(self) -> tuple[int, ...]:
        """Of sevenn, which wrote it."""
        return tuple(int(part) for part in str(self.config["version"]).split(".")[:3] if part.isdigit())


def read_checkpoint(path: Path) -> Checkpoint:
    """Settings and tensors of a checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint of sevenn, or has more in it than tensors and plain values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a checkpoint (.pth) of sevenn")
    try:
        with torch.serialization.safe_globals(_plain_types()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))  # the rest of torch's words is advice to run what the file brings
        raise ValueError(
            f"{path} is not a checkpoint of sevenn that holds tensors and plain values only, as the published ones do"
            + (f": it has {code[1]} in it" if code else "")
        ) from error
    if not isinstance(found, dict) or "config" not in found or "model_state_dict" not in found:
        raise ValueError(f"{path} is not a checkpoint of sevenn: it has no config and model_state_dict")
    return Checkpoint(found["config"], {_new_name(name): t for name, t in found["model_state_dict"].items()})


def _plain_types() -> list[Any]:
    """What is read besides tensors: numpy's arrays of numbers, which old checkpoints have in their settings."""
    multiarray = np._core.multiarray if hasattr(np, "_core") else np.core.multiarray  # type: ignore[attr-defined]
    numbers = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")]
    functions = [(multiarray._reconstruct, "numpy.core.multiarray._reconstruct"), (codecs.encode, "_codecs.encode")]
    scalar = (multiarray.scalar, "numpy.core.multiarray.scalar")
    return [*functions, scalar, multiarray._reconstruct, multiarray.scalar, np.ndarray, np.dtype, *numbers]


def _new_name(name: str) -> str:
    """The name of a tensor since sevenn 0.10."""
    module, _, rest = name.partition(".")
    old = {"EdgeEmbedding": "edge_embedding", "rescale atomic energy": "rescale_atomic_energy"}
    if any(word in module for word in _OLD_WORDS) or module in (
        "reducing nn input to hidden",
        "reducing nn hidden to energy",
    ):
        module = module.replace(" ", "_")
    renamed = {
        "reducing_nn_input_to_hidden": "reduce_input_to_hidden",
        "reducing_nn_hidden_to_energy": "reduce_hidden_to_energy",
    }
    module = renamed.get(module, old.get(module, module))
    return f"{module}.{rest.replace('denumerator', 'denominator')}"


def imported_potential(checkpoint: Checkpoint, modality: str | None = None) -> Potential:
    """The same potential in our own architecture, in float64; energies of isolated atoms become reference energies.

    Args:
        checkpoint: of the model.
        modality: level of theory of a model that has several.

    Raises:
        ValueError: the model has something that ase_nbody has not, or the modality is unknown.
    """
    _refuse_what_is_not_there(checkpoint.config)
    number = _number_of_modality(checkpoint.config, modality)
    settings = network_settings(checkpoint)
    network = SevenNetNetwork(settings, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        shifts, scales = _shifts_and_scales(checkpoint, len(settings.elements), number)
        overall = float(scales.abs().mean()) or 1.0
        network.energy_scales.copy_(scales / overall)
        shift = copy_weights(network, checkpoint.config, checkpoint.tensors, checkpoint.version, number)
        isolated = -network.step_weights().vectors["isolated"][:, 0]
        references = shifts + overall * (isolated + network.energy_scales * shift)
    return Potential(network, dict(zip(settings.elements, references.tolist(), strict=True)), overall)


def network_settings(checkpoint: Checkpoint) -> SevenNetSettings:
    """Settings that give the model's states.

    Raises:
        ValueError: there are none.
    """
    config, tensors = checkpoint.config, checkpoint.tensors
    envelope = config["cutoff_function"]
    values: dict[str, Any] = {
        "elements": _elements(config),
        "cutoff": float(config["cutoff"]),
        "average_neighbours": float(tensors["0_convolution.denominator"][0]) ** 2,
        "states": _states(config),
        "max_degree": _max_degree(config),
        "parity": bool(config["is_parity"]),
        "unit_vectors": bool(config.get("_normalize_sph", False)),
        "bessel_functions": len(tensors["edge_embedding.basis_function.coeffs"]),
        "radial_widths": tuple(config["weight_nn_hidden_neurons"]),
        "biases": bool(config.get("use_modality", False)),
    }
    if envelope["cutoff_function_name"] == "XPLOR":
        values |= {"envelope": "xplor", "envelope_start": float(envelope["cutoff_on"])}
    else:
        values["envelope_power"] = int(envelope["poly_cut_p_value"])
    return SevenNetSettings(**values)


def _elements(config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(chemical_symbols[n] for n, _ in sorted(config["_type_map"].items(), key=lambda item: item[1]))


def _max_degree(config: Mapping[str, Any]) -> int:
    return int(config["lmax_edge"]) if int(config.get("lmax_edge", -1)) > 0 else int(config["lmax"])


def _states(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Irreps of all states: those given, or equal channels up to the largest degree."""
    if config["irreps_manual"]:
        return tuple("+".join(text.replace(" ", "").split("+")) for text in map(str, config["irreps_manual"]))
    layers, channels = int(config["num_convolution_layer"]), int(config["channel"])
    largest = int(config["lmax_node"]) if int(config.get("lmax_node", -1)) > 0 else int(config["lmax"])
    scalars = f"{channels}x0e"
    between = "+".join(f"{channels}x{degree}e" for degree in range(largest + 1))
    return (scalars, *(between,) * (layers - 1), scalars)


def _refuse_what_is_not_there(config: Mapping[str, Any]) -> None:
    """Named errors for settings that our architecture has not."""
    allowed: dict[str, tuple[Any, ...]] = {
        "interaction_type": ("nequip",),
        "is_parity": (False,),
        "self_connection_type": ("linear", ["linear"] * int(config["num_convolution_layer"])),
        "readout_as_fcn": (False,),
        "act_radial": ("silu",),
        "use_bias_in_linear": (False,),
        "act_scalar": ({"e": "silu", "o": "tanh"},),
        "act_gate": ({"e": "silu", "o": "tanh"},),
        "use_modal_node_embedding": (False,),
    }
    for name, values in allowed.items():
        if name in config and config[name] not in values:
            raise ValueError(f"the model has {name} = {config[name]}; ase_nbody can take over {values[0]} only")
    basis = config["radial_basis"]["radial_basis_name"]
    if basis != "bessel":
        raise ValueError(f"the model has the radial basis {basis}; ase_nbody can take over bessel only")
    widest = max(block.irrep.degree for text in _states(config) for block in parse_state_irreps(text))
    if max(widest, _max_degree(config)) > 4:
        raise ValueError(f"the model has states or harmonics of degree {widest}; ase_nbody goes to 4")


def _number_of_modality(config: Mapping[str, Any], modality: str | None) -> int | None:
    """Place of a modality among those of the model; None where it has none.

    Raises:
        ValueError: it is not there, or none was chosen where one must be.
    """
    known = dict(config.get("_modal_map") or {}) if config.get("use_modality") else {}
    if not known:
        if modality is not None:
            raise ValueError(f"the model has no modalities: leave '{modality}' out")
        return None
    if modality not in known:
        came = f"not '{modality}'" if modality else "by --modality"
        raise ValueError(f"the model has the modalities {', '.join(known)}: choose one of them, {came}")
    return int(known[modality])


def _shifts_and_scales(checkpoint: Checkpoint, n_types: int, number: int | None) -> tuple[Tensor, Tensor]:
    """Shift and scale of the energy of each element, (T,) both, eV."""
    found = []
    for name in ("shift", "scale"):
        values = checkpoint.tensors[f"rescale_atomic_energy.{name}"].double()
        if values.ndim == 2:
            values = values[0 if number is None else number]
        found.append(values.flatten().expand(n_types) if values.numel() == 1 else values)
    return found[0], found[1]
