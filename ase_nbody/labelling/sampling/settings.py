"""SampleSettings: what is sampled, how densely, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

KINDS = (
    "conformers",
    "md",
    "normal-modes",
    "torsions",
    "stretches",
    "rattle",
    "dimers",
    "strains",
    "vacancies",
    "surfaces",
)
"""Kinds of structures, by the names that users give them."""

TEMPERATURES = (300.0, 600.0, 1000.0)

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


SPREAD = "spread"
"""Name in the info of a picked structure: how far a committee's forces are apart on its worst atom, eV/angstrom."""


@dataclass(frozen=True)
class PickSettings:
    """What is picked of a sample.

    Attributes:
        number: of structures, at most.
        model: name or path of the model whose readouts are asked.
        known: file of labelled structures that it was fitted to.
    """

    number: int
    model: str
    known: Path


class SampleSettings(BaseModel):
    """How structures are sampled.

    Attributes:
        number: structures kept of each system, at most.
        kinds: which kinds of structures; those that a system does not have, such as torsions of a crystal, are passed
            over.
        temperatures: of dynamics and normal modes, K.
        conformers: relaxed conformers of a molecule, at most.
        timestep: of dynamics, fs. Structures, not time averages, are wanted: 1 fs integrates O-H to a few per cent.
        frame_interval: time between frames of dynamics, fs.
        friction: of the Langevin thermostat, 1/fs.
        torsion_step: between angles of a scan, degrees.
        rattle: largest standard deviation of the displacements, angstrom.
        strain: largest strain of a crystal.
        supercell_atoms: supercells of crystals, and slabs, have at most so many atoms.
        fmax: largest force at the end of relaxations, eV/angstrom.
        closest: closer atoms make a structure broken, in units of the sum of covalent radii.
        energy_per_atom: structures higher above the minimum are broken, eV/atom.
        bond_energy: what a structure with a broken bond may have beyond that, eV.
        largest_force: structures with larger forces are broken, eV/angstrom.
        resolution: root mean square difference of interatomic distances below which two structures of one
            composition are one, angstrom; finer for more than 8 atoms.

    Raises:
        ValueError: a kind is not known, or a number is out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=1)] = 100
    kinds: tuple[str, ...] = KINDS
    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1)] = TEMPERATURES
    conformers: Annotated[int, Field(ge=1)] = 4
    timestep: Positive = 1.0
    frame_interval: Positive = 20.0
    friction: Positive = 0.02
    torsion_step: Annotated[float, Field(gt=0, le=180)] = 30.0
    rattle: Positive = 0.12
    strain: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    supercell_atoms: Annotated[int, Field(ge=1)] = 64
    fmax: Positive = 0.05
    closest: Positive = 0.6
    energy_per_atom: Positive = 1.0
    bond_energy: Positive = 8.0
    largest_force: Positive = 30.0
    resolution: Annotated[float, Field(ge=0)] = 0.02

    @field_validator("kinds")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(
                f"there is no kind {', '.join(map(repr, unknown)) or 'given'}; there are {', '.join(KINDS)}"
            )
        return tuple(kind for kind in KINDS if kind in kinds)
