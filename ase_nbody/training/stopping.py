"""Trainings that end before their budget: asked to (ase_nbody/stopping.py tells how), or diverged."""

from __future__ import annotations


class TrainingStoppedError(Exception):
    """A training was asked to stop and has written its checkpoint.

    Attributes:
        signal: number of the signal that asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


class TrainingDivergedError(ValueError):
    """The loss of a training, its gradient or its errors are not finite."""
