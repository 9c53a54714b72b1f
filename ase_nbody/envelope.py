"""Whether a structure lies within what a model's training data cover: what is said where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from math import isinf

_NAMED_PAIRS = 3  # in one line of text


class OutsideTrainingWarning(UserWarning):
    """A structure lies outside what the model was trained on: its energy and forces are extrapolated."""


class OutsideTrainingError(ValueError):
    """The same, where that was to be an error.

    Attributes:
        report: what is outside.
    """

    def __init__(self, report: EnvelopeReport) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[type[OutsideTrainingError], tuple[EnvelopeReport]]:
        return OutsideTrainingError, (self.report,)


@dataclass(frozen=True)
class ShortDistance:
    """Two atoms closer than in the training.

    Attributes:
        atoms: their numbers in the structure, one number twice for an atom and its image.
        pair: their elements, such as "C-H".
        distance: angstrom.
        closest: that of the pair in the training, angstrom; None where the training never had it within
            the cutoff.
    """

    atoms: tuple[int, int]
    pair: str
    distance: float
    closest: float | None

    def __str__(self) -> str:
        """The distance and what the training had."""
        known = "the training never had this pair" if self.closest is None else f"{self.closest:.2f} Å in the training"
        return f"{self.pair} {self.distance:.2f} Å (atoms {self.atoms[0]} and {self.atoms[1]}; {known})"


@dataclass(frozen=True)
class UnknownSurroundings:
    """An atom whose surroundings are unlike those of the training.

    Attributes:
        atom: its number in the structure.
        element: chemical symbol.
        distance: of its features, in units of the furthest of the element in the training; infinite where that did not
            have the element.
    """

    atom: int
    element: str
    distance: float

    def __str__(self) -> str:
        """The atom, and how far it is."""
        if isinf(self.distance):
            return f"atom {self.atom} is {self.element}, which the training did not have"
        return (
            f"surroundings of atom {self.atom} ({self.element}), {self.distance:.1f} times the furthest of the training"
        )


@dataclass(frozen=True)
class EnvelopeReport:
    """Where a structure stands in what a model's training data cover.

    Attributes:
        formula: of the structure.
        known: whether the model's file says what its training covered; without, nothing can be outside.
        distances: pairs of atoms closer than in the training, the one that is shortest beside its limit first.
        force: largest force on an atom, eV/angstrom.
        force_atom: the atom.
        force_max: largest force in the training, eV/angstrom; None where it is not known.
        energy_per_atom: beyond the reference energies, eV; None for atoms without neighbours.
        energy_range: that of the training, eV; None where it is not known.
        surroundings: atoms whose surroundings are unlike those of the training, the furthest first.
    """

    formula: str
    known: bool
    distances: tuple[ShortDistance, ...]
    force: float
    force_atom: int
    force_max: float | None
    energy_per_atom: float | None
    energy_range: tuple[float, float] | None
    surroundings: tuple[UnknownSurroundings, ...] = ()

    @property
    def kinds(self) -> frozenset[str]:
        """What is outside: "distance", "pair", "force", "energy" and "surroundings", or nothing."""
        kinds = {"pair" if d.closest is None else "distance" for d in self.distances}
        if self.force_max is not None and self.force > self.force_max:
            kinds.add("force")
        if self.energy_per_atom is not None and self.energy_range is not None:
            low, high = allowed_energies(self.energy_range)
            if not low <= self.energy_per_atom <= high:
                kinds.add("energy")
        if self.surroundings:
            kinds.add("surroundings")
        return frozenset(kinds)

    @property
    def inside(self) -> bool:
        """Whether nothing is outside."""
        return not self.kinds

    def __str__(self) -> str:
        """One sentence."""
        if not self.known:
            return f"{self.formula}: the model does not say what it was trained on"
        if self.inside:
            return f"{self.formula} is within what the model was trained on"
        return f"{self.formula} is outside what the model was trained on: {self.reason}"

    @property
    def reason(self) -> str:
        """What is outside, with values and what the training had; empty where nothing is."""
        kinds = self.kinds
        words = [str(distance) for distance in self.distances[:_NAMED_PAIRS]]
        if (more := len(self.distances) - _NAMED_PAIRS) > 0:
            words.append(f"{more} more pairs")
        if "force" in kinds:
            words.append(
                f"force {self.force:.3g} eV/Å on atom {self.force_atom} ({self.force_max:.3g} in the training)"
            )
        if "energy" in kinds and self.energy_range is not None:
            low, high = self.energy_range
            words.append(f"energy {self.energy_per_atom:.3g} eV/atom ({low:.3g} to {high:.3g} in the training)")
        if self.surroundings:
            others = len(self.surroundings) - 1
            words.append(f"{self.surroundings[0]}" + (f" (and {others} more atoms)" if others else ""))
        return "; ".join(words)


def allowed_energies(energies: tuple[float, float]) -> tuple[float, float]:
    """The range of energies of a training, with its own width below: a training seldom has the minima."""
    low, high = energies
    return 2 * low - high, high
