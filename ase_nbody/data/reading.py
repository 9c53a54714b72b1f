"""Reading labelled structures from a file that ASE can read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import ase.db
import ase.io
from ase import Atoms

from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.data.labels import LabelSource, choose_source, keys_found, labels_of
from ase_nbody.structures import check_structure


def read_dataset(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
) -> Dataset:
    """Structures and labels of a file: extended XYZ, .traj, .db or any other format of ASE.

    Labels are looked for in each frame's calculator, then under the usual keys of info and arrays (of a database row:
    its key-value pairs and data). One place serves the whole file; frames without a label there keep None. A virial
    becomes a stress by -virial/volume. A zero stress of a structure without a full cell counts as no label.

    Args:
        path: the file.
        energy_key: name of the energies, eV, in place of the usual ones.
        forces_key: name of the forces, (N, 3), eV/angstrom.
        stress_key: name of the stresses, (3, 3), (9,) or (6,) in ASE's Voigt order, eV/angstrom^3; if "virial" occurs
            in the name, of the virials, eV.

    Raises:
        ValueError: the file is missing, empty, not readable or without energies and forces; a label has the wrong shape
            or is not finite; a stress is not zero and the structure has no full cell; a frame fails `check_structure`.
    """
    path = Path(path)
    frames = read_structures(path)
    quantities = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    try:
        choices = {quantity: choose_source(frames, quantity, key) for quantity, key in quantities.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    sources = {quantity: choice[0] for quantity, choice in choices.items()}
    if sources["energy"] is None and sources["forces"] is None:
        raise ValueError(
            f"{path}: no energies or forces found; {keys_found(frames)}. Label the structures, or name the labels "
            "with energy_key and forces_key"
        )
    labels = _all_labels(frames, sources, path)
    words = [_found(quantity, *choices[quantity], labels) for quantity in quantities]
    return Dataset(
        structures=tuple(_bare(f) for f in frames),
        labels=labels,
        source=str(path),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        found=", ".join(words),
    )


def read_structures(path: str | Path) -> list[Atoms]:
    """All frames of a file as ASE reads them.

    Raises:
        ValueError: the file is missing, empty or not readable, or a frame fails `check_structure`.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; structures are expected, such as extended XYZ, .traj or .db")
    try:
        frames = _database_frames(path) if path.suffix == ".db" else _file_frames(path)
    except Exception as error:
        raise ValueError(
            f"{path}: ASE cannot read structures from it ({type(error).__name__}: {error}); extended XYZ, .traj, .db "
            "and the other formats of ase.io are allowed"
        ) from error
    if not frames:
        raise ValueError(f"{path}: the file has no structures")
    for number, frame in enumerate(frames):
        try:
            check_structure(frame)
        except ValueError as error:
            raise ValueError(f"{path}, frame {number}: {error}") from None
    return frames


def _file_frames(path: Path) -> list[Atoms]:
    frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    return frames if isinstance(frames, list) else [frames]


def _database_frames(path: Path) -> list[Atoms]:
    with ase.db.connect(path, serial=True) as database:
        return [row.toatoms(add_additional_information=True) for row in database.select()]


def _all_labels(frames: Sequence[Atoms], sources: dict[str, LabelSource | None], path: Path) -> tuple[Labels, ...]:
    labels = []
    for number, frame in enumerate(frames):
        try:
            labels.append(labels_of(frame, sources["energy"], sources["forces"], sources["stress"]))
        except ValueError as error:
            raise ValueError(f"{path}, frame {number}: {error}") from None
    return tuple(labels)


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _found(quantity: str, source: LabelSource | None, others: tuple[LabelSource, ...], labels: Sequence[Labels]) -> str:
    count = sum(getattr(label, quantity) is not None for label in labels)
    if source is None or count == 0:
        return f"no {quantity}"
    unused = f"; not used: {' and '.join(str(s) for s in others)}" if others else ""
    return f"{quantity} from {source} ({count} of {len(labels)} frames{unused})"
