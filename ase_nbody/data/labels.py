"""Labels of a frame: what stands where, and its values as numbers of the right shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_nbody.data.dataset import Labels
from ase_nbody.predictions import LABELLED, STRESS, Property

Floats = NDArray[np.float64]

CALCULATOR_KEYS = ("energy", "free_energy", "forces", "stress")
# Of ASE, what terms may predict beside these.
FURTHER_OF_ASE = ("dipole", "charges", "polarization", "dielectric_tensor", "born_effective_charges")
# Stresses that DFT programs print are symmetric to the last digits; a real difference means another layout.
STRESS_ASYMMETRY = 1e-2
# Cubic angstrom; cells of real structures are larger than 1, flat ones have rounding errors.
SMALLEST_VOLUME = 1e-6


@dataclass(frozen=True)
class LabelSource:
    """Where a label stands in a frame.

    Attributes:
        place: "calculator", "info" or "arrays".
        key: its name there.
    """

    place: str
    key: str

    def __str__(self) -> str:
        """The source in words."""
        if self.place == "calculator":
            return "the calculator" if self.key in ("energy", "forces", "stress") else f"the calculator's {self.key}"
        return f"{self.key} in {self.place}"

    @property
    def name(self) -> str:
        """The source in words that name the quantity too."""
        return f"the calculator's {self.key}" if self.place == "calculator" else str(self)


Values = Mapping[LabelSource, Any]


def frame_values(atoms: Atoms) -> dict[LabelSource, Any]:
    """All that stands in a frame beside the structure, by its place."""
    results = {} if atoms.calc is None else atoms.calc.results
    places: tuple[tuple[str, Iterable[tuple[str, Any]]], ...] = (
        ("calculator", results.items()),
        ("info", _flat(atoms.info).items()),
        ("arrays", ((k, v) for k, v in atoms.arrays.items() if k not in ("numbers", "positions"))),
    )
    return {LabelSource(place, str(k)): v for place, items in places for k, v in items if v is not None}


def keys_found(frames: Iterable[Values]) -> str:
    """A sentence that lists the info, arrays and calculator keys of all frames."""
    names: dict[str, set[str]] = {"info": set(), "arrays": set(), "calculator": set()}
    for values in frames:
        for source in values:
            names[source.place].add(source.key)
    words = [f"{place}: {', '.join(sorted(keys)) or 'none'}" for place, keys in names.items()]
    return f"keys found: {'; '.join(words)}"


def has_stress(atoms: Atoms) -> bool:
    """Whether the stress of a structure is defined: a cell of three vectors, periodic along one of them at least."""
    return bool(atoms.pbc.any() and abs(np.linalg.det(atoms.cell.array)) > SMALLEST_VOLUME)


def labels_of(atoms: Atoms, values: Values, sources: Mapping[Property, LabelSource | None]) -> Labels:
    """Labels of one frame from chosen sources; no stress where `has_stress` says no.

    Args:
        atoms: the structure.
        values: of the frame, from `frame_values`.
        sources: where labels of each property stand.

    Raises:
        ValueError: a label is no number, not finite, or of the wrong shape.
    """
    there = {kind: source for kind, source in sources.items() if source in values}
    if not has_stress(atoms):
        there.pop(STRESS, None)
    labels = {kind: label_of(kind, source.key, values[source], atoms) for kind, source in there.items() if source}
    energy, forces, stress = (labels.pop(kind, None) for kind in LABELLED)
    return Labels(
        energy=None if energy is None else float(energy),
        forces=forces,
        stress=stress,
        system=str(atoms.info.get("name", "")),
        further=labels,
    )


def label_of(kind: Property, key: str, raw: Any, atoms: Atoms) -> Floats:
    """A label in the unit and shape of its property; of a virial, -virial / volume.

    Args:
        kind: what the label is of.
        key: its name.
        raw: what stands there.
        atoms: the structure.

    Returns:
        (n, *shape) of a property of n atoms, (*shape) of one of structures.

    Raises:
        ValueError: it is not made of finite numbers, not symmetric, or of another shape, which may also be flat; of
            what ASE has in Voigt's order also (6,).
    """
    values = _numbers(key, raw)
    if kind.voigt and not kind.per_atom:
        matrix = _symmetric_matrix(values, key)
        return -matrix / atoms.get_volume() if kind == STRESS and "virial" in key.lower() else matrix
    if not kind.per_atom and not kind.shape and values.size == 1:
        return values.reshape(())
    rows = (len(atoms),) if kind.per_atom else ()
    if values.shape not in ((*rows, *kind.shape), (*rows, prod(kind.shape))):
        raise ValueError(f"{key} has shape {values.shape}; {_expected(kind, len(atoms))}")
    return values.reshape(*rows, *kind.shape)


def _expected(kind: Property, n_atoms: int) -> str:
    if kind.per_atom:
        return f"{kind.name} on {n_atoms} atoms are {(n_atoms, *kind.shape)}, in {kind.unit}"
    if not kind.shape:
        return f"{kind.name} is one number, in {kind.unit}"
    return f"{kind.name} of a structure is {kind.shape}, in {kind.unit}"


def _flat(info: Mapping[str, Any]) -> dict[str, Any]:
    """The info of a frame, with that of a row of ase.db which was read with its additional information."""
    nested = {k: info[k] for k in ("key_value_pairs", "data") if isinstance(info.get(k), Mapping)}
    outside = {k: v for k, v in info.items() if k not in nested and k != "unique_id"}
    return {**outside, **nested.get("key_value_pairs", {}), **nested.get("data", {})}


def _numbers(key: str, raw: Any) -> Floats:
    try:
        values = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is None or np.asarray(raw).dtype.kind == "b":  # `energy` without a value is True in extended XYZ
        raise ValueError(f"{key} is {raw!r}; a label must be made of numbers")
    if not np.isfinite(values).all():
        raise ValueError(f"{key} has NaN or infinite values; remove the frame or repair its label")
    return values


def _symmetric_matrix(values: Floats, key: str) -> Floats:
    if values.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(values), dtype=np.float64)
    if values.shape not in ((3, 3), (9,)):
        raise ValueError(f"{key} has shape {values.shape}; allowed are (3, 3), (9,), or (6,) as xx yy zz yz xz xy")
    matrix = values.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > STRESS_ASYMMETRY * np.abs(matrix).max():
        raise ValueError(f"{key} is not symmetric: {matrix.tolist()}")
    return 0.5 * (matrix + matrix.T)
