"""Ends of a simulation that are not its results."""

from __future__ import annotations

from ase import Atoms


class UnstableSimulationError(RuntimeError):
    """A simulation left what is physical and was stopped.

    Args:
        step: number of the step.
        reason: what went wrong, with values and limits.
        failed: the structures that failed: one, or the images of a band.
        last_good: the latest ones that were well within the limits; empty where the first was not.
        advice: what to do.

    Attributes:
        step, reason, failed, last_good: as given.
    """

    def __init__(self, step: int, reason: str, failed: list[Atoms], last_good: list[Atoms], advice: str) -> None:
        super().__init__(f"stopped at step {step}: {reason}. {advice}")
        self.step = step
        self.reason = reason
        self.failed = failed
        self.last_good = last_good


class UnstableDynamicsError(UnstableSimulationError):
    """Molecular dynamics exploded, came apart, overheated or did not conserve its energy."""


class UnstableOptimisationError(UnstableSimulationError):
    """A relaxation or a band fell without end, exploded or came apart."""


class NotConvergedError(ValueError):
    """An optimisation took all its steps, and forces are still too large."""


class SimulationStoppedError(Exception):
    """A simulation was asked to stop, by a signal.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal
