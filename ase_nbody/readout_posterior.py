"""What training leaves open of the readouts: a Gaussian around those of a network, kept with its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_nbody.model_records import UncertaintyRecord


@dataclass(frozen=True)
class ReadoutPosterior:
    """A Gaussian of the numbers of all linear readouts of a network, one after another.

    Attributes:
        root: whose product with its transpose is their covariance before calibration, (readouts, readouts).
        record: calibration, and what both were made of.
    """

    root: NDArray[np.float64]
    record: UncertaintyRecord

    def changes(self, members: int) -> NDArray[np.float64]:
        """Differences of the members of a committee from the readouts, (members, readouts), the same each time."""
        rng = np.random.default_rng(0)
        return rng.standard_normal((members, self.root.shape[1])) @ self.root.T
