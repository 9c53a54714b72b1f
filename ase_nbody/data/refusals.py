"""What is said when ASE fails to read a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

FORMATS = "extended XYZ, .traj, .db and the other formats of ase.io are allowed"


@contextmanager
def reading_by_ase() -> Iterator[None]:
    """Turns the errors of ASE's readers, which are of every kind, into one.

    Raises:
        ValueError: ASE raised an error.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"ASE cannot read structures from it ({type(error).__name__}: {error}); {FORMATS}") from error
