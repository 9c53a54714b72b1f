"""Databases of ASE: every row with its labels, in the units that the metadata state."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms

from ase_nbody.data.label_names import label_name
from ase_nbody.data.labels import FURTHER_OF_ASE
from ase_nbody.data.refusals import reading_by_ase
from ase_nbody.data.units import DIMENSIONS, unit

_LENGTH = re.compile("distance|length|position|coordinate|cell", re.IGNORECASE)
_WORDS_OF_UNITS = re.compile(r"property|properties|units?|dict|_|\s|-", re.IGNORECASE)


def database_frames(path: Path, kind: str) -> tuple[list[Atoms], list[str]]:
    """All rows of a database, in eV and angstrom, and notes on the units.

    Key-value pairs and data of a row stand in `info`.

    Args:
        path: the file.
        kind: "db" (SQLite), "json" or "aselmdb".

    Raises:
        ValueError: the file is no such database of ASE, rows are missing, its package is not installed, or units of
            the metadata are not known.
    """
    options: dict[str, Any] = {}
    if kind == "db":
        _check_sqlite(path)
    if kind == "aselmdb":
        if find_spec("ase_db_backends") is None or find_spec("lmdb") is None:
            raise ValueError(".aselmdb needs the package ase-db-backends: pip install ase-db-backends")
        options = {"readonly": True}
    with (
        reading_by_ase(),
        ase.db.connect(path, type=kind, serial=True, use_lock_file=False, **options) as database,
    ):
        frames = [_frame(row) for row in database.select()]
        metadata = database.metadata
    if kind == "json":
        _check_rows(path, len(frames))
    return frames, _convert(frames, dict(_stated_units(metadata)))


def _check_sqlite(path: Path) -> None:
    """Refuse what is not ASE's; ASE would write its tables into a foreign file."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with reading_by_ase(), closing(sqlite3.connect(address, uri=True)) as connection:
        tables = connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name='systems'").fetchone()[0]
    if not tables:
        raise ValueError("an SQLite database, but not one of ASE; make one with ase.db.connect")


def _check_rows(path: Path, n_rows: int) -> None:
    n_written = sum(key.isdigit() for key in json.loads(path.read_text(encoding="utf-8")))
    if n_written != n_rows:
        raise ValueError(f"{n_written} rows are written and its list of ids gives {n_rows}; repair the list")


def _frame(row: Any) -> Atoms:
    atoms: Atoms = row.toatoms()
    atoms.info = {**row.key_value_pairs, **row.data}
    return atoms


def _stated_units(metadata: Mapping[str, Any], about: str = "") -> Iterator[tuple[str, Any]]:
    """Names and the units that metadata state for them; the name "" is of a unit for everything."""
    for key, value in metadata.items():
        if key == "key_descriptions" and isinstance(value, Mapping):  # of ASE's web pages: short, long, unit
            yield from ((name, words[2]) for name, words in value.items() if len(words) > 2 and words[2])
        elif isinstance(value, Mapping):
            is_units = "unit" in key.lower()
            yield from value.items() if is_units else _stated_units(value, about=key)
        elif "unit" in key.lower():
            yield _WORDS_OF_UNITS.sub("", key) or about, value
        elif label_name(key) is not None and _is_unit(value):
            yield key, value


def _convert(frames: list[Atoms], stated: dict[str, Any]) -> list[str]:
    """Convert rows to eV and angstrom in place, and say so; and what is left as it is."""
    notes = _not_converted(frames, stated)
    factors = {name: factor for name, text in stated.items() if (factor := _factor(name, text)) is not None}
    lengths = {name: f for name, f in factors.items() if _LENGTH.search(name) and label_name(name) is None}
    if all(factor == 1.0 for factor in factors.values()):
        return notes
    length = next(iter(lengths.values()), 1.0)
    for row, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell.array * length)
        atoms.positions *= length
        for values in (atoms.info, {} if atoms.calc is None else atoms.calc.results):
            for key in [k for k in values if label_name(k) is not None and _is_number(values[k])]:
                values[key] = np.asarray(values[key], dtype=np.float64) * _factor_of(key, factors, row)
    words = ", ".join(f"{name or 'all'} in {stated[name]}" for name, factor in factors.items() if factor != 1.0)
    return [f"converted to eV and angstrom, as the metadata of the database state: {words}", *notes]


def _not_converted(frames: list[Atoms], stated: Mapping[str, Any]) -> list[str]:
    """A sentence on units of what terms of potentials may predict beside energies, forces and stress."""
    there = {key for atoms in frames for key in (*atoms.info, *({} if atoms.calc is None else atoms.calc.results))}
    unknown = [name for name in stated if name in there and label_name(name) is None]
    further = [name for name in unknown if label_name(name, FURTHER_OF_ASE) is not None]
    words = ", ".join(f"{name} in {stated[name]}" for name in further)
    return [f"not converted, though the metadata of the database state units: {words}"] if words else []


def _factor(name: str, text: Any) -> float | None:
    """What a value is multiplied by, or None where a name is of no interest here."""
    label = label_name(name)
    if name and label is None and not _LENGTH.search(name):
        return None
    if not name:
        return _unit_of_everything(str(text))
    kind = "length" if label is None else "virial" if label.is_virial else label.quantity
    try:
        stated = unit(str(text))
    except ValueError as error:
        raise ValueError(f"the metadata give '{text}' as the unit of {name}; {error}") from None
    if (stated.energy, stated.length) != DIMENSIONS[kind]:
        raise ValueError(f"the metadata give '{text}' as the unit of {name}, which is no unit of {kind}")
    return stated.value


def _unit_of_everything(text: str) -> float:
    parts = [part for part in re.split(r"[,;]|\band\b", text) if part.strip()]
    if not all(_is_unit(part) and unit(part).value == 1.0 for part in parts):
        raise ValueError(
            f"the metadata give '{text}' as unit; say which quantities are in which unit, such as "
            "{'units': {'energy': 'eV', 'forces': 'eV/angstrom'}}, or convert to eV and angstrom"
        )
    return 1.0


def _factor_of(key: str, factors: Mapping[str, float], row: int) -> float:
    if key in factors:
        return factors[key]
    name = label_name(key)
    for other, factor in factors.items():
        generic = label_name(other)
        if generic is not None and name is not None and not generic.origin:
            if (generic.quantity, generic.is_virial) == (name.quantity, name.is_virial):
                return factor
    raise ValueError(
        f"the metadata give units that are not eV and angstrom, but none for {key} (row {row}); add it to the metadata"
    )


def _is_unit(value: Any) -> bool:
    try:
        unit(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return bool(np.asarray(value).dtype.kind in "iuf")
