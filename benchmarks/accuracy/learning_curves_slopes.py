"""Errors against the number of configurations: curves, their slopes, and what the notes claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from learning_curves_runs import ARCHITECTURES
from numpy.typing import NDArray


@dataclass(frozen=True)
class Claim:
    """A line of the table in reference/nequip-and-meta-learning-module.md, section 2.3, which names no molecule.

    Attributes:
        architecture: whose claim it is.
        configurations: trained on.
        forces: mean absolute error, meV/angstrom.
        energy: mean absolute error, meV/atom.
    """

    architecture: str
    configurations: int
    forces: float
    energy: float


CLAIMS = (
    Claim("schnet", 50_000, forces=85.0, energy=3.2),
    Claim("dimenet_pp", 10_000, forces=60.0, energy=2.1),
    Claim("nequip_l2", 1_000, forces=15.0, energy=0.8),
)


@dataclass(frozen=True)
class Quantity:
    """An error: its name in the JSON of `nbody evaluate`, in a claim, and in words."""

    key: str
    claim: str
    words: str


QUANTITIES = (
    Quantity("forces_mae_mev_per_angstrom", "forces", "force MAE, meV/Å"),
    Quantity("energy_mae_mev_per_atom", "energy", "energy MAE, meV/atom"),
)


@dataclass(frozen=True)
class Curve:
    """Values of one architecture on one molecule, by number of configurations and then by seed."""

    values: dict[int, dict[int, float]]

    def at(self, configurations: int) -> NDArray[np.float64]:
        """Values of all seeds, (seeds,)."""
        return np.array(list(self.values[configurations].values()))

    def slopes(self) -> NDArray[np.float64]:
        """Slope of the least-squares line through log value against log configurations for each seed, (seeds,).

        The seeds are those of the size that has most; sizes that lack one count with their first. Empty for one size.
        """
        if len(self.values) < 2:
            return np.empty(0)
        return np.array([self._slope(seed) for seed in max(self.values.values(), key=len)])

    def _slope(self, seed: int) -> float:
        chosen = [by_seed.get(seed, next(iter(by_seed.values()))) for by_seed in self.values.values()]
        return float(np.polyfit(np.log(list(self.values)), np.log(chosen), 1)[0])


def curves(runs: Sequence[dict[str, Any]], key: str) -> dict[str, Curve]:
    """Curves of one molecule's trainings by architecture, in the order of ARCHITECTURES.

    Args:
        runs: records of `finished_runs`.
        key: what is followed, a name in the records.
    """
    found: dict[str, Curve] = {}
    for architecture in ARCHITECTURES:
        values: dict[int, dict[int, float]] = {}
        own = [run for run in runs if run["architecture"] == architecture]
        for run in sorted(own, key=lambda run: (run["configurations"], run["seed"])):
            values.setdefault(run["configurations"], {})[run["seed"]] = run[key]
        if values:
            found[architecture] = Curve(values)
    return found


def spread(values: NDArray[np.float64], digits: int) -> str:
    """Mean and standard deviation in words; the mean alone where there is one value, a dash where there is none."""
    if not len(values):
        return "–"
    mean = f"{values.mean():.{digits}f}"
    return f"{mean} ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else mean
