"""Candidate and Kind: a structure before it is looked at, and what makes such structures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from ase import Atoms

from ase_nbody.labelling.sampling.bonds import BondGraph
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.labelling.sampling.start import RelaxedStart

Generator: TypeAlias = np.random.Generator


@dataclass(frozen=True, eq=False)
class Candidate:
    """A structure before it is looked at.

    Attributes:
        atoms: with its info; without calculator.
        minimum: energy that its own is compared with, eV.
        bonds: what must be bonded and nothing else; None: anything may be.
    """

    atoms: Atoms
    minimum: float
    bonds: BondGraph | None


@dataclass(frozen=True)
class Kind:
    """A kind of structures.

    Attributes:
        share: of the structures kept, in units of the sum over the kinds that a system has.
        surplus: candidates for each structure wanted.
        candidates: gives candidates, about as many as it is asked for, or fewer.
        breaks_bonds: its structures may lie by a bond's energy higher.
    """

    share: float
    surplus: float
    candidates: Callable[[RelaxedStart, SampleSettings, int, Generator], Iterator[Candidate]]
    breaks_bonds: bool = False
