"""Tensors that a model file keeps beside the weights: what training left open, and what surroundings it covered."""

from __future__ import annotations

import os
from math import prod

import torch
from torch import Tensor

from ase_nbody.architectures.base import Network
from ase_nbody.environments import Environments
from ase_nbody.model_information import ModelFileError, ModelInformation
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior

POSTERIOR, ENVIRONMENTS = "uncertainty.root", "environments.roots"


def tensors_beside(potential: Potential) -> dict[str, Tensor]:
    """What a potential knows of its training, in float32, by the names in the file."""
    tensors = {}
    if potential.posterior is not None:
        tensors[POSTERIOR] = torch.from_numpy(potential.posterior.root).float().contiguous()
    if potential.environments is not None:
        tensors[ENVIRONMENTS] = torch.from_numpy(potential.environments.roots).float().contiguous()
    return tensors


def taken_knowledge(
    path: str | os.PathLike[str], tensors: dict[str, Tensor], information: ModelInformation, network: Network
) -> tuple[ReadoutPosterior | None, Environments | None]:
    """The same out of a file's tensors, where they are not left.

    Raises:
        ModelFileError: a tensor is missing or of a wrong shape.
    """
    posterior = environments = None
    if information.uncertainty is not None:
        n_readouts = sum(readout.numel() for readout in network.linear_readouts())
        root = _taken(path, tensors, POSTERIOR, (n_readouts, n_readouts))
        posterior = ReadoutPosterior(root.double().numpy(), information.uncertainty)
    if information.environments is not None:
        n_features = network.n_invariants
        roots = _taken(path, tensors, ENVIRONMENTS, (len(information.elements), n_features, n_features))
        environments = Environments(roots.double().numpy(), information.environments)
    return posterior, environments


def _taken(path: str | os.PathLike[str], tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors.pop(name, None)
    if tensor is None or tuple(tensor.shape) != shape or not prod(shape):
        there = "missing" if tensor is None else f"of shape {tuple(tensor.shape)}"
        raise ModelFileError(f"the tensor '{name}' in {path} is {there}, and its settings want {shape}")
    return tensor
