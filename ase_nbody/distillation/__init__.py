"""Distillation: a small network for one system, from labels of a teacher on the network's own dynamics."""

from ase_nbody.distillation.distill import DistillationReport, distill
from ase_nbody.distillation.refusals import InaccurateStudentError, UnstableStudentError
from ase_nbody.distillation.settings import DistillationSettings

__all__ = [
    "DistillationReport",
    "DistillationSettings",
    "InaccurateStudentError",
    "UnstableStudentError",
    "distill",
]
