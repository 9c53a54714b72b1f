"""The registry: every module of this package that defines ARCHITECTURE."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ase_nbody.architectures.base import Architecture, Network, NetworkSettings

__all__ = ["Architecture", "Network", "NetworkSettings", "architectures"]


@cache
def architectures() -> dict[str, Architecture]:
    """All architectures by name."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    found = [m.ARCHITECTURE for m in modules if hasattr(m, "ARCHITECTURE")]
    return {a.name: a for a in sorted(found, key=lambda a: a.name)}
