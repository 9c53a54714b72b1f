"""Terms of a potential, and the registry of those that model files can hold: modules here that define TERM."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ase_nbody.terms.base import EnergyTerm, SavedTerm, TermKind

__all__ = ["EnergyTerm", "SavedTerm", "TermKind", "term_kinds"]


@cache
def term_kinds() -> dict[str, TermKind]:
    """All terms that can be saved and loaded, by name."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    kinds = [m.TERM for m in modules if hasattr(m, "TERM")]
    return {kind.name: kind for kind in sorted(kinds, key=lambda kind: kind.name)}
