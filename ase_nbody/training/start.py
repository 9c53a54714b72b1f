"""Start: the model that a training begins with in place of random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ase_nbody.model_file import ModelInformation, file_hash, load_model
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential


@dataclass(frozen=True)
class Start:
    """A model whose network, reference energies and energy scale a training takes over.

    Attributes:
        potential: of the model, in the dtype of the training.
        information: header of its file.
        sha256: hash of its file.
    """

    potential: Potential
    information: ModelInformation
    sha256: str

    def to_json_dict(self) -> dict[str, Any]:
        """Name, hash and data of the model as JSON values, for the file of the model that is trained from it."""
        files = [file.model_dump(mode="json") for file in self.information.data]
        return {"name": self.information.name, "sha256": self.sha256, "data": files}


def read_start(name_or_path: str, dtype: torch.dtype) -> Start:
    """The start of a training.

    Args:
        name_or_path: shipped model or model file.
        dtype: of the network during training.

    Raises:
        ValueError: no shipped model has this name, or the file is no model.
        FileNotFoundError: there is no such file.
    """
    path = find_model(name_or_path)
    potential, information = load_model(path, dtype=dtype)
    return Start(potential, information, file_hash(path))
