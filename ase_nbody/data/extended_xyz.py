"""Extended XYZ, frame by frame through ASE's own reader, so that no line of a file is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import TextIO

from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

FIXED_DECIMALS = 4  # people write fewer
# ASE's columns of a frame whose comment line names none: species and three coordinates.
COLUMNS_WITHOUT_PROPERTIES = 4


def extended_xyz_frames(path: Path) -> tuple[list[Atoms], list[str]]:
    """All frames of an extended or plain XYZ file, and notes on columns that were not read.

    Blank lines may stand before, between and behind frames; ASE stops at the first of them.

    Args:
        path: the file; uncompressed.

    Raises:
        ValueError: a line is not what its place asks for, or the file ends within a frame; the line is named.
    """
    frames: list[Atoms] = []
    wide: list[int] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, block in _blocks(file):
                wide += _check_columns(block, number)
                frames.append(_frame(block, number, len(frames)))
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text ({error}); convert it, such as with iconv") from None
    return frames, _notes(wide)


def _blocks(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and the lines, of each frame: count, comment, atoms and ADF's VEC lines."""
    lines = enumerate(file, start=1)
    start = next(lines, None)
    n_frames = 0
    while start is not None:
        number, line = start
        if not line.strip():
            start = next(lines, None)
            continue
        n_atoms = _count(line, number, n_frames)
        block = [line, *(text for _, text in islice(lines, n_atoms + 1))]
        if len(block) < n_atoms + 2:
            raise ValueError(
                f"line {number}: frame {n_frames} has {n_atoms} atoms by this line, but the file ends after "
                f"{max(len(block) - 2, 0)} of them; complete the frame or remove it"
            )
        start = next(lines, None)
        while start is not None and start[1].lstrip().startswith("VEC"):
            block.append(start[1])
            start = next(lines, None)
        yield number, block
        n_frames += 1


def _count(line: str, number: int, frame: int) -> int:
    try:
        n_atoms = int(line)
    except ValueError:
        n_atoms = 0
    if n_atoms < 1:
        raise ValueError(
            f"line {number}: {_shown(line)} stands where the number of atoms of frame {frame} is expected; the frame "
            "before may have another number of atoms than it says, or the line does not belong there"
        )
    return n_atoms


def _check_columns(block: Sequence[str], number: int) -> list[int]:
    """Numbers of the lines that have more columns than are read."""
    counts = str(key_val_str_to_dict(block[1]).get("Properties", "")).split(":")[2::3]
    columns = sum(int(c) for c in counts if c.isdigit()) or COLUMNS_WITHOUT_PROPERTIES
    n_atoms = int(block[0])
    atoms = block[2 : 2 + n_atoms]
    widths = [len(line.split()) for line in atoms]
    if min(widths) < columns:
        short = next(i for i, width in enumerate(widths) if width < columns)
        raise ValueError(
            f"line {number + 2 + short}: {_shown(atoms[short])} is no line of atom {short} with {columns} columns; "
            f"line {number} says that {n_atoms} atoms follow"
        )
    if not block[-1].endswith("\n") and _is_cut(atoms):
        raise ValueError(f"line {number + len(block) - 1}: the file ends within this line, {_shown(block[-1])}")
    return [number + 2 + i for i, width in enumerate(widths) if width > columns]


def _is_cut(atoms: Sequence[str]) -> bool:
    """Whether the last number has fewer decimals than all before, which have equally many, as programs write."""
    decimals = [_decimals(line) for line in atoms]  # of each line
    before = {n for line in decimals[:-1] for n in line}
    return len(before) == 1 and min(before) >= FIXED_DECIMALS and decimals[-1][-1:] < [min(before)]


def _decimals(line: str) -> list[int]:
    """Decimals of the numbers of a line that have a point or stand last."""
    words = line.split()
    return [len(word.partition(".")[2]) for word in words if "." in word or word is words[-1]]


def _frame(block: Sequence[str], number: int, frame: int) -> Atoms:
    try:
        atoms: Atoms = next(read_xyz(StringIO("".join(block)), 0))
    except Exception as error:  # ASE's parser raises errors of every kind
        raise ValueError(
            f"lines {number} to {number + len(block) - 1}: ASE cannot read frame {frame} ({type(error).__name__}: "
            f"{error})"
        ) from error
    return atoms


def _notes(wide: Sequence[int]) -> list[str]:
    if not wide:
        return []
    return [
        f"{len(wide)} lines of atoms have more columns than Properties names, first line {wide[0]}; what stands there "
        "was not read"
    ]


def _shown(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
