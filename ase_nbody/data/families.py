"""Families of labels: names of one origin, such as REF_energy and REF_forces. One family labels a whole file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from ase_nbody.data.label_names import LabelName, label_name
from ase_nbody.data.labels import CALCULATOR_KEYS, FURTHER_OF_ASE, Floats, LabelSource, Values, label_of
from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS, Property

# Origins that say "this is a reference label". They go before the plain names, of which ASE puts energy, forces and
# stress into the calculator, and which are often of another method.
EXPLICIT = ("ref", "dft")
PLAIN = ""
KNOWN = (*EXPLICIT, PLAIN)
_PLACES = ("calculator", "info", "arrays")
# Arrays of ASE, and of `nbody label`, that have the shape of forces or the name of charges.
_NO_LABELS = {"momenta", "initial_charges", "initial_magmoms", "magmoms", "velocities", "velo", "vel", "forces_spread"}


@dataclass(frozen=True)
class Table:
    """All labels that frames have.

    Attributes:
        structures: the frames.
        values: what stands in each frame.
        further: what is looked for beside energies, forces and stress.
        unread: what else labels may be of; they are not used.
        counts: number of frames that have a source.
        first: number of the first frame that has a source.
    """

    structures: Sequence[Atoms]
    values: Sequence[Values]
    further: tuple[Property, ...] = ()
    unread: tuple[Property, ...] = ()
    counts: Counter[LabelSource] = field(init=False, default_factory=Counter)
    first: dict[LabelSource, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for number, values in enumerate(self.values):
            self.counts.update(values.keys())
            for source in values:
                self.first.setdefault(source, number)

    @property
    def properties(self) -> tuple[Property, ...]:
        """What labels are looked for."""
        return (*LABELLED, *self.further)

    def name(self, source: LabelSource) -> LabelName | None:
        """What the name of a source says about its labels; None where it is none of these."""
        return label_name(source.key, [kind.name for kind in self.further])

    def label(self, number: int, kind: Property, source: LabelSource) -> Floats:
        """A label of one frame, see `label_of`."""
        return label_of(kind, source.key, self.values[number][source], self.structures[number])

    def pick(self, sources: Sequence[LabelSource]) -> LabelSource:
        """The source that labels the most frames, and of those the first."""
        return max(sources, key=lambda source: self.counts[source])


@dataclass(frozen=True)
class Family:
    """Sources of one origin by property, each in the order in which they are preferred."""

    origin: str
    sources: Mapping[Property, Sequence[LabelSource]]
    free_energies: Sequence[LabelSource]

    def has(self, kind: Property) -> bool:
        """Whether the family labels a property."""
        return bool(self.all(kind))

    def all(self, kind: Property) -> Sequence[LabelSource]:
        """All sources of a property; of energies the free ones last."""
        return [*self.sources.get(kind, ()), *(self.free_energies if kind == ENERGY else ())]


def families_of(table: Table) -> dict[str, Family]:
    """The families of labels in a file, by origin."""
    sources: dict[str, dict[Property, list[LabelSource]]] = {}
    free: dict[str, list[LabelSource]] = {}
    kinds = {kind.name: kind for kind in table.properties}
    for source in sorted(table.counts, key=_preference):
        name = table.name(source)
        if name is None or (source.place == "calculator" and source.key not in (*CALCULATOR_KEYS, *kinds)):
            continue
        kind = kinds[name.quantity]
        if name.origin not in KNOWN and not _has_shape(table, source, kind):
            continue
        of_origin = sources.setdefault(name.origin, {})
        if name.is_free:
            free.setdefault(name.origin, []).append(source)
        else:
            of_origin.setdefault(kind, []).append(source)
    return {origin: Family(origin, of_origin, free.get(origin, [])) for origin, of_origin in sources.items()}


def choose_family(table: Table, families: Mapping[str, Family], wanted: Sequence[Property]) -> Family | None:
    """The family that labels a file, or None.

    It is the one with the most of the wanted quantities. Of several, those stay that label at least half as many frames
    as the best, and of those the first in the order REF_, DFT_, plain names with the calculator. A prefix of the user's
    own that has all that is wanted is taken where none of these has.

    Args:
        table: what frames have.
        families: by origin.
        wanted: of energies and forces those that the user has not named.

    Raises:
        ValueError: one family has the energies and another the forces, or several have a prefix of the user's own.
    """
    known = [f for f in (families.get(origin) for origin in KNOWN) if f is not None and _n_of(f, wanted)]
    own = [f for origin, f in families.items() if origin not in KNOWN and _n_of(f, wanted) == len(wanted)]
    most = max((_n_of(f, wanted) for f in known), default=0)
    if known and (most == len(wanted) or not own):
        _check_one_origin(table, known, wanted, most)
        complete = [f for f in known if _n_of(f, wanted) == most]
        n_labels = [sum(max(table.counts[s] for s in f.all(q)) for q in wanted if f.has(q)) for f in complete]
        return next(f for f, n in zip(complete, n_labels, strict=True) if 2 * n >= max(n_labels))
    if len(own) > 1:
        names = "; ".join(f"{table.pick(f.all(ENERGY))} and {table.pick(f.all(FORCES))}" for f in own)
        raise ValueError(f"several labels are there ({names}); say which, with energy_key (--energy-key)")
    return own[0] if own else None


def unused_sources(table: Table, chosen: Sequence[LabelSource | None]) -> list[LabelSource]:
    """What looks like labels and is not used: by its name, or an array of the shape of forces."""
    unused = [source for source in table.counts if source not in chosen and _looks_like_label(table, source)]
    return sorted(unused, key=_preference)


def _preference(source: LabelSource) -> tuple[int, bool, str]:
    name = label_name(source.key)
    return _PLACES.index(source.place), name is not None and name.is_virial, source.key


def _n_of(family: Family, wanted: Sequence[Property]) -> int:
    return sum(family.has(kind) for kind in wanted)


def _check_one_origin(table: Table, known: Sequence[Family], wanted: Sequence[Property], most: int) -> None:
    if most == len(wanted):
        return
    families = {kind: next((f for f in known if f.has(kind)), None) for kind in wanted}
    energy, forces = families.get(ENERGY), families.get(FORCES)
    if energy is None or forces is None:
        return
    energy_source, forces_source = table.pick(energy.all(ENERGY)), table.pick(forces.all(FORCES))
    raise ValueError(
        f"the energies stand in {energy_source.name} and the forces in {forces_source.name}: labels of different names "
        f"may be of different methods. If they belong together, give energy_key='{energy_source.key}' and "
        f"forces_key='{forces_source.key}' (--energy-key, --forces-key)"
    )


def _has_shape(table: Table, source: LabelSource, kind: Property) -> bool:
    if kind == STRESS:  # has too many shapes
        return True
    try:
        table.label(table.first[source], kind, source)
    except ValueError:
        return False
    return True


def _looks_like_label(table: Table, source: LabelSource) -> bool:
    kinds = {kind.name for kind in (*table.further, *table.unread)} | set(FURTHER_OF_ASE)
    if source.place == "calculator":
        return source.key in (*CALCULATOR_KEYS, *kinds)
    if source.key in _NO_LABELS:
        return False
    if label_name(source.key, kinds) is not None:
        return True
    number = table.first[source]
    n_atoms = len(table.structures[number])
    # Any matrix of three rows has the shape of forces on three atoms, but only an array is of the atoms.
    return np.shape(table.values[number][source]) == (n_atoms, 3) and (source.place == "arrays" or n_atoms != 3)
