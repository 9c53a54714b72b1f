"""Teacher: the reference of a student, averaged over inversion where it tells mirror images apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.references import Failure, LevelOfTheory, Reference
from ase_nbody.model_information import read_information
from ase_nbody.models_directory import find_model

_MODEL = "model:"
_AVERAGED = "average_over_inversion"
# eV/angstrom: far above rounding, also in float32, and too small to matter beside a student's error.
_SAME = 1e-3


@dataclass(frozen=True)
class Teacher:
    """What gives a student its labels.

    Attributes:
        spec: as `ase_nbody.labelling.reference` takes it.
        options: of it, by name.
        level: of theory.
        licence: of a teacher that is a model.
    """

    spec: str
    options: Mapping[str, str]
    level: LevelOfTheory
    licence: str | None = None

    @property
    def is_model(self) -> bool:
        """Whether it is a model of ase_nbody."""
        return self.spec.startswith(_MODEL)

    @property
    def words(self) -> str:
        """What it is, for a reader: its name, and what it learnt itself."""
        learnt = self.level.settings.get("trained_on")
        return f"{self.level} trained on {learnt}" if learnt else str(self.level)

    def reference(self) -> Reference:
        """The reference that labels."""
        return reference(self.spec, self.options)

    @property
    def fast_options(self) -> Mapping[str, str]:
        """For dynamics, which needs no labels: no mean over inversion, and float32 where it is a model."""
        options = {name: value for name, value in self.options.items() if name != _AVERAGED}
        return {"dtype": "float32", **options} if self.is_model else options

    def fast_calculator(self) -> BaseCalculator:
        """What a user would run dynamics with."""
        return reference(self.spec, self.fast_options).calculator()

    def for_structure(self, atoms: Atoms) -> Teacher:
        """The teacher with labels averaged over inversion, where it is a model that a structure shows to need that.

        Raises:
            ValueError: it gives the structure no label.
        """
        if not self.is_model or _AVERAGED in self.options or inversion_error(self.reference(), atoms) < _SAME:
            return self
        options = {**self.options, _AVERAGED: "true"}
        return replace(self, options=options, level=reference(self.spec, options).level)


def read_teacher(name: str, options: Mapping[str, str], device: str) -> Teacher:
    """The teacher of a name.

    Args:
        name: a shipped model, a model file, or what `nbody label --with` takes.
        options: of the calculator, by name.
        device: of a model.

    Raises:
        ValueError: there is no such teacher, or it does not take these options.
        FileNotFoundError: there is no such model file.
    """
    spec = name if ":" in name and not Path(name).exists() else f"{_MODEL}{name}"
    licence = None
    if spec.startswith(_MODEL):
        options = {"device": device, **options}
        licence = read_information(find_model(spec.removeprefix(_MODEL))).licence
    return Teacher(spec, dict(options), reference(spec, options).level, licence)


def inversion_error(teacher: Reference, atoms: Atoms) -> float:
    """How far forces are from turning round with a displaced structure's mirror image, at most, eV/angstrom.

    Args:
        teacher: the reference.
        atoms: the structure; it is only read.

    Raises:
        ValueError: the teacher gives it no label.
    """
    here = atoms.copy()
    here.positions += np.random.default_rng(0).normal(0, 0.05, here.positions.shape)
    there = here.copy()
    there.positions *= -1  # a lattice is its own mirror image
    one, other = teacher.label([here, there])
    for label in (one, other):
        if isinstance(label, Failure):
            raise ValueError(
                f"the teacher {teacher.level} gives {atoms.get_chemical_formula()} no label: {label.reason}"
            )
    assert not isinstance(one, Failure) and not isinstance(other, Failure)
    return float(np.abs(one.forces + other.forces).max())
