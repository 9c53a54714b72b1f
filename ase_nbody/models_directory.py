"""Where models are: those shipped with the package, and files a user names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ase_nbody.model_information import SUFFIX, ModelInformation, read_information


@dataclass(frozen=True)
class ModelEntry:
    """A model file in a folder.

    Attributes:
        name: file name without its suffix, what NBodyCalculator takes.
        path: the file.
        information: its header.
    """

    name: str
    path: Path
    information: ModelInformation


def models_directory() -> Path:
    """The folder of the shipped models: inside an installed package, else beside the package in the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def list_models(directory: str | os.PathLike[str] | None = None) -> list[ModelEntry]:
    """The models in a folder, by name.

    Args:
        directory: folder to look in; the shipped models if not given.

    Raises:
        ModelFileError: a `.safetensors` file there is not a model of ase_nbody.
    """
    folder = Path(directory) if directory is not None else models_directory()
    return [ModelEntry(path.stem, path, read_information(path)) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a shipped model, or of a path; a name without a folder is looked for among the shipped models first.

    Raises:
        ValueError: no shipped model has this name, and no file here.
        FileNotFoundError: there is no file at this path.
    """
    path = Path(name_or_path).expanduser()
    shipped = models_directory() / f"{path.name}{SUFFIX}"
    if path.parent == Path() and shipped.exists():
        return shipped
    if path.exists():
        return path
    if path.parent != Path() or path.suffix == SUFFIX:
        raise FileNotFoundError(f"there is no model file {path}; shipped models: {_names()}")
    raise ValueError(
        f"no shipped model is called '{path.name}' (there are: {_names()}); "
        f"give one of them, or the path of a '{SUFFIX}' file"
    )


def _names() -> str:
    return ", ".join(sorted(p.stem for p in models_directory().glob(f"*{SUFFIX}"))) or "none"
