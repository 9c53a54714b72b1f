"""Records that the header of a model file is made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A frozen part of a header; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(Record):
    """A file of structures that a model was trained or tested on."""

    name: str = Field(description="file name without its folder")
    sha256: str = Field(description="hash of the file's bytes, see file_hash")
    role: Literal["train", "valid", "test"] = Field(description="what the structures were used for")
    n_structures: int = Field(ge=0, description="number of structures used")


class Envelope(Record):
    """What the training data cover."""

    closest_distances: dict[str, float] = Field(
        default_factory=dict, description="closest distance of each pair of elements, such as 'C-H', angstrom"
    )
    force_max: float | None = Field(default=None, description="largest norm of a force on an atom, eV/angstrom")
    energy_per_atom_range: tuple[float, float] | None = Field(
        default=None, description="lowest and highest energy per atom, eV"
    )

    def merged(self, other: Envelope) -> Envelope:
        """What both together cover."""
        distances = [envelope.closest_distances for envelope in (self, other)]
        forces = [e.force_max for e in (self, other) if e.force_max is not None]
        energies = [energy for e in (self, other) for energy in e.energy_per_atom_range or ()]
        return Envelope(
            closest_distances={
                pair: min(d[pair] for d in distances if pair in d) for pair in sorted({p for d in distances for p in d})
            },
            force_max=max(forces, default=None),
            energy_per_atom_range=(min(energies), max(energies)) if energies else None,
        )


class Trial(Record):
    """One test of a model on a structure outside its training."""

    structure: str = Field(description="what was computed, in words")
    quantity: str = Field(description="what is compared, with its unit")
    model: float | None = Field(description="what the model gives; None where it gives nothing finite")
    reference: float | None = Field(description="what is right; None where it is not known")
    remark: str = Field(default="", description="what happened, such as a warning of the model")


class TheoryLevel(Record):
    """One of several levels of theory of a model."""

    name: str = Field(description="level of theory, by which a user chooses it")
    reference_energies: dict[str, float] = Field(description="energy of each isolated element, eV")
    reference_energies_source: str = Field(description="where the reference energies come from")


class TermRecord(Record):
    """A further term of a potential, which is added to network and repulsion."""

    name: str = Field(description="name in the registry of terms")
    settings: dict[str, Any] = Field(description="the term's settings")


class UncertaintyRecord(Record):
    """Calibration of uncertainties at a level of theory; a tensor `uncertainty.root` holds what they follow from."""

    energy_factor: float = Field(
        gt=0, description="of standard deviations of energies, so that they fit held-out errors"
    )
    forces_factor: float = Field(gt=0, description="the same of forces")
    stress_factor: float = Field(gt=0, description="the same of stress; that of forces where no stress was labelled")
    n_learnt: int = Field(ge=1, description="labelled structures that say what is left open")
    n_held_out: int = Field(ge=1, description="structures that the factors are from")


class SurroundingsRecord(Record):
    """Which surroundings of atoms the training had; the tensor `surroundings.roots` holds moments of their features."""

    furthest: dict[str, float] = Field(description="largest Mahalanobis distance of an atom's features, by element")
    n_learnt: int = Field(ge=1, description="structures of the training that were looked at")
