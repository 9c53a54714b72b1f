"""Speed: milliseconds of a step of molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_nbody.simulation.dynamics import DynamicsSettings, integrator, watched_steps
from ase_nbody.simulation.velocities import draw_velocities

_MOST_STEPS = 10_000
_LEAST_STEPS = 3
_WARM_UP = 2  # steps that are not counted: the first compiles


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a step of dynamics through ASE, medians.

    Attributes:
        n_atoms: of the structure.
        student: ms.
        teacher: ms, float32 and without the mean over inversion where it is a model.
    """

    n_atoms: int
    student: float
    teacher: float

    @property
    def ratio(self) -> float:
        """How many times as long the teacher takes."""
        return self.teacher / self.student

    def __str__(self) -> str:
        """Both, and the ratio."""
        return (
            f"{self.n_atoms} atoms: {self.student:.3g} ms per step, the teacher {self.teacher:.3g} ms, "
            f"{self.ratio:.3g} times as long"
        )


def milliseconds_per_step(
    calculator: BaseCalculator, atoms: Atoms, temperature: float, timestep: float, seconds: float
) -> float:
    """Median wall time of a step of Langevin dynamics, ms.

    Args:
        calculator: evaluated once a step.
        atoms: the start; it is not changed.
        temperature: K.
        timestep: fs.
        seconds: to measure for; a few steps are made at least.
    """
    moving, generator = atoms.copy(), np.random.default_rng(0)
    moving.calc = calculator
    draw_velocities(moving, temperature, generator, at_rest=False)
    langevin = DynamicsSettings("nvt", temperature, timestep, 0.02, 0.0, 1.0, False)
    moments: list[float] = []
    for _ in watched_steps(integrator(moving, langevin, generator), _MOST_STEPS, None):
        moments.append(perf_counter())
        if len(moments) > _WARM_UP + _LEAST_STEPS and moments[-1] - moments[_WARM_UP] > seconds:
            break
    return 1000.0 * float(np.median(np.diff(moments[_WARM_UP:])))
