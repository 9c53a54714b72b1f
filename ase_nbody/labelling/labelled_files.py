"""The files of a run: labelled structures, those that failed, and the level of theory; written whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.io.extxyz import write_xyz

from ase_nbody.files import replaced
from ase_nbody.labelling.frames import database_values

ENDINGS = (".xyz", ".extxyz", ".xyz.gz", ".extxyz.gz", ".db")


@dataclass(frozen=True)
class LabelledFiles:
    """Names of the files of a run.

    Attributes:
        output: the labelled structures.

    Raises:
        ValueError: the name has no ending that says extended XYZ or a database.
    """

    output: Path

    def __post_init__(self) -> None:
        if not self.output.name.lower().endswith(ENDINGS) or not self._stem:
            raise ValueError(
                f"--output is extended XYZ or a database of ASE and ends in {', '.join(ENDINGS)}, not "
                f"'{self.output.name}'"
            )

    @property
    def journal(self) -> Path:
        """What is done of an unfinished run."""
        return self.output.with_name(f"{self.output.name}.journal")

    @property
    def failures(self) -> Path:
        """Structures without a label, each with its reason."""
        return self.output.with_name(f"{self._stem}-failures.xyz")

    @property
    def sidecar(self) -> Path:
        """Level of theory and figures of the run."""
        return self.output.with_name(f"{self._stem}.json")

    @property
    def _stem(self) -> str:
        name = self.output.name
        longest = max((end for end in ENDINGS if name.lower().endswith(end)), key=len, default="")
        return name[: len(name) - len(longest)]


def check_files(files: LabelledFiles, *, force: bool) -> None:
    """Refuse to overwrite, and make the folder.

    Raises:
        FileExistsError: a file is there and `force` is not given.
        IsADirectoryError: a name is that of a folder.
        OSError: the folder cannot be made.
    """
    for path in (files.output, files.failures, files.sidecar):
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; give the name of a file")
        if path.exists() and not force:
            raise FileExistsError(f"{path} is there already; give another --output, or --force to overwrite it")
    files.output.parent.mkdir(parents=True, exist_ok=True)


def write_frames(frames: Iterable[Atoms], path: Path, metadata: Mapping[str, Any]) -> None:
    """Write frames in their order; where there are none, there is no file.

    Args:
        frames: with labels in their calculators, or without.
        path: the file; its ending says which format.
        metadata: of a database; JSON values.
    """
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        path.unlink(missing_ok=True)
        return
    frames = chain([first], remaining)
    with replaced(path) as temporary:
        if path.suffix.lower() == ".db":
            _write_database(frames, temporary, metadata)
        elif path.suffix.lower() == ".gz":
            with gzip.open(temporary, "wt", encoding="utf-8", compresslevel=6) as file:
                write_xyz(file, frames)
        else:
            with temporary.open("w", encoding="utf-8") as file:
                write_xyz(file, frames)


def write_values(values: Mapping[str, Any], path: Path) -> None:
    """Write values by name as JSON."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_database(frames: Iterable[Atoms], path: Path, metadata: Mapping[str, Any]) -> None:
    path.unlink(missing_ok=True)
    with ase.db.connect(path, type="db", append=False, use_lock_file=False) as database:
        for frame in frames:
            pairs, data = database_values(frame)
            database.write(frame, key_value_pairs=pairs, data=data)
        database.metadata = dict(metadata)
