"""What commands are given: structures, models, and names of files to write."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.io.formats import filetype
from ase.utils import string2index

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.cli.options import CalculatorOptions, Dtype, further_keys
from ase_nbody.cli.output import say, warn
from ase_nbody.data import Dataset, read_dataset, read_structures
from ase_nbody.data.known_structures import known_structure
from ase_nbody.dispersion_calculator import DispersionCalculator, with_dispersion
from ase_nbody.predictions import Property

ATOMS_OF_ONE_THREAD = 100
"""Structures up to this size are evaluated by one thread: more gain little there (`nbody bench --threads`)."""


def read_structure(text: str) -> Atoms:
    """The structure in a file, or a molecule or crystal that ASE knows.

    Args:
        text: file of any ASE format, `FILE@INDEX` for one frame of several (else the last); or, when there is no
            such file, an element with a crystal structure ("Si") or a molecule of the G2 set ("CH3CH2OH").

    Raises:
        ValueError: no such file and no such name, or the file is empty, unreadable or gives several structures.
    """
    path, index = _path_and_index(text)
    if not path.exists():
        return known_structure(text)
    if path.is_dir() or path.stat().st_size == 0:
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'empty'}; give a file with a structure")
    try:
        frames = _frames(path, index)
    except Exception as error:  # the readers of ASE's formats raise errors of every kind
        raise ValueError(
            f"cannot read a structure from {text} ({type(error).__name__}: {error}); give a file of a format that "
            "ASE reads, such as .xyz, .cif or .traj"
        ) from error
    if not isinstance(frames, Atoms):
        raise ValueError(f"{text} gives {len(frames)} structures; take one of them, such as {path}@-1")
    return frames


def _path_and_index(text: str) -> tuple[Path, str]:
    """A file and the frames asked for, the last if none: `@` belongs to the name where there is such a file."""
    name, at, index = text.rpartition("@")
    if at and not Path(text).exists():
        return Path(name), index
    return Path(text), "-1"


def _frames(path: Path, index: str) -> Atoms | list[Atoms]:
    """Frames of a file; those of extended XYZ read as labelled data are, so that none is passed over."""
    name = str(path.absolute())  # ASE takes "-" for the standard input
    if filetype(name) in ("xyz", "extxyz"):
        chosen = string2index(index)
        if isinstance(chosen, str):
            raise ValueError(f"'{index}' is not the number of a frame")
        return read_structures(name)[chosen]
    frames: Atoms | list[Atoms] = ase.io.read(name, index=index, do_not_split_by_at_sign=True)
    return frames


def continued_structure(path: Path) -> Atoms:
    """The last frame of a trajectory of molecular dynamics, with its momenta.

    Raises:
        ValueError: as read_structure, or the frame has no momenta.
    """
    if not path.exists():
        raise ValueError(f"there is no trajectory {path} to continue")
    atoms = read_structure(str(path))
    if not np.any(atoms.get_momenta()):
        raise ValueError(f"the last frame of {path} has no momenta to continue from; give it as STRUCTURE instead")
    return atoms


def labelled_structures(
    path: Path, options: Mapping[str, Any], further: Sequence[Property] = (), unread: Sequence[Property] = ()
) -> Dataset:
    """Structures of a file with labels under the names that a command is told; what was found is printed.

    Args:
        path: the file.
        options: of the command by name.
        further: as of `read_dataset`.
        unread: likewise.

    Raises:
        ValueError: as `read_dataset`.
    """
    dataset = read_dataset(
        path,
        energy_key=options["energy_key"],
        forces_key=options["forces_key"],
        stress_key=options["stress_key"],
        further=further,
        further_keys=further_keys(options.get("key")),
        unread=unread,
    )
    say(f"{dataset.source}: {len(dataset)} structures, {dataset.label_source}")
    for note in dataset.notes:
        warn(note)
    return dataset


def calculator(
    model: str,
    device: str,
    dtype: Dtype,
    threads: int | None,
    n_atoms: int,
    level: str | None = None,
    average_over_inversion: bool = False,
    outside: str = "warn",
) -> NBodyCalculator:
    """The calculator that the options of a command ask for, for structures of so many atoms.

    The number of threads is set for the process, which is the command's own.
    """
    if threads is None and n_atoms <= ATOMS_OF_ONE_THREAD:
        threads = 1
    if threads is not None:
        torch.set_num_threads(threads)
    return NBodyCalculator(
        model,
        device=device,
        dtype=dtype.value,
        outside=outside,
        level=level,
        average_over_inversion=average_over_inversion,
    )


def simulation_calculator(model: str, how: CalculatorOptions, n_atoms: int) -> NBodyCalculator | DispersionCalculator:
    """The calculator of a simulation of so many atoms: the model alone, or with the dispersion of a functional.

    Raises:
        ValueError: as with_dispersion.
    """
    of_model = calculator(model, how.device, how.dtype, how.threads, n_atoms, how.level, how.average_over_inversion)
    return of_model if how.dispersion is None else with_dispersion(of_model, how.dispersion)


def check_outputs(paths: Iterable[Path], force: bool) -> None:
    """Refuse to overwrite, and make the folders.

    Raises:
        FileExistsError: a file is there and `force` is not given.
        IsADirectoryError: a path is a folder.
        PermissionError: nothing can be written there.
    """
    for path in paths:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder; give the name of a file")
        if path.exists() and not force:
            raise FileExistsError(f"{path} is there already; give another --output, or --force to overwrite it")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):  # before a run that would lose what it made
            raise PermissionError(f"{path.parent} takes no new files; give another --output, or change its permissions")


def check_continued(restart: Path | None, outputs: Iterable[Path], what: str) -> None:
    """Refuse to write over what a simulation goes on from.

    Args:
        restart: the trajectory to go on from, if any.
        outputs: files that will be written, the trajectory first.
        what: the trajectory holds, a word for the message.

    Raises:
        ValueError: it is one of the outputs.
    """
    first, *others = outputs
    if restart is not None and restart.resolve() in [path.resolve() for path in (first, *others)]:
        raise ValueError(f"{restart} is the {what} being continued; give another name as --output than {first}")


def check_trajectory(output: Path, *others: Path, force: bool) -> None:
    """As check_outputs, for a trajectory and the files written beside it.

    Raises:
        ValueError: the trajectory does not end in .traj.
    """
    if output.suffix != ".traj":
        raise ValueError(f"--output is a trajectory and ends in .traj, not '{output.name}'")
    check_outputs((output, *others), force)
