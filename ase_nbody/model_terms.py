"""Further terms in model files: from a term to its record in the header, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable

from pydantic import ValidationError

from ase_nbody import terms
from ase_nbody.model_information import ModelFileError, read_information
from ase_nbody.model_records import TermRecord
from ase_nbody.predictions import Property
from ase_nbody.terms.base import EnergyTerm, SavedTerm


def term_records(further: Iterable[EnergyTerm]) -> tuple[TermRecord, ...]:
    """Names and settings of terms.

    Raises:
        ValueError: a term is none that model files can hold.
    """
    return tuple(_record(term) for term in further)


def recorded_terms(records: Iterable[TermRecord], path: str | os.PathLike[str]) -> tuple[EnergyTerm, ...]:
    """The terms of records that were read from a file.

    Raises:
        ModelFileError: a term is not in this version of ase_nbody, or its settings do not fit it.
    """
    return tuple(_term(record, path) for record in records)


def properties_in(path: str | os.PathLike[str]) -> tuple[Property, ...]:
    """What the further terms of a model file predict, beside what every potential does.

    Raises:
        ModelFileError: as `recorded_terms`, or the file is no model file.
    """
    terms_in = recorded_terms(read_information(path).terms, path)
    return tuple(kind for term in terms_in for kind in term.properties)


def _record(term: EnergyTerm) -> TermRecord:
    if isinstance(term, SavedTerm):
        for kind in terms.term_kinds().values():
            if type(term) is kind.term:
                return TermRecord(name=kind.name, settings=term.settings.model_dump(mode="json"))
    raise ValueError(
        f"a model file cannot hold the term {type(term).__name__}; it holds {_known()}. Save the potential without it, "
        "or make it a SavedTerm with a TERM in a module of ase_nbody/terms"
    )


def _term(record: TermRecord, path: str | os.PathLike[str]) -> SavedTerm:
    known = terms.term_kinds()
    if record.name not in known:
        raise ModelFileError(
            f"{path} has the term '{record.name}', which is not in this version of ase_nbody ({_known()}); upgrade "
            "ase_nbody"
        )
    kind = known[record.name]
    try:
        return kind.term(kind.settings.model_validate(record.settings))
    except ValidationError as error:
        raise ModelFileError(f"the settings in {path} do not fit the term '{kind.name}': {error}") from error


def _known() -> str:
    return ", ".join(terms.term_kinds()) or "none yet"
