"""Dataset: structures with reference labels and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ase_nbody.predictions import ENERGY, FORCES, LABELLED, STRESS, Property

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Reference labels of one structure with N atoms, None where there is none.

    Attributes:
        energy: total energy, eV.
        forces: (N, 3), eV/angstrom.
        stress: (3, 3), eV/angstrom^3, ASE's sign.
        level: number of the level of theory, where a network learns several.
        system: the frame's `name`, as `nbody sample` writes it; empty where it has none.
        further: labels of what terms of potentials predict beside these, (N, *shape) of atoms and else of the shape.
    """

    energy: float | None = None
    forces: Floats | None = None
    stress: Floats | None = None
    level: int = 0
    system: str = ""
    further: Mapping[Property, Floats] = field(default_factory=dict)

    @property
    def labelled(self) -> dict[Property, float | Floats]:
        """All labels that are there, by what they are of."""
        own = {ENERGY: self.energy, FORCES: self.forces, STRESS: self.stress}
        return {kind: value for kind, value in {**own, **self.further}.items() if value is not None}

    def rows(self, kind: Property, n_atoms: int) -> Floats:
        """Labels of a property, (n_atoms, *shape) of atoms and else (1, *shape); NaN where there are none.

        Raises:
            ValueError: they have another shape than the property.
        """
        rows = np.full((n_atoms if kind.per_atom else 1, *kind.shape), np.nan)
        value = self.labelled.get(kind)
        if value is None:
            return rows
        expected = rows.shape if kind.per_atom else kind.shape
        if np.shape(value) != expected:
            raise ValueError(f"labels of {kind.name} have the shape {np.shape(value)}, and it is to be {expected}")
        rows[:] = value
        return rows


class LabelWarning(UserWarning):
    """Labels that should be looked at before they are learnt."""


@dataclass(frozen=True)
class Dataset:
    """Structures and their labels.

    Attributes:
        structures: numbers, positions, cell and pbc only: no calculator, info or constraints.
        labels: labels of each structure.
        source: the file they come from; several, joined by ", ", after a merge.
        sha256: hash of that file, in hexadecimal; several, joined by ", ", after a merge.
        label_source: one line for the user: which labels were found, where, in how many frames.
        notes: sentences for the user on what should be looked at, such as labels that disagree.
        level_of_theory: of the labels, as all frames state it (`nbody label` writes it); None where they do not.
        stated_levels: all levels of theory that frames state.
    """

    structures: tuple[Atoms, ...]
    labels: tuple[Labels, ...]
    source: str
    sha256: str
    label_source: str
    notes: tuple[str, ...] = ()
    level_of_theory: str | None = None
    stated_levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.structures) != len(self.labels):
            raise ValueError(f"{len(self.structures)} structures cannot have {len(self.labels)} sets of labels")

    def __len__(self) -> int:
        """Number of structures."""
        return len(self.structures)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that occur, in the order of their atomic numbers."""
        numbers = {int(n) for atoms in self.structures for n in atoms.numbers}
        return tuple(chemical_symbols[n] for n in sorted(numbers))

    @property
    def properties(self) -> tuple[Property, ...]:
        """What labels are of: energies, forces and stress, and what else is labelled in a structure."""
        return (*LABELLED, *self.further_properties)

    @property
    def further_properties(self) -> tuple[Property, ...]:
        """Of these, what is no energy, force or stress."""
        return tuple(dict.fromkeys(kind for labels in self.labels for kind in labels.further))

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The structures at some indices, in that order.

        Raises:
            IndexError: an index is out of range.
        """
        chosen = list(indices)
        return replace(
            self,
            structures=tuple(self.structures[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
        )
