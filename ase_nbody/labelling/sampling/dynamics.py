"""Frames of molecular dynamics with a Langevin thermostat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from ase_nbody.labelling.sampling.placing import moved
from ase_nbody.labelling.sampling.settings import SampleSettings
from ase_nbody.simulation.dynamics import DynamicsSettings, integrator, watched_steps
from ase_nbody.simulation.errors import UnstableDynamicsError
from ase_nbody.simulation.velocities import draw_velocities
from ase_nbody.simulation.watchdog import MDWatchdog

EQUILIBRATION = 100.0
"""Before the first frame, fs."""


@dataclass(frozen=True)
class WatchedFrames:
    """Frames of dynamics, and why it ended before its time.

    Attributes:
        frames: without calculator and momenta.
        failure: of the watchdog; None where the dynamics took all its steps.
    """

    frames: tuple[Atoms, ...]
    failure: UnstableDynamicsError | None = None


def watched_frames(
    atoms: Atoms,
    calculator: BaseCalculator,
    temperature: float,
    n_frames: int,
    settings: SampleSettings,
    generator: np.random.Generator,
) -> WatchedFrames:
    """Frames of NVT dynamics from a minimum, until the watchdog ends it.

    Velocities start at twice the temperature: half of it goes into the springs.

    Args:
        atoms: the minimum; it is not changed.
        calculator: evaluated once a step.
        temperature: K.
        n_frames: number of frames.
        settings: time step, time between frames and friction.
        generator: source of velocities and thermostat.
    """
    moving = atoms.copy()
    moving.calc = calculator
    draw_velocities(moving, 2 * temperature, generator, at_rest=False)
    langevin = DynamicsSettings("nvt", temperature, settings.timestep, settings.friction, 0.0, 1.0, False)
    dynamics = integrator(moving, langevin, generator)
    interval = max(1, round(settings.frame_interval / settings.timestep))
    first = max(interval, round(EQUILIBRATION / settings.timestep))
    frames: list[Atoms] = []
    try:
        for step in watched_steps(dynamics, first + (n_frames - 1) * interval, MDWatchdog(dynamics)):
            if step >= first and (step - first) % interval == 0:
                frames.append(moved(moving, moving.positions, f"md {temperature:g} K"))
    except UnstableDynamicsError as error:
        return WatchedFrames(tuple(frames), error)
    return WatchedFrames(tuple(frames))
