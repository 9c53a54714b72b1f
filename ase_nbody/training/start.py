"""Start: the model that a training begins with in place of random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ase_nbody.model_file import ModelInformation, file_hash, load_model, load_model_with_levels
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

    def reference_energies(self, level: str) -> tuple[Mapping[str, float], str] | None:
        """Reference energies for labels of a level of theory, and where they come from; None: the model has none.

        Args:
            level: name of the level; "": all labels are of one level, whatever its name.
        """
        own = self.information
        for known in own.levels:
            if known.name == level:
                return known.reference_energies, known.reference_energies_source
        if level in ("", own.method):
            return own.reference_energies, own.reference_energies_source
        return None

    def to_json_dict(self) -> dict[str, Any]:
        """Name, hash and data of the model as JSON values, for the file of the model that is trained from it."""
        files = [file.model_dump(mode="json") for file in self.information.data]
        return {"name": self.information.name, "sha256": self.sha256, "data": files}


def read_start(name_or_path: str, dtype: torch.dtype, level: str | None = None) -> Start:
    """The start of a training.

    Args:
        name_or_path: shipped model or model file.
        dtype: of the network during training.
        level: one of its levels of theory; its first if not given.

    Raises:
        ValueError: no shipped model has this name, the file is no model, or it has no such level.
        FileNotFoundError: there is no such file.
    """
    path = find_model(name_or_path)
    return Start(*load_model(path, dtype=dtype, level=level), file_hash(path))


def read_start_with_levels(name_or_path: str, dtype: torch.dtype) -> Start:
    """As `read_start`, with all levels of theory."""
    path = find_model(name_or_path)
    return Start(*load_model_with_levels(path, dtype=dtype), file_hash(path))
