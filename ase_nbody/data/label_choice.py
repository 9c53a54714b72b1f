"""Which labels of a file are used, and what a user should know of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ase_nbody.data.families import KNOWN, Family, Table, choose_family, families_of, unused_sources
from ase_nbody.data.label_names import label_name
from ase_nbody.data.labels import LabelSource, energy_of, forces_of, has_stress, keys_found, stress_of

QUANTITIES = ("energy", "forces", "stress")
# Labels of one origin that were written with other numbers of digits differ by less: eV, eV/angstrom, eV/angstrom^3.
ROUNDING = {"energy": 1e-3, "forces": 1e-3, "stress": 1e-5}
SINGLE_PRECISION = 3e-7
# Energies of one calculator that differ by less are one number, eV.
EQUAL = 1e-6
_UNITS = {"energy": "eV", "forces": "eV/angstrom", "stress": "eV/angstrom^3"}


@dataclass(frozen=True)
class Choice:
    """Which labels are used.

    Attributes:
        sources: where "energy", "forces" and "stress" stand, or None.
        unused: what else looks like labels.
        notes: sentences for the user.
    """

    sources: dict[str, LabelSource | None]
    unused: tuple[LabelSource, ...]
    notes: tuple[str, ...]


def choose_sources(table: Table, keys: Mapping[str, str | None]) -> Choice:
    """The labels of a file: those that the user names, and for the rest those of one family, see `choose_family`.

    Of energies and free energies those are taken that the forces belong to: with ASE's calculators the free ones.

    Args:
        table: what frames have.
        keys: names given by the user by quantity, None where labels are looked for.

    Raises:
        ValueError: no frame has a key that was given, or it cannot be known which labels belong together.
    """
    families = families_of(table)
    given = {quantity: _given(table, quantity, key) for quantity, key in keys.items() if key is not None}
    family = _family(table, families, given)
    sources: dict[str, LabelSource | None] = {q: given.get(q) for q in QUANTITIES}
    notes: list[str] = []
    if family is not None:
        for quantity in QUANTITIES:
            if quantity not in given and family.sources.get(quantity):
                sources[quantity] = table.pick(family.sources[quantity])
        if "energy" not in given and family.free_energies:
            sources["energy"], words = _free_or_not(table, family, sources)
            notes += words
    if "energy" in given and "forces" not in given:
        notes += _energies_of_the_forces(table, families, given["energy"], sources["forces"])
    for quantity in (q for q in QUANTITIES if q not in given):
        notes += _others(table, families, quantity, sources[quantity])
    unused = unused_sources(table, list(sources.values()))
    return Choice(sources, tuple(s for s in unused if not _is_same_energy(table, s, sources["energy"])), tuple(notes))


def _energies_of_the_forces(
    table: Table, families: Mapping[str, Family], energy: LabelSource, forces: LabelSource | None
) -> list[str]:
    """A sentence where the forces stand beside other energies than those that the user named."""
    if forces is None:
        return []
    beside = next((f for f in families.values() if forces in f.all("forces")), None)
    if beside is None or energy in beside.all("energy") or not beside.has("energy"):
        return []
    other = table.pick(beside.all("energy"))
    pairs = _pairs(table, "energy", energy, other)
    different = [(number, a, b) for number, a, b in pairs if abs(a - b) > ROUNDING["energy"]]
    if not different:
        return []
    number, a, b = max(different, key=lambda pair: abs(float(pair[1] - pair[2])))
    return [
        f"the forces ({forces.name}) stand beside other energies than {energy.name}: {other.name} differs in "
        f"{len(different)} of {len(pairs)} frames, in frame {number}: {a:.6f} and {b:.6f} eV; name the forces too "
        "(--forces-key) if they are of another method"
    ]


def _given(table: Table, quantity: str, key: str) -> LabelSource:
    sources = [LabelSource(place, key) for place in ("info", "arrays", "calculator")]
    present = [source for source in sources if table.counts[source]]
    if not present:
        raise ValueError(f"no frame has {quantity} under the key {key!r}; {keys_found(table.values)}")
    return table.pick(present)


def _family(table: Table, families: Mapping[str, Family], given: Mapping[str, LabelSource]) -> Family | None:
    wanted = [quantity for quantity in ("energy", "forces") if quantity not in given]
    for source in (given[q] for q in ("energy", "forces") if q in given):
        name = label_name(source.key)
        family = None if name is None else families.get(name.origin)
        if family is not None and all(family.has(quantity) for quantity in wanted):
            return family
    return choose_family(table, families, wanted) if wanted else None


def _free_or_not(
    table: Table, family: Family, sources: Mapping[str, LabelSource | None]
) -> tuple[LabelSource, list[str]]:
    """The energy that the forces belong to, and a sentence where the two differ."""
    free, energy = table.pick(family.free_energies), sources["energy"]
    if energy is None:
        return free, []
    pairs = _pairs(table, "energy", energy, free)
    rounding = EQUAL if free.place == "calculator" else ROUNDING["energy"]
    different = [(number, a, b) for number, a, b in pairs if abs(a - b) > rounding]
    if not different or sources["forces"] is None:
        return energy, []
    number, a, b = max(different, key=lambda pair: abs(float(pair[1] - pair[2])))
    words = f"{energy.name} and {free.name} differ in {len(different)} of {len(pairs)} frames, in frame {number}: "
    words += f"{a:.6f} and {b:.6f} eV"
    if free.place == "calculator" and table.counts[free] >= table.counts[energy]:
        return free, [f"{words}; the free energy is used, as forces are its derivative"]
    raise ValueError(
        f"{words}; say which one the forces belong to, with energy_key='{energy.key}' or '{free.key}' (--energy-key)"
    )


def _others(table: Table, families: Mapping[str, Family], quantity: str, chosen: LabelSource | None) -> list[str]:
    """Sentences on other labels of a quantity that disagree, or that stand where the chosen one is missing."""
    if chosen is None:
        return []
    complete = [f for f in families.values() if f.origin in KNOWN or (f.has("energy") and f.has("forces"))]
    notes = []
    for other in (s for f in complete for s in f.sources.get(quantity, ()) if s != chosen):
        name = label_name(chosen.key)
        pairs = [] if name is not None and name.is_free else _pairs(table, quantity, chosen, other)
        different = [pair for pair in pairs if _differ(quantity, pair[1], pair[2])]
        if different:
            number, a, b = max(different, key=lambda pair: float(np.abs(pair[1] - pair[2]).max()))
            notes.append(
                f"{chosen.name} and {other.name} differ in {len(different)} of {len(pairs)} frames, most in frame "
                f"{number}: {_shown(quantity, a, b)}; {chosen.name} is used (another with --{quantity}-key)"
            )
        alone = [i for i, values in enumerate(table.values) if other in values and chosen not in values]
        if alone:
            notes.append(
                f"{len(alone)} frames have {other.name} and no {chosen.name}, first frame {alone[0]}; not used"
            )
    return notes


def _pairs(
    table: Table, quantity: str, one: LabelSource, other: LabelSource
) -> list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Number and both labels of the frames that have two; none where the other is no such label."""
    both = [i for i, values in enumerate(table.values) if one in values and other in values]
    if quantity == "stress":
        both = [i for i in both if has_stress(table.structures[i])]
    try:
        return [(i, *(_label(table, i, quantity, source) for source in (one, other))) for i in both]  # type: ignore[misc]
    except ValueError:
        return []


def _label(table: Table, number: int, quantity: str, source: LabelSource) -> NDArray[np.float64]:
    raw: Any = table.values[number][source]
    atoms = table.structures[number]
    if quantity == "energy":
        return np.array(energy_of(source.key, raw))
    if quantity == "forces":
        return forces_of(source.key, raw, len(atoms))
    return stress_of(source.key, raw, atoms.get_volume())


def _differ(quantity: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool((np.abs(a - b) > ROUNDING[quantity] + SINGLE_PRECISION * np.abs(a)).any())


def _shown(quantity: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> str:
    if quantity == "energy":
        return f"{a:.6f} and {b:.6f} eV"
    row, column = np.unravel_index(np.abs(a - b).argmax(), a.shape)
    where = f"atom {row}, {'xyz'[column]}" if quantity == "forces" else "xyz"[row] + "xyz"[column]
    return f"{where}: {a[row, column]:.6g} and {b[row, column]:.6g} {_UNITS[quantity]}"


def _is_same_energy(table: Table, source: LabelSource, energy: LabelSource | None) -> bool:
    """Whether a source is the calculator's other energy and equals the one that is used."""
    if energy is None or source.place != "calculator" or source.key not in ("energy", "free_energy"):
        return False
    pairs = _pairs(table, "energy", energy, source)
    return energy.place == "calculator" and bool(pairs) and all(abs(a - b) <= EQUAL for _, a, b in pairs)
