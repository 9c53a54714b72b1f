"""Frames of a file in any format: which one it is, and its reader."""

from __future__ import annotations

import re
from mmap import ACCESS_READ, mmap
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
# What VASP writes once in every ionic step, and at the end of a run that was not interrupted.
_VASP = {
    "vasp-xml": (b"<calculation>", b"</modeling>"),
    "vasp-out": (b"FREE ENERGIE OF THE ION-ELECTRON SYSTEM", b"Voluntary context switches"),
}
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
        return list(frames), _notes(file, kind, len(frames))


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
    """Refuse a .traj that is cut short, or has more behind its last frame: of an ended run, or of joined files."""
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
    if surplus < 0:
        raise ValueError(f"the file is cut short: it says that it has {n_frames} frames, and the last is not complete")
    if surplus > 0:
        raise ValueError(
            f"{surplus} bytes stand behind its {n_frames} frames: another trajectory was joined to it, or a run was "
            "ended while it wrote a frame. Join trajectories with `ase convert A.traj B.traj ALL.traj`; the same "
            "command on this file alone keeps the frames that are complete"
        )


def _notes(path: Path, kind: str, n_frames: int) -> list[str]:
    """Sentences on what was not read.

    Raises:
        ValueError: more steps of VASP are written than could be read.
    """
    if ioformats[kind].single:
        return [f"ASE reads one structure only from a file of the format {kind}"]
    if kind not in _VASP:
        return []
    step, last_words = _VASP[kind]
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as text:
        n_steps = sum(1 for _ in re.finditer(re.escape(step), text))
        ended = text.find(last_words) >= 0
    if n_steps > n_frames + (not ended):  # the last step of an interrupted run is not complete
        raise ValueError(
            f"{n_steps} ionic steps are written, and ASE could read the first {n_frames}: the file is damaged behind "
            "them, or files were joined"
        )
    return [] if ended else [f"VASP did not come to its end; the steps that it finished were read, {n_frames} in all"]
