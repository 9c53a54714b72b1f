"""What a model file says of its model, read from the file's header alone: no torch is imported."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ase_nbody import __version__
from ase_nbody.model_records import (
    DataFile,
    Envelope,
    Record,
    SurroundingsRecord,
    TermRecord,
    TheoryLevel,
    Trial,
    UncertaintyRecord,
)

FORMAT_VERSION = 7
"""Version of the header's JSON that this package writes."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: lambda header: header,  # 2 adds repulsion, purpose and trials, which 1 did not have, and a checksum of the file
    2: lambda header: header,  # 3 adds levels of theory, of which files of format 2 have one
    3: lambda header: header,  # 4 adds further terms, of which files of format 3 have none
    4: lambda header: header,  # 5 adds uncertainties, which files of format 4 do not have
    5: lambda header: _with_uncertainties_by_level(header),
    6: lambda header: _with_stress_factors(header),
}
"""Header of version n -> header of version n + 1, by n. Every format ever shipped stays readable."""

HEADER_KEY = "ase_nbody"
CHECKSUM_KEY = "ase_nbody_sha256"
"""Of the header's JSON and the tensors, in files from format 2 on."""
SUFFIX = ".safetensors"
# safetensors refuses longer headers: MAX_HEADER_SIZE in its tensor.rs.
LONGEST_HEADER = 100_000_000


class ModelFileError(ValueError):
    """A file is not a model of ase_nbody, or not one that this version can read."""


class ModelInformation(Record):
    """What a model file says of its model: all but the weights."""

    format_version: int = Field(default=FORMAT_VERSION, description="version of these fields")
    name: str = Field(description="name of the model")
    architecture: str = Field(description="name in the registry of architectures")
    settings: dict[str, Any] = Field(description="the architecture's settings")
    elements: tuple[str, ...] = Field(description="chemical symbols the model knows")
    units: dict[str, str] = Field(default={"energy": "eV", "length": "angstrom"}, description="units of the model")
    reference_energies: dict[str, float] = Field(description="energy of each isolated element, eV")
    reference_energies_source: str = Field(description="where the reference energies come from")
    energy_scale: float = Field(description="eV per unit of the network")
    method: str | None = Field(default=None, description="level of theory of the labels")
    levels: tuple[TheoryLevel, ...] = Field(
        default=(), description="levels of theory that can be chosen, the first of them `method`; none: `method` alone"
    )
    own_parameters: tuple[str, ...] = Field(
        default=(), description="parameters of the network that each level of theory has for itself"
    )
    licence: str | None = Field(default=None, description="licence of the model")
    label_source: str | None = Field(default=None, description="where the labels were found in the data")
    data: tuple[DataFile, ...] = Field(default=(), description="files of structures the model was made with")
    errors: dict[str, dict[str, Any]] = Field(default_factory=dict, description="errors by set, such as 'valid'")
    envelope: Envelope = Field(default_factory=Envelope, description="what the training data cover")
    repulsion: dict[str, float] | None = Field(
        default=None,
        description="onset of the nuclear repulsion by pair of elements, angstrom; none: no repulsion",
    )
    terms: tuple[TermRecord, ...] = Field(default=(), description="what is added beside network and repulsion")
    uncertainties: tuple[UncertaintyRecord | None, ...] = Field(
        default=(), description="calibration of uncertainties by level of theory; none: there are none"
    )
    surroundings: SurroundingsRecord | None = Field(
        default=None, description="surroundings of atoms in the training; none: they are not known"
    )
    purpose: str | None = Field(default=None, description="what the model is for, in words")
    not_for: str | None = Field(default=None, description="what it is not for, in words")
    trials: tuple[Trial, ...] = Field(default=(), description="tests on structures outside its training")
    training: dict[str, Any] = Field(default_factory=dict, description="settings, seconds and command of the training")
    made_with: dict[str, str] = Field(default_factory=dict, description="versions of the packages that made it")
    created: str | None = Field(default=None, description="time of making, ISO 8601, UTC")

    @property
    def cutoff(self) -> float:
        """Largest distance between neighbours, angstrom."""
        return float(self.settings["cutoff"])

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels of theory; of the method where it has one level, empty where that is not given."""
        return tuple(level.name for level in self.levels) or (self.method or "",)

    @property
    def uncertainties_by_level(self) -> dict[str, UncertaintyRecord | None]:
        """Calibration of uncertainties by name of the level of theory; None where a level has none."""
        return dict(zip(self.level_names, self.uncertainties or (None,) * len(self.level_names), strict=True))


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a model's numbers; packages that are absent are left out."""
    versions = {"ase_nbody": __version__, "python": platform.python_version()}
    for package in ("torch", "e3nn", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_information(path: str | os.PathLike[str]) -> ModelInformation:
    """A model file's information, without its weights.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a model file, damaged, or of a newer format.
    """
    path = Path(path)
    metadata = safetensors_metadata(path)
    if HEADER_KEY not in metadata:
        raise ModelFileError(
            f"{path} is a safetensors file, but not a model of ase_nbody: its header has no '{HEADER_KEY}' "
            f"(it has {sorted(metadata) or 'no metadata'}); give a file written by nbody train or save_model"
        )
    try:
        return ModelInformation.model_validate(_upgraded(json.loads(metadata[HEADER_KEY]), path))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ModelFileError(f"the header of {path} is damaged: {error}") from error


def checksum(header: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of the header's JSON and of all names, dtypes, shapes and numbers of the tensors, hexadecimal."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} torch.{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_checksum(path: str | os.PathLike[str]) -> None:
    """Compare a model file with the checksum in it; files of format 1 have none.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a model file, or damaged.
    """
    from safetensors.numpy import load_file

    path = Path(path)
    metadata = safetensors_metadata(path)
    written, header = metadata.get(CHECKSUM_KEY), metadata[HEADER_KEY]
    if written is None and json.loads(header)["format_version"] == 1:
        return
    if written != checksum(header, load_file(path)):
        raise ModelFileError(
            f"{path} is damaged: its tensors or its header do not have the checksum that was written with them; get or "
            "train the model again"
        )


def _with_uncertainties_by_level(header: dict[str, Any]) -> dict[str, Any]:
    """6 has uncertainties of every level of theory, in place of `uncertainty`, which was of the first."""
    first = header.get("uncertainty")
    others = [None] * (len(header.get("levels", ())) - 1)
    kept = {name: value for name, value in header.items() if name != "uncertainty"}
    return kept if first is None else {**kept, "uncertainties": [first, *others]}


def _with_stress_factors(header: dict[str, Any]) -> dict[str, Any]:
    """7 has a factor of the stress for itself, which was that of forces."""
    records = header.get("uncertainties", ())
    own = [record and {**record, "stress_factor": record["forces_factor"]} for record in records]
    return {**header, "uncertainties": own}


def _upgraded(header: Any, path: Path) -> dict[str, Any]:
    found = header.get("format_version") if isinstance(header, dict) else None
    if not isinstance(found, int) or found < 1:
        raise ModelFileError(f"the header of {path} is damaged: it has no format version; get the file again")
    if found > FORMAT_VERSION:
        made_with = header.get("made_with", {}).get("ase_nbody", "a newer version")
        raise ModelFileError(
            f"{path} has model format {found}, made with ase_nbody {made_with}; this version reads formats up to "
            f"{FORMAT_VERSION}: upgrade ase_nbody"
        )
    for step in range(found, FORMAT_VERSION):
        header = {**UPGRADES[step](header), "format_version": step + 1}
    return dict(header)


def safetensors_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; format: https://huggingface.co/docs/safetensors/index#format.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: not a safetensors file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"there is no model file {path}; nbody models lists the models that are there")
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; give a model file ending in '{SUFFIX}'")
    if path.stat().st_size == 0:
        raise ModelFileError(f"{path} is empty; get or train the model again")
    _check_is_safetensors(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ModelFileError(f"{path} is truncated or damaged ({error}); get or train the model again") from error


def _check_is_safetensors(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(16)
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else LONGEST_HEADER + 1
    if length <= LONGEST_HEADER and start[8:9] in (b"{", b""):
        return
    raise ModelFileError(
        f"{path} is not a safetensors file: it looks like {_looks_like(start)}. A model is one '{SUFFIX}' file written "
        "by nbody train or save_model"
    )


def _looks_like(start: bytes) -> str:
    if start.startswith(b"PK"):
        return "a zip archive, such as torch.save writes; pickled models are never loaded"
    if start.startswith(b"\x80"):
        return "a pickle, such as old torch.save writes; pickled models are never loaded"
    if start.startswith(b"\x89HDF"):
        return "an HDF5 file"
    if start.startswith(b"\x1f\x8b"):
        return "a gzip archive"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return "text"
    return "binary data of another kind"
