"""A training that was asked to stop; how it is asked is told in ase_nbody/stopping.py."""

from __future__ import annotations


class TrainingStoppedError(Exception):
    """A training was asked to stop and has written its checkpoint.

    Attributes:
        signal: number of the signal that asked.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
