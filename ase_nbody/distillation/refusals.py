"""Students that are not written: their dynamics explodes, or their forces are too far from the teacher's."""

from __future__ import annotations

LARGEST_ERROR = 0.15
"""Of the forces on a student's own dynamics, in units of the mean size of the teacher's: MAE over mean component.

A student that gives no forces at all has 1. The limit is a choice, not a measurement."""


class InaccurateStudentError(ValueError):
    """The forces of a student are too far from the teacher's on the student's own dynamics."""


class UnstableStudentError(ValueError):
    """The dynamics of every student was stopped by the watchdog."""
