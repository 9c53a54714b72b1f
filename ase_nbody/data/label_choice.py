"""Which labels of a file are used, and what a user should know of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ase_nbody.data.families import KNOWN, Family, Table, choose_family, families_of, unused_sources
from ase_nbody.data.labels import Floats, LabelSource, has_stress, keys_found
from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS, Property

SINGLE_PRECISION = 3e-7
# Energies of one calculator that differ by less are one number, eV.
EQUAL = 1e-6


@dataclass(frozen=True)
class Choice:
    """Which labels are used.

    Attributes:
        sources: where labels of each property stand, or None.
        unused: what else looks like labels.
        notes: sentences for the user.
    """

    sources: dict[Property, LabelSource | None]
    unused: tuple[LabelSource, ...]
    notes: tuple[str, ...]


def choose_sources(table: Table, keys: Mapping[Property, str]) -> Choice:
    """The labels of a file: those that the user names, and for the rest those of one family, see `choose_family`.

    Of energies and free energies those are taken that the forces belong to: with ASE's calculators the free ones.

    Args:
        table: what frames have.
        keys: names that the user gives; other labels are looked for.

    Raises:
        ValueError: no frame has a key that was given, or it cannot be known which labels belong together.
    """
    families = families_of(table)
    given = {kind: _given(table, kind, key) for kind, key in keys.items()}
    family = _family(table, families, given)
    sources: dict[Property, LabelSource | None] = {kind: given.get(kind) for kind in table.properties}
    notes: list[str] = []
    if family is not None:
        for kind in table.properties:
            if kind not in given and family.sources.get(kind):
                sources[kind] = table.pick(family.sources[kind])
        if ENERGY not in given and family.free_energies:
            sources[ENERGY], words = _free_or_not(table, family, sources)
            notes += words
    if ENERGY in given and FORCES not in given:
        notes += _energies_of_the_forces(table, families, given[ENERGY], sources[FORCES])
    for kind in (kind for kind in table.properties if kind not in given):
        notes += _others(table, families, kind, sources[kind])
    unused = unused_sources(table, list(sources.values()))
    return Choice(sources, tuple(s for s in unused if not _is_same_energy(table, s, sources[ENERGY])), tuple(notes))


def _energies_of_the_forces(
    table: Table, families: Mapping[str, Family], energy: LabelSource, forces: LabelSource | None
) -> list[str]:
    """A sentence where the forces stand beside other energies than those that the user named."""
    if forces is None:
        return []
    beside = next((f for f in families.values() if forces in f.all(FORCES)), None)
    if beside is None or energy in beside.all(ENERGY) or not beside.has(ENERGY):
        return []
    other = table.pick(beside.all(ENERGY))
    pairs = _pairs(table, ENERGY, energy, other)
    different = [(number, a, b) for number, a, b in pairs if abs(a - b) > ENERGY.rounding]
    if not different:
        return []
    number, a, b = max(different, key=lambda pair: abs(float(pair[1] - pair[2])))
    return [
        f"the forces ({forces.name}) stand beside other energies than {energy.name}: {other.name} differs in "
        f"{len(different)} of {len(pairs)} frames, in frame {number}: {a:.6f} and {b:.6f} eV; name the forces too "
        "(--forces-key) if they are of another method"
    ]


def _given(table: Table, kind: Property, key: str) -> LabelSource:
    sources = [LabelSource(place, key) for place in ("info", "arrays", "calculator")]
    present = [source for source in sources if table.counts[source]]
    if not present:
        raise ValueError(f"no frame has {kind.name} under the key {key!r}; {keys_found(table.values)}")
    return table.pick(present)


def _family(table: Table, families: Mapping[str, Family], given: Mapping[Property, LabelSource]) -> Family | None:
    wanted = [kind for kind in (ENERGY, FORCES) if kind not in given]
    for source in (given[kind] for kind in (ENERGY, FORCES) if kind in given):
        name = table.name(source)
        family = None if name is None else families.get(name.origin)
        if family is not None and all(family.has(kind) for kind in wanted):
            return family
    chosen = choose_family(table, families, wanted) if wanted else None
    return _of_further(table, families) if chosen is None and not given else chosen


def _of_further(table: Table, families: Mapping[str, Family]) -> Family | None:
    """The first family that labels something else where nothing has energies or forces."""
    known = (families[origin] for origin in KNOWN if origin in families)
    return next((family for family in known if any(family.has(kind) for kind in table.further)), None)


def _free_or_not(
    table: Table, family: Family, sources: Mapping[Property, LabelSource | None]
) -> tuple[LabelSource, list[str]]:
    """The energy that the forces belong to, and a sentence where the two differ."""
    free, energy = table.pick(family.free_energies), sources[ENERGY]
    if energy is None:
        return free, []
    pairs = _pairs(table, ENERGY, energy, free)
    rounding = EQUAL if free.place == "calculator" else ENERGY.rounding
    different = [(number, a, b) for number, a, b in pairs if abs(a - b) > rounding]
    if not different or sources[FORCES] is None:
        return energy, []
    number, a, b = max(different, key=lambda pair: abs(float(pair[1] - pair[2])))
    words = f"{energy.name} and {free.name} differ in {len(different)} of {len(pairs)} frames, in frame {number}: "
    words += f"{a:.6f} and {b:.6f} eV"
    if free.place == "calculator" and table.counts[free] >= table.counts[energy]:
        return free, [f"{words}; the free energy is used, as forces are its derivative"]
    raise ValueError(
        f"{words}; say which one the forces belong to, with energy_key='{energy.key}' or '{free.key}' (--energy-key)"
    )


def _others(table: Table, families: Mapping[str, Family], kind: Property, chosen: LabelSource | None) -> list[str]:
    """Sentences on other labels of a property that disagree, or that stand where the chosen one is missing."""
    if chosen is None:
        return []
    complete = [f for f in families.values() if f.origin in KNOWN or (f.has(ENERGY) and f.has(FORCES))]
    notes = []
    for other in (s for f in complete for s in f.sources.get(kind, ()) if s != chosen):
        name = table.name(chosen)
        pairs = [] if name is not None and name.is_free else _pairs(table, kind, chosen, other)
        different = [pair for pair in pairs if _differ(kind, pair[1], pair[2])]
        if different:
            number, a, b = max(different, key=lambda pair: float(np.abs(pair[1] - pair[2]).max()))
            notes.append(
                f"{chosen.name} and {other.name} differ in {len(different)} of {len(pairs)} frames, most in frame "
                f"{number}: {_shown(kind, a, b)}; {chosen.name} is used (another with {_option(kind)})"
            )
        alone = [i for i, values in enumerate(table.values) if other in values and chosen not in values]
        if alone:
            notes.append(
                f"{len(alone)} frames have {other.name} and no {chosen.name}, first frame {alone[0]}; not used"
            )
    return notes


def _pairs(table: Table, kind: Property, one: LabelSource, other: LabelSource) -> list[tuple[int, Floats, Floats]]:
    """Number and both labels of the frames that have two; none where the other is no such label."""
    both = [i for i, values in enumerate(table.values) if one in values and other in values]
    if kind == STRESS:
        both = [i for i in both if has_stress(table.structures[i])]
    try:
        return [(i, table.label(i, kind, one), table.label(i, kind, other)) for i in both]
    except ValueError:
        return []


def _differ(kind: Property, a: Floats, b: Floats) -> bool:
    return bool((np.abs(a - b) > kind.rounding + SINGLE_PRECISION * np.abs(a)).any())


def _option(kind: Property) -> str:
    return f"--{kind.name}-key" if kind in LABELLED else f"--key {kind.name}=NAME"


def _shown(kind: Property, a: Floats, b: Floats) -> str:
    """Two labels where they differ most."""
    if kind == ENERGY:
        return f"{a:.6f} and {b:.6f} eV"
    place = np.unravel_index(np.abs(a - b).argmax(), a.shape)
    component = place[1:] if kind.per_atom else place
    words = [f"atom {place[0]}"] if kind.per_atom else []
    if component:
        words.append("".join("xyz"[i] for i in component) if set(kind.shape) == {3} else str(component))
    return f"{', '.join(words)}: {a[place]:.6g} and {b[place]:.6g} {kind.unit}".removeprefix(": ")


def _is_same_energy(table: Table, source: LabelSource, energy: LabelSource | None) -> bool:
    """Whether a source is the calculator's other energy and equals the one that is used."""
    if energy is None or source.place != "calculator" or source.key not in ("energy", "free_energy"):
        return False
    pairs = _pairs(table, ENERGY, energy, source)
    return energy.place == "calculator" and bool(pairs) and all(abs(a - b) <= EQUAL for _, a, b in pairs)
