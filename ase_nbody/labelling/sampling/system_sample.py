"""The sample of one system: relaxed, sampled in every kind, filtered and thinned."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import ceil

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculationFailed

from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.sampling.candidates import kinds_of
from ase_nbody.labelling.sampling.filters import broken_energy, broken_geometry
from ase_nbody.labelling.sampling.kinds import Candidate, Kind
from ase_nbody.labelling.sampling.selection import duplicates, farthest
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.start import RelaxedStart, relaxed_start
from ase_nbody.labelling.sampling.system import System


@dataclass(frozen=True)
class SystemTask:
    """What a process is asked to do.

    Attributes:
        system: what is sampled.
        partners: molecules that dimers are made with besides itself.
        reference: as `ase_nbody.labelling.reference` takes it.
        options: of the reference, by name.
        settings: how it is sampled.
        seed: of all numbers, together with the name of the system and the kind.
    """

    system: System
    partners: tuple[System, ...]
    reference: str
    options: Mapping[str, str]
    settings: SampleSettings
    seed: int


@dataclass(frozen=True)
class KindCounts:
    """What became of the candidates of a kind: made = broken + duplicates + spare + kept.

    Attributes:
        made: candidates.
        broken: by reason, as `filters.REASONS` names them.
        duplicates: of others that were made.
        spare: good ones, but others cover more.
        kept: in the output.
    """

    made: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    spare: int = 0
    kept: int = 0


@dataclass(frozen=True)
class SystemSample:
    """The sample of a system.

    Attributes:
        name: of the system.
        formula: in Hill's order; empty where there is no geometry.
        structures: kept, with name, family, sampled_by, seed, charge and multiplicity in info.
        counts: by kind.
        notes: what a user should know.
        seconds: that it took.
        failure: why there is no sample; empty where there is one.
    """

    name: str
    formula: str = ""
    structures: tuple[Atoms, ...] = ()
    counts: dict[str, KindCounts] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    failure: str = ""


def system_sample(task: SystemTask) -> SystemSample:
    """Sample one system; the same for the same task, in whatever process and order.

    Args:
        task: system, reference, settings and seed.

    Raises:
        ValueError: the system cannot be sampled; the reason is in the words.
    """
    begin = time.monotonic()
    calculator = reference(task.reference, task.options).calculator()
    start = _start(task, calculator)
    kinds = kinds_of(start, task.settings)
    good, counts, notes = _good_candidates(start, kinds, task)
    structures = [atoms for _, atoms in good]
    twice = duplicates(structures, task.settings.resolution)
    single = [pair for pair, double in zip(good, twice, strict=True) if not double]
    chosen = farthest(
        [atoms for _, atoms in single],
        [kind for kind, _ in single],
        {name: kind.share for name, kind in kinds.items()},
        task.settings.number,
    )
    kept = [single[n] for n in chosen]
    doubles = Counter(kind for (kind, _), double in zip(good, twice, strict=True) if double)
    lasting, ending = Counter(kind for kind, _ in single), Counter(kind for kind, _ in kept)
    counts = {
        kind: replace(count, duplicates=doubles[kind], spare=lasting[kind] - ending[kind], kept=ending[kind])
        for kind, count in counts.items()
    }
    for _, atoms in kept:
        atoms.info["seed"] = task.seed
    formula = start.minima[0].get_chemical_formula()
    seconds = time.monotonic() - begin
    return SystemSample(start.name, formula, tuple(atoms for _, atoms in kept), counts, notes, seconds)


def _start(task: SystemTask, calculator: BaseCalculator) -> RelaxedStart:
    """The relaxed system, and the partners where dimers are wanted."""
    start = relaxed_start(task.system, calculator, task.settings, _generator(task, task.system.name, "start"))
    if start.bonds is None or "dimers" not in task.settings.kinds:
        return start
    partners = [
        relaxed_start(partner, calculator, task.settings, _generator(task, partner.name, "start"))
        for partner in task.partners
    ]
    return replace(start, partners=tuple(partner for partner in partners if partner.bonds is not None))


def _good_candidates(
    start: RelaxedStart, kinds: dict[str, Kind], task: SystemTask
) -> tuple[list[tuple[str, Atoms]], dict[str, KindCounts], tuple[str, ...]]:
    """Kind and structure of all candidates that are not broken, what became of the others, and notes."""
    total = sum(kind.share for kind in kinds.values())
    good: list[tuple[str, Atoms]] = []
    counts, notes = {}, list(start.notes)
    for name, kind in kinds.items():
        number = ceil(kind.surplus * task.settings.number * kind.share / total)
        candidates: list[Candidate] = []
        try:
            candidates += kind.candidates(start, task.settings, number, _generator(task, start.name, name))
        except CalculationFailed as error:
            notes.append(f"{name} left out: {error}")
        reasons = [_broken(candidate, start.calculator, kind, task.settings) for candidate in candidates]
        good += [(name, c.atoms) for c, reason in zip(candidates, reasons, strict=True) if reason is None]
        counts[name] = KindCounts(len(candidates), dict(Counter(reason for reason in reasons if reason)))
    return good, counts, tuple(notes)


def _broken(candidate: Candidate, calculator: BaseCalculator, kind: Kind, settings: SampleSettings) -> str | None:
    return broken_geometry(candidate, settings) or broken_energy(
        candidate, calculator, settings, breaks_bonds=kind.breaks_bonds
    )


def _generator(task: SystemTask, *words: str) -> np.random.Generator:
    """Numbers that depend on the seed and on names only, not on what is sampled before or beside."""
    digest = sha256("\n".join(words).encode()).digest()
    return np.random.default_rng([task.seed, *np.frombuffer(digest, dtype=np.uint32).tolist()])


def total_counts(samples: Sequence[SystemSample]) -> dict[str, KindCounts]:
    """Counts by kind, added over systems."""
    totals: dict[str, KindCounts] = {}
    for sample in samples:
        for kind, count in sample.counts.items():
            totals[kind] = _added(totals.get(kind, KindCounts()), count)
    return totals


def _added(one: KindCounts, other: KindCounts) -> KindCounts:
    return KindCounts(
        one.made + other.made,
        dict(Counter(one.broken) + Counter(other.broken)),
        one.duplicates + other.duplicates,
        one.spare + other.spare,
        one.kept + other.kept,
    )
