"""Frames of the output: what the user had in them, with labels and level of theory in place of labels of before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ase_nbody.data.label_names import label_name
from ase_nbody.labelling.references import Label, LevelOfTheory

_OWN_ARRAYS = ("numbers", "positions")
# What a committee disagreed by on labels that are replaced.
_SPREADS = ("energy_spread", "forces_spread")
# What ASE's database takes as the name of a value.
_NAME = re.compile(r"[A-Za-z_]\w*\Z")


def kept_frame(atoms: Atoms) -> Atoms:
    """A structure with the info and arrays of the user that a file can hold, without its labels and constraints.

    Labels of another level would be taken for labels of this one by whoever reads the file.
    """
    kept: Atoms = atoms.copy()
    kept.set_constraint()
    for values in (kept.info, kept.arrays):
        for name in [name for name in values if name not in _OWN_ARRAYS and not _is_kept(name, values[name])]:
            del values[name]
    return kept


def dropped_names(structures: Iterable[Atoms]) -> list[str]:
    """Names in info and arrays that `kept_frame` leaves out, and "the calculator's results" where there are such."""
    names: set[str] = set()
    for atoms in structures:
        own = [*atoms.info.items(), *((k, v) for k, v in atoms.arrays.items() if k not in _OWN_ARRAYS)]
        names |= {str(name) for name, value in own if not _is_kept(name, value)}
        if atoms.calc is not None and atoms.calc.results:
            names.add("the calculator's results")
    return sorted(names)


def labelled_frame(atoms: Atoms, label: Label, level: LevelOfTheory) -> Atoms:
    """A kept frame with its label as ASE's calculators hold it, and the level of theory in its info."""
    frame = kept_frame(atoms)
    frame.info |= {"level_of_theory": level.method, "program": f"{level.program} {level.version}", **label.extra_info}
    for name, array in label.extra_arrays.items():
        frame.set_array(name, np.asarray(array))
    stress = {} if label.stress is None else {"stress": label.stress}
    frame.calc = SinglePointCalculator(frame, energy=label.energy, forces=label.forces, **stress)
    return frame


def database_values(frame: Atoms) -> tuple[dict[str, Any], dict[str, Any]]:
    """Info and further arrays of a frame as key-value pairs that can be searched, and as data."""
    pairs = {name: value for name, value in frame.info.items() if _is_searchable(name, value)}
    data = {str(name): value for name, value in frame.info.items() if name not in pairs}
    native = (*_OWN_ARRAYS, "initial_magmoms", "initial_charges", "tags", "momenta", "masses")
    return pairs, {**data, **{name: array for name, array in frame.arrays.items() if name not in native}}


def _is_kept(name: Any, value: Any) -> bool:
    if not isinstance(name, str) or not name:
        return False
    if name in _SPREADS or (label_name(name) is not None and not isinstance(value, str)):
        return False
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufU" and value.ndim <= 2
    return _is_plain(value)


def _is_plain(value: Any) -> bool:
    """Whether JSON can hold it."""
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, str | bool | int | float | np.bool_ | np.integer | np.floating)


def _is_searchable(name: str, value: Any) -> bool:
    from ase.db.core import check

    if not _NAME.match(name) or not isinstance(value, str | bool | int | float | np.bool_ | np.integer | np.floating):
        return False
    try:
        check({name: value})
    except (ValueError, Warning):
        return False
    return True
