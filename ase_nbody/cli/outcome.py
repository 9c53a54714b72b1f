"""How commands end where a result is outside what the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ase_nbody.cli.output import warn

if TYPE_CHECKING:
    from ase_nbody.envelope import EnvelopeReport

OUTSIDE_TRAINING = 3
"""Exit status of a command whose result is outside the training of its model."""


def end_outside(reports: Sequence[EnvelopeReport]) -> None:
    """End with status 3 and one line on stderr where a report is outside; go on where none is.

    Args:
        reports: of the structures of a result.

    Raises:
        typer.Exit: a structure is outside.
    """
    outside = [report for report in reports if not report.inside]
    if not outside:
        return
    more = f" (and {len(outside) - 1} more structures)" if len(outside) > 1 else ""
    warn(f"the result cannot be trusted: {outside[0]}{more}; exit status {OUTSIDE_TRAINING}")
    raise typer.Exit(OUTSIDE_TRAINING)
