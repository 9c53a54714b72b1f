"""Finding reference labels in frames: the calculator first, then the keys that people use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from ase_nbody.data.dataset import Labels

USUAL_KEYS: Mapping[str, tuple[str, ...]] = {
    "energy": (
        *("REF_energy", "ref_energy", "DFT_energy", "dft_energy", "energy_dft", "energy", "Energy"),
        *("total_energy", "TotEnergy", "free_energy", "energies_total"),
    ),
    "forces": (
        *("REF_forces", "ref_forces", "REF_force", "DFT_forces", "dft_forces", "dft_force", "forces_dft"),
        *("forces", "Forces", "force", "Force"),
    ),
    "stress": (
        *("REF_stress", "ref_stress", "DFT_stress", "dft_stress", "stress", "Stress"),
        *("REF_virial", "ref_virial", "DFT_virial", "dft_virial", "virial", "virials", "Virial"),
    ),
}
CALCULATOR_KEYS: Mapping[str, tuple[str, ...]] = {
    "energy": ("energy", "free_energy"),
    "forces": ("forces",),
    "stress": ("stress",),
}
# Stresses that DFT programs print are symmetric to the last digits; a real difference means another layout.
STRESS_ASYMMETRY = 1e-2


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


def choose_source(
    frames: Sequence[Atoms], quantity: str, key: str | None
) -> tuple[LabelSource | None, tuple[LabelSource, ...]]:
    """Where one quantity stands in a file, and where else it could have been taken from.

    One source serves the whole file, so that levels of theory do not mix: the one that labels the most frames, and of
    those the first in the order calculator, REF_..., DFT_..., plain names.

    Args:
        frames: the structures as read.
        quantity: "energy", "forces" or "stress".
        key: name given by the user, or None to look under the usual ones.

    Raises:
        ValueError: no frame has the key that was given.
    """
    counts = {source: sum(_raw(f, source) is not None for f in frames) for source in _candidates(quantity, key)}
    found = [source for source, count in counts.items() if count]
    if not found:
        if key is not None:
            raise ValueError(f"no frame has {quantity} under the key {key!r}; {keys_found(frames)}")
        return None, ()
    chosen = max(found, key=lambda source: counts[source])
    return chosen, tuple(source for source in found if source != chosen)


def keys_found(frames: Sequence[Atoms]) -> str:
    """A sentence that lists the info, arrays and calculator keys of all frames."""
    names: dict[str, set[str]] = {"info": set(), "arrays": set(), "calculator": set()}
    for frame in frames:
        for place, keys in names.items():
            keys.update(_place(frame, place))
    names["arrays"] -= {"numbers", "positions"}
    words = [f"{place}: {', '.join(sorted(keys)) or 'none'}" for place, keys in names.items()]
    return f"keys found: {'; '.join(words)}"


def labels_of(
    atoms: Atoms, energy: LabelSource | None, forces: LabelSource | None, stress: LabelSource | None
) -> Labels:
    """Labels of one frame from chosen sources.

    Raises:
        ValueError: a label is no number, not finite, or of the wrong shape.
    """
    return Labels(
        energy=None if energy is None else _energy(atoms, energy),
        forces=None if forces is None else _forces(atoms, forces),
        stress=None if stress is None else _stress(atoms, stress),
    )


def _candidates(quantity: str, key: str | None) -> Iterator[LabelSource]:
    if key is not None:
        yield from (LabelSource(place, key) for place in ("info", "arrays", "calculator"))
        return
    yield from (LabelSource("calculator", k) for k in CALCULATOR_KEYS[quantity])
    for name in USUAL_KEYS[quantity]:
        yield from (LabelSource(place, name) for place in ("info", "arrays"))


def _place(atoms: Atoms, place: str) -> Mapping[str, Any]:
    if place == "calculator":
        return {} if atoms.calc is None else {k: v for k, v in atoms.calc.results.items() if v is not None}
    if place == "arrays":
        return atoms.arrays
    nested = {**atoms.info.get("key_value_pairs", {}), **atoms.info.get("data", {})}  # rows of ase.db
    return {**{k: v for k, v in atoms.info.items() if k not in ("key_value_pairs", "data", "unique_id")}, **nested}


def _raw(atoms: Atoms, source: LabelSource) -> Any:
    return _place(atoms, source.place).get(source.key)


def _numbers(atoms: Atoms, source: LabelSource) -> NDArray[np.float64] | None:
    raw = _raw(atoms, source)
    if raw is None:
        return None
    try:
        values = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{source.key} is {raw!r}; a label must be made of numbers") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{source.key} has NaN or infinite values; remove the frame or repair its label")
    return values


def _energy(atoms: Atoms, source: LabelSource) -> float | None:
    values = _numbers(atoms, source)
    if values is None:
        return None
    if values.size != 1:
        raise ValueError(f"{source.key} has shape {values.shape}; an energy is one number, in eV")
    return float(values.reshape(()))


def _forces(atoms: Atoms, source: LabelSource) -> NDArray[np.float64] | None:
    values = _numbers(atoms, source)
    if values is None:
        return None
    if values.shape != (len(atoms), 3):
        raise ValueError(f"{source.key} has shape {values.shape}; forces on {len(atoms)} atoms are ({len(atoms)}, 3)")
    return values


def _stress(atoms: Atoms, source: LabelSource) -> NDArray[np.float64] | None:
    values = _numbers(atoms, source)
    if values is None:
        return None
    stress = _symmetric_matrix(values, source.key)
    volume = abs(np.linalg.det(atoms.cell.array))
    if not (atoms.pbc.all() and volume > 0.0):
        if stress.any():
            raise ValueError(
                f"{source.key} is not zero but the structure has no full cell (pbc {atoms.pbc.tolist()}, volume "
                f"{volume:g} angstrom^3); give it one or remove the label"
            )
        return None
    return -stress / volume if "virial" in source.key.lower() else stress


def _symmetric_matrix(values: NDArray[np.float64], key: str) -> NDArray[np.float64]:
    if values.shape == (6,):
        return np.asarray(voigt_6_to_full_3x3_stress(values), dtype=np.float64)
    if values.shape not in ((3, 3), (9,)):
        raise ValueError(f"{key} has shape {values.shape}; allowed are (3, 3), (9,), or (6,) as xx yy zz yz xz xy")
    matrix = values.reshape(3, 3)
    if np.abs(matrix - matrix.T).max() > STRESS_ASYMMETRY * np.abs(matrix).max():
        raise ValueError(f"{key} is not symmetric: {matrix.tolist()}")
    return 0.5 * (matrix + matrix.T)
