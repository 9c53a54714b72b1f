"""Labels of a frame: what stands where, and its values as numbers of the right shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_nbody.data.dataset import Labels

CALCULATOR_KEYS = ("energy", "free_energy", "forces", "stress")
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


def labels_of(atoms: Atoms, values: Values, sources: Mapping[str, LabelSource | None]) -> Labels:
    """Labels of one frame from chosen sources; no stress where `has_stress` says no.

    Args:
        atoms: the structure.
        values: of the frame, from `frame_values`.
        sources: where "energy", "forces" and "stress" stand.

    Raises:
        ValueError: a label is no number, not finite, or of the wrong shape.
    """
    energy, forces, stress = (sources[quantity] for quantity in ("energy", "forces", "stress"))
    return Labels(
        energy=None if energy is None or energy not in values else energy_of(energy.key, values[energy]),
        forces=None if forces is None or forces not in values else forces_of(forces.key, values[forces], len(atoms)),
        stress=(
            None
            if stress is None or stress not in values or not has_stress(atoms)
            else stress_of(stress.key, values[stress], atoms.get_volume())
        ),
        system=str(atoms.info.get("name", "")),
    )


def energy_of(key: str, raw: Any) -> float:
    """An energy, eV.

    Raises:
        ValueError: it is not one finite number.
    """
    values = _numbers(key, raw)
    if values.size != 1:
        raise ValueError(f"{key} has shape {values.shape}; an energy is one number, in eV")
    return float(values.reshape(()))


def forces_of(key: str, raw: Any, n_atoms: int) -> NDArray[np.float64]:
    """Forces, (n_atoms, 3), eV/angstrom.

    Raises:
        ValueError: they are not finite numbers of this shape.
    """
    values = _numbers(key, raw)
    if values.shape != (n_atoms, 3):
        raise ValueError(f"{key} has shape {values.shape}; forces on {n_atoms} atoms are ({n_atoms}, 3)")
    return values


def stress_of(key: str, raw: Any, volume: float) -> NDArray[np.float64]:
    """A stress, (3, 3), eV/angstrom^3; of a virial, -virial / volume.

    Raises:
        ValueError: it is not made of finite numbers, not symmetric, or of another shape than (3, 3), (9,) and (6,).
    """
    stress = _symmetric_matrix(_numbers(key, raw), key)
    return -stress / volume if "virial" in key.lower() else stress


def _flat(info: Mapping[str, Any]) -> dict[str, Any]:
    """The info of a frame, with that of a row of ase.db which was read with its additional information."""
    nested = {k: info[k] for k in ("key_value_pairs", "data") if isinstance(info.get(k), Mapping)}
    outside = {k: v for k, v in info.items() if k not in nested and k != "unique_id"}
    return {**outside, **nested.get("key_value_pairs", {}), **nested.get("data", {})}


def _numbers(key: str, raw: Any) -> NDArray[np.float64]:
    try:
        values = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError):
        values = None
    if values is None or np.asarray(raw).dtype.kind == "b":  # `energy` without a value is True in extended XYZ
        raise ValueError(f"{key} is {raw!r}; a label must be made of numbers")
    if not np.isfinite(values).all():
        raise ValueError(f"{key} has NaN or infinite values; remove the frame or repair its label")
    return values


def _symmetric_matrix(values: NDArray[np.float64], key: str) -> NDArray[np.float64]:
    if values.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(values), dtype=np.float64)
    if values.shape not in ((3, 3), (9,)):
        raise ValueError(f"{key} has shape {values.shape}; allowed are (3, 3), (9,), or (6,) as xx yy zz yz xz xy")
    matrix = values.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > STRESS_ASYMMETRY * np.abs(matrix).max():
        raise ValueError(f"{key} is not symmetric: {matrix.tolist()}")
    return 0.5 * (matrix + matrix.T)
