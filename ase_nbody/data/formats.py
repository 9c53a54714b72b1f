"""Frames of a file in any format: which one it is, and its reader."""

from __future__ import annotations

import re
from pathlib import Path

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, ioformats
from ase.io.ulm import read_header

from ase_nbody.data.databases import database_frames
from ase_nbody.data.extended_xyz import extended_xyz_frames
from ase_nbody.data.refusals import FORMATS, reading_by_ase
from ase_nbody.data.unpacking import unpacked

_HEAD = 4096
_SUFFIXES = {".xyz": "extxyz", ".extxyz": "extxyz", ".db": "db", ".json": "json", ".aselmdb": "aselmdb"}
# What a file begins with, whatever its name.
_CONTENTS = {
    "db": rb"SQLite format 3\x00",
    "traj": rb"(- of Ulm|AFFormat)ASE-Trajectory",
    "json": rb'\s*\{"\d+": \{',
    "vasp-xml": rb"\s*(<\?xml[^>]*>\s*)?<modeling>",
    "vasp-out": rb"\s*vasp\.\d",
    "extxyz": rb"\s*\d+[ \t]*\r?\n[^\r\n]*(Properties|Lattice)=",
}
_COUNT_OF_ATOMS = re.compile(rb"\s*\d+[ \t]*\r?\n")
# What a run of VASP that came to its end writes last.
_LAST_WORDS = {"vasp-xml": b"</modeling>", "vasp-out": b"Voluntary context switches"}
_TAIL = 2000
# A full table of the places of frames is replaced by one that is so much longer (N1 in ase.io.ulm).
_TABLE_GROWTH = 42


def read_frames(path: Path) -> tuple[list[Atoms], list[str]]:
    """All frames of a file as ASE reads them, and notes on what a user should know of the reading.

    Args:
        path: a file in a format of ASE; it may be compressed (gzip, bzip2, xz) or alone in a zip archive.

    Raises:
        ValueError: the file cannot be read, or something in it would be passed over.
    """
    with unpacked(path) as file:
        kind = file_format(file)
        if kind == "extxyz":
            return extended_xyz_frames(file)
        if kind in ("db", "json", "aselmdb"):
            return database_frames(file, kind)
        if kind == "traj":
            _check_trajectory(file)
        with reading_by_ase():
            frames = ase.io.read(file.absolute(), index=":", format=kind, do_not_split_by_at_sign=True)
        return list(frames), _notes(file, kind)


def file_format(path: Path) -> str:
    """ASE's name of the format of an uncompressed file: by how it begins, else by its suffix, else as ASE guesses.

    ASE itself goes by names such as "*POSCAR*" first.

    Raises:
        ValueError: the format is not known.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    for kind, pattern in _CONTENTS.items():
        if re.match(pattern, head):
            return kind
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    try:
        kind = filetype(str(path.absolute()))
    except UnknownFileTypeError:
        kind = ""
    if kind in ioformats:
        return kind
    if _COUNT_OF_ATOMS.match(head):
        return "extxyz"
    raise ValueError(f"ASE cannot read structures from it (its format is not known); {FORMATS}")


def _check_trajectory(path: Path) -> None:
    """Refuse a .traj with frames behind its last one: of a run that was ended while it wrote, or of joined files."""
    with reading_by_ase(), path.open("rb") as file:
        _, _, n_frames, table, places = read_header(file)
        capacity = 1
        while capacity < n_frames:
            capacity *= _TABLE_GROWTH
        end = table + 8 * capacity
        if n_frames:
            file.seek(int(places[-1]))
            end = max(end, file.tell() + 8 + int.from_bytes(file.read(8), "little"))
    surplus = path.stat().st_size - end
    if surplus > 0:
        raise ValueError(
            f"{surplus} bytes stand behind its {n_frames} frames: another trajectory was joined to it, or a run was "
            "ended while it wrote a frame. Join trajectories with `ase convert A.traj B.traj ALL.traj`; the same "
            "command on this file alone keeps the frames that are complete"
        )


def _notes(path: Path, kind: str) -> list[str]:
    notes = []
    if ioformats[kind].single:
        notes.append(f"ASE reads one structure only from a file of the format {kind}")
    if kind in _LAST_WORDS:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            if _LAST_WORDS[kind] not in file.read():
                notes.append("VASP did not come to its end; the steps that it finished were read")
    return notes
