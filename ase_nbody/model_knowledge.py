"""Tensors that a model file keeps beside the weights: what training left open, and what surroundings it covered."""

from __future__ import annotations

import os
from math import prod
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.known_surroundings import KnownSurroundings
from ase_nbody.model_information import ModelFileError, ModelInformation, read_information
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior

POSTERIOR, SURROUNDINGS = "uncertainty.root", "surroundings.roots"
"""Names of tensors; that of the posterior at a level of theory after the first ends in the number of the level."""


def stored_dtype(path: str | os.PathLike[str]) -> torch.dtype:
    """Dtype of the weights in a model file.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a model file, or damaged.
    """
    read_information(path)
    with safe_open(path, framework="pt") as file:
        weights = next(name for name in file.keys() if not name.startswith((POSTERIOR, SURROUNDINGS)))
        dtype: torch.dtype = file.get_tensor(weights).dtype
    return dtype


def tensors_beside(potential: Potential) -> dict[str, Tensor]:
    """What a potential knows of its training, in float32, by the names in the file."""
    tensors = {
        _posterior_name(number): torch.from_numpy(posterior.root).float().contiguous()
        for number, posterior in enumerate(potential.posteriors)
        if posterior is not None
    }
    if potential.surroundings is not None:
        tensors[SURROUNDINGS] = torch.from_numpy(potential.surroundings.roots).float().contiguous()
    return tensors


def knowledge_records(potential: Potential) -> dict[str, Any]:
    """The same as fields of ModelInformation."""
    return {
        "uncertainties": tuple(None if known is None else known.record for known in potential.posteriors),
        "surroundings": None if potential.surroundings is None else potential.surroundings.record,
    }


def taken_knowledge(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], information: ModelInformation, network: Network
) -> tuple[tuple[ReadoutPosterior | None, ...], KnownSurroundings | None]:
    """The same out of a file's tensors, where they are not left: posteriors by level of theory, and surroundings.

    Raises:
        ModelFileError: a tensor is missing or of a wrong shape.
    """
    n_readouts = sum(readout.numel() for readout in network.linear_readouts())
    posteriors: list[ReadoutPosterior | None] = []
    for number, record in enumerate(information.uncertainties):
        if record is None:
            posteriors.append(None)
            continue
        root = _taken(path, tensors, _posterior_name(number), (n_readouts, n_readouts))
        posteriors.append(ReadoutPosterior(root.double().numpy(), record))
    surroundings = None
    if information.surroundings is not None:
        n_features = network.n_invariants
        roots = _taken(path, tensors, SURROUNDINGS, (len(information.surroundings.furthest), n_features, n_features))
        surroundings = KnownSurroundings(roots.double().numpy(), information.surroundings)
    return tuple(posteriors), surroundings


def _posterior_name(level: int) -> str:
    return f"{POSTERIOR}.{level}" if level else POSTERIOR


def _taken(path: str | os.PathLike[str], tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None or tuple(tensor.shape) != shape or not prod(shape):
        there = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
        raise ModelFileError(f"the tensor '{name}' in {path} is {there}, and its settings want {shape}")
    return tensor
