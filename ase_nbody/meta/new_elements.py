"""Elements that a start does not know: each begins as its nearest neighbour in the periodic table, and is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ase.data import atomic_numbers

from ase_nbody.data import Dataset
from ase_nbody.potential import Potential

FEWEST = 20
"""Structures that must have a new element: with less, its weights stay those of another one."""
LAST_OF_PERIODS = (2, 10, 18, 36, 54, 86, 118)


@dataclass(frozen=True)
class Widened:
    """A start that knows all elements of some structures.

    Attributes:
        potential: with the new elements; the start itself where there are none.
        nearest: by new element, the one that it began as.
    """

    potential: Potential
    nearest: Mapping[str, str]


def with_new_elements(start: Potential, data: Dataset) -> Widened:
    """A start with the elements of the structures.

    Every weight that belongs to an element, or to a pair of them, begins as that of `nearest_element`, and so does the
    reference energy.

    Args:
        start: that is adapted.
        data: structures to learn.

    Raises:
        ValueError: an element that has no near one in the start, that too few structures have, or an architecture
            that takes none.
    """
    counts = {e: sum(e in atoms.symbols for atoms in data.structures) for e in data.elements if e not in start.elements}
    if not counts:
        return Widened(start, {})
    known = f"which the start does not know ({', '.join(start.elements)})"
    way_out = "adapt another model (nbody models lists them), train one (nbody train), or leave these structures out"
    nearest = {}
    for element, count in sorted(counts.items()):
        near = nearest_element(element, start.elements)
        if near is None:
            raise ValueError(f"{data.source} has {element}, {known}, nor a neighbour of it; {way_out}")
        if count < FEWEST:
            raise ValueError(
                f"{data.source} has {element}, {known}, in {count} structure(s); it can begin as {near} where "
                f"{FEWEST} or more have it: label more, or {way_out}"
            )
        nearest[element] = near
    network = start.network.with_elements(nearest)
    if network is None:
        architecture = type(start.network).__name__
        raise ValueError(
            f"{data.source} has {', '.join(nearest)}, {known}, and {architecture} takes no new ones; {way_out}"
        )
    energies = {element: start.reference_energies[near] for element, near in nearest.items()}
    widened = replace(start, network=network, reference_energies={**start.reference_energies, **energies})
    return Widened(widened, nearest)


def nearest_element(element: str, known: Sequence[str]) -> str | None:
    """The element of the same group, or of the next one, and of the nearest period; None where there is none.

    Hydrogen is near nothing: its group shares no chemistry with it.

    Example:
        >>> [nearest_element(element, ("H", "C", "N", "O")) for element in ("F", "S", "Cl", "P", "Si", "Na", "Fe")]
        ['O', 'O', 'O', 'N', 'C', None, None]
        >>> nearest_element("Cl", ("H", "C", "O", "F"))
        'F'
    """
    period, group = _place(element)
    places = {e: _place(e) for e in known if e != "H"}
    far = {e: (abs(g - group), abs(p - period)) for e, (p, g) in places.items() if abs(g - group) <= 1}
    return min(far, key=lambda e: far[e]) if far and element != "H" else None


def _place(element: str) -> tuple[int, int]:
    """Period and group; lanthanides and actinides are in group 3."""
    number = atomic_numbers[element]
    period = next(n for n, last in enumerate(LAST_OF_PERIODS, start=1) if number <= last)
    before_next_noble_gas = LAST_OF_PERIODS[period - 1] - number
    since_noble_gas = number - (0, *LAST_OF_PERIODS)[period - 1]
    return period, since_noble_gas if since_noble_gas <= 2 and number != 2 else max(18 - before_next_noble_gas, 3)
