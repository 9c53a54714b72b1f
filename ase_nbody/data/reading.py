"""Reading labelled structures from a file that ASE can read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.data.families import Table
from ase_nbody.data.force_units import implausible_forces
from ase_nbody.data.formats import read_frames
from ase_nbody.data.label_choice import Choice, choose_sources
from ase_nbody.data.labels import LabelSource, frame_values, has_stress, keys_found, labels_of
from ase_nbody.data.levels import level_notes, stated_levels
from ase_nbody.data.plausibility import check_distances, check_size_of_labels, implausible_labels, numbered
from ase_nbody.data.stress_units import implausible_stress
from ase_nbody.model_information import file_hash
from ase_nbody.predictions import ENERGY, FORCES, STRESS, Property
from ase_nbody.structures import check_structure


def read_dataset(
    path: str | Path,
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    further: Sequence[Property] = (),
    further_keys: Mapping[str, str] | None = None,
    unread: Sequence[Property] = (),
) -> Dataset:
    """Structures and labels of a file: extended XYZ, .traj, .db or any other format of ASE, also compressed.

    Labels stand in each frame's calculator and under names in info and arrays (of a database row: its key-value pairs
    and data). One family of names labels the whole file, so that levels of theory do not mix: the one that has energies
    and forces; of several REF_..., then DFT_..., then the calculator and plain names, as long as it labels half as many
    frames as another; then a prefix of the user's own. Frames without a label there keep None. A virial becomes a
    stress by -virial/volume. Of `energy` and `free_energy` in the calculator the one that the forces belong to is
    taken, which is the free energy. Stresses of structures without a periodic direction or a volume are left out. What
    terms of a potential predict beside these is read where it is asked for, under names of the same family that have
    the property's, such as REF_dipole. What looks like labels and is not used is named in `Dataset.label_source`.

    Args:
        path: the file.
        energy_key: name of the energies, eV, in place of those that would be found; the forces are then looked for
            under names of the same family first.
        forces_key: name of the forces, (N, 3), eV/angstrom.
        stress_key: name of the stresses, (3, 3), (9,) or (6,) in ASE's Voigt order, eV/angstrom^3; if "virial" occurs
            in the name, of the virials, eV.
        further: other properties whose labels are read, such as `Potential.further_properties`, in their unit and
            shape, which may also be flat.
        further_keys: names of the labels of these, by name of the property, in place of those that would be found.
        unread: properties whose labels are named as not used.

    Raises:
        ValueError: the file is missing, empty, not readable or without labels of what is read; it cannot be known which
            labels belong together; a label has the wrong shape, is not finite or has an impossible size; a key is of a
            property that is not read; a frame fails `check_structure` or has two atoms on one spot.
    """
    path = Path(path)
    frames, notes = _read_frames(path)
    keys = {ENERGY: energy_key, FORCES: forces_key, STRESS: stress_key, **_further_keys(further, further_keys or {})}
    given = {kind: key for kind, key in keys.items() if key is not None}
    table = Table(frames, [frame_values(frame) for frame in frames], tuple(further), tuple(unread))
    return _dataset(table, notes, given, str(path), file_hash(path))


def _further_keys(further: Sequence[Property], keys: Mapping[str, str]) -> dict[Property, str]:
    """Keys by property.

    Raises:
        ValueError: a key is of a property that is not read.
    """
    kinds = {kind.name: kind for kind in further}
    unknown = sorted(set(keys) - set(kinds))
    if unknown:
        raise ValueError(
            f"a key is given for {', '.join(unknown)}, which is not read: the potential's terms predict "
            f"{', '.join(kinds) or 'nothing'} beside energies, forces and stress"
        )
    return {kinds[name]: key for name, key in keys.items()}


def labelled_dataset(frames: Sequence[Atoms], source: str = "frames", further: Sequence[Property] = ()) -> Dataset:
    """As `read_dataset`, of frames that are there; they are not changed, and their calculators calculate nothing.

    Args:
        frames: structures with labels.
        source: what errors call them.
        further: as `read_dataset`.

    Raises:
        ValueError: as `read_dataset`.
    """
    if not frames:
        raise ValueError(f"{source}: there is no structure")
    checked = _checked_frames(frames, source)
    dataset = _dataset(Table(checked, [frame_values(frame) for frame in checked], tuple(further)), [], {}, source, "")
    digest = hashlib.sha256()
    for atoms, labels in zip(dataset.structures, dataset.labels, strict=True):
        arrays = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, labels.forces, labels.stress)
        digest.update(b"".join(b"-" if array is None else array.tobytes() for array in arrays))
        digest.update(repr(labels.energy).encode())
        digest.update(b"".join(kind.name.encode() + label.tobytes() for kind, label in labels.further.items()))
    return replace(dataset, sha256=digest.hexdigest())


def _dataset(table: Table, notes: list[str], keys: Mapping[Property, str], source: str, sha256: str) -> Dataset:
    frames = table.structures
    try:
        choice = choose_sources(table, keys)
        if all(choice.sources[kind] is None for kind in (ENERGY, FORCES, *table.further)):
            further = "".join(f" or {kind.name}" for kind in table.further)
            raise ValueError(
                f"no energies or forces{further} found; {keys_found(table.values)}. Label the structures, or name the "
                "labels with energy_key and forces_key"
            )
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    labels = _all_labels(table, choice.sources, source)
    structures = tuple(_bare(frame) for frame in frames)
    notes += [*choice.notes, *_dropped_stresses(table, choice.sources[STRESS]), *implausible_labels(frames, labels)]
    words = [implausible_forces(structures, labels), implausible_stress(structures, labels)]
    levels = stated_levels(frames)
    level = next(iter(levels)) if len(levels) == 1 else None
    notes += level_notes(levels)
    return Dataset(
        structures=structures,
        labels=labels,
        source=source,
        sha256=sha256,
        label_source=_label_source(choice, labels) + ("" if level is None else f"; level of theory {level}"),
        notes=(*notes, *(note for note in words if note is not None)),
        level_of_theory=level,
        stated_levels=tuple(name for name in levels if name is not None),
    )


def read_structures(path: str | Path) -> list[Atoms]:
    """All frames of a file as ASE reads them.

    Raises:
        ValueError: the file is missing, empty or not readable, or a frame fails `check_structure` or has two atoms on
            one spot.
    """
    return _read_frames(Path(path))[0]


def read_any_structures(path: str | Path) -> tuple[list[Atoms], list[str]]:
    """All frames of a file as ASE reads them, whether or not they have an energy, and notes on the reading.

    Raises:
        ValueError: the file is missing, empty or not readable.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty; structures are expected, such as extended XYZ, .traj or .db")
    try:
        frames, notes = read_frames(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error.__cause__
    if not frames:
        raise ValueError(f"{path}: the file has no structures")
    return frames, notes


def _read_frames(path: Path) -> tuple[list[Atoms], list[str]]:
    frames, notes = read_any_structures(path)
    return _checked_frames(frames, str(path)), notes


def _checked_frames(frames: Sequence[Atoms], source: str) -> list[Atoms]:
    for number, frame in enumerate(frames):
        try:
            check_structure(frame)
            check_distances(frame)
        except ValueError as error:
            raise ValueError(f"{source}, frame {number}: {error}") from None
    return list(frames)


def _all_labels(table: Table, sources: Mapping[Property, LabelSource | None], source: str) -> tuple[Labels, ...]:
    labels = []
    for number, (frame, values) in enumerate(zip(table.structures, table.values, strict=True)):
        try:
            labels.append(labels_of(frame, values, sources))
            check_size_of_labels(frame, labels[-1])
        except ValueError as error:
            raise ValueError(f"{source}, frame {number}: {error}") from None
    return tuple(labels)


def _dropped_stresses(table: Table, source: LabelSource | None) -> list[str]:
    frames = [i for i, values in enumerate(table.values) if source in values and not has_stress(table.structures[i])]
    if not frames:
        return []
    return [
        f"stress labels left out in {numbered(frames)}: no direction is periodic, or the cell has no volume, and there "
        "is no stress without them"
    ]


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _label_source(choice: Choice, labels: Sequence[Labels]) -> str:
    words = [_source_of_property(kind, source, labels) for kind, source in choice.sources.items()]
    others = f"; not used: {', '.join(source.name for source in choice.unused)}" if choice.unused else ""
    return ", ".join(words) + others


def _source_of_property(kind: Property, source: LabelSource | None, labels: Sequence[Labels]) -> str:
    count = sum(kind in label.labelled for label in labels)
    return f"{kind.name} from {source} ({count} of {len(labels)} frames)" if source and count else f"no {kind.name}"
