"""What is refused: a network without linear readouts, and structures that say nothing."""

from __future__ import annotations

from ase_nbody.potential import Potential
from ase_nbody.uncertainties import no_readouts


class CalibrationError(ValueError):
    """The structures at hand cannot say how uncertain a model is."""


def check_readouts(potential: Potential) -> None:
    """Refuse a network without linear readouts.

    Raises:
        CalibrationError: as said.
    """
    if words := no_readouts(potential):
        raise CalibrationError(words)
