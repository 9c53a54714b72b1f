"""Labels of structures by any ASE calculator: references, and many structures over processes.

Names are imported on first use: processes that compute set their number of threads before numerical libraries load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_nbody.labelling.checks import Checks, InconsistentLabelsError
    from ase_nbody.labelling.labels import LabellingStoppedError, LabelSettings, label
    from ase_nbody.labelling.named_references import reference
    from ase_nbody.labelling.references import Failure, Label, LevelOfTheory, Reference
    from ase_nbody.labelling.report import LabelProgress, LabelReport
    from ase_nbody.labelling.sampling.sample import SampleReport, sample
    from ase_nbody.labelling.sampling.settings import PickSettings, SampleSettings
    from ase_nbody.labelling.sampling.system import System
    from ase_nbody.labelling.sampling.systems import read_systems

__all__ = [
    "Checks",
    "Failure",
    "InconsistentLabelsError",
    "Label",
    "LabelProgress",
    "LabelReport",
    "LabelSettings",
    "LabellingStoppedError",
    "LevelOfTheory",
    "PickSettings",
    "Reference",
    "SampleReport",
    "SampleSettings",
    "System",
    "label",
    "read_systems",
    "reference",
    "sample",
]

_MODULES = {
    "Checks": "ase_nbody.labelling.checks",
    "InconsistentLabelsError": "ase_nbody.labelling.checks",
    "Failure": "ase_nbody.labelling.references",
    "Label": "ase_nbody.labelling.references",
    "LabelProgress": "ase_nbody.labelling.report",
    "LabelReport": "ase_nbody.labelling.report",
    "LabelSettings": "ase_nbody.labelling.labels",
    "LabellingStoppedError": "ase_nbody.labelling.labels",
    "LevelOfTheory": "ase_nbody.labelling.references",
    "PickSettings": "ase_nbody.labelling.sampling.settings",
    "Reference": "ase_nbody.labelling.references",
    "SampleReport": "ase_nbody.labelling.sampling.sample",
    "SampleSettings": "ase_nbody.labelling.sampling.settings",
    "System": "ase_nbody.labelling.sampling.system",
    "read_systems": "ase_nbody.labelling.sampling.systems",
    "label": "ase_nbody.labelling.labels",
    "reference": "ase_nbody.labelling.named_references",
    "sample": "ase_nbody.labelling.sampling.sample",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'ase_nbody.labelling' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
