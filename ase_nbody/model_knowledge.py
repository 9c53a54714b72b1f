"""Tensors that a model file keeps beside the weights: what training left open, and what surroundings it covered."""

from __future__ import annotations

import os
from math import prod

import torch
from safetensors import safe_open
from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.known_surroundings import KnownSurroundings
from ase_nbody.model_information import ModelFileError, ModelInformation, read_information
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior

POSTERIOR, SURROUNDINGS = "uncertainty.root", "surroundings.roots"


def stored_dtype(path: str | os.PathLike[str]) -> torch.dtype:
    """Dtype of the weights in a model file.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a model file, or damaged.
    """
    read_information(path)
    with safe_open(path, framework="pt") as file:
        weights = next(name for name in file.keys() if name not in (POSTERIOR, SURROUNDINGS))
        dtype: torch.dtype = file.get_tensor(weights).dtype
    return dtype


def tensors_beside(potential: Potential) -> dict[str, Tensor]:
    """What a potential knows of its training, in float32, by the names in the file."""
    tensors = {}
    if potential.posterior is not None:
        tensors[POSTERIOR] = torch.from_numpy(potential.posterior.root).float().contiguous()
    if potential.surroundings is not None:
        tensors[SURROUNDINGS] = torch.from_numpy(potential.surroundings.roots).float().contiguous()
    return tensors


def taken_knowledge(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], information: ModelInformation, network: Network
) -> tuple[ReadoutPosterior | None, KnownSurroundings | None]:
    """The same out of a file's tensors, where they are not left.

    Raises:
        ModelFileError: a tensor is missing or of a wrong shape.
    """
    posterior = surroundings = None
    if information.uncertainty is not None:
        n_readouts = sum(readout.numel() for readout in network.linear_readouts())
        root = _taken(path, tensors, POSTERIOR, (n_readouts, n_readouts))
        posterior = ReadoutPosterior(root.double().numpy(), information.uncertainty)
    if information.surroundings is not None:
        n_features = network.n_invariants
        roots = _taken(path, tensors, SURROUNDINGS, (len(information.surroundings.furthest), n_features, n_features))
        surroundings = KnownSurroundings(roots.double().numpy(), information.surroundings)
    return posterior, surroundings


def _taken(path: str | os.PathLike[str], tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None or tuple(tensor.shape) != shape or not prod(shape):
        there = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
        raise ModelFileError(f"the tensor '{name}' in {path} is {there}, and its settings want {shape}")
    return tensor
