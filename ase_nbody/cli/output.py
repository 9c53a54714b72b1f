"""What commands show: text, progress, JSON, and figures without pyplot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ase_nbody.files import replaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def say(text: str) -> None:
    """Print a result to stdout, unwrapped, so that other programs can read it."""
    Console(highlight=False, markup=False).print(text, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to stderr."""
    Console(stderr=True, highlight=False, markup=False).print(f"Warning: {text}", soft_wrap=True, style="yellow")


def progress_bar() -> Progress:
    """A bar of steps on stderr, with the field `note` behind it."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


def new_figure(width: float, height: float) -> Figure | None:
    """An empty figure, inches; None, with a warning, where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        warn('no plot is drawn: matplotlib is not installed (pip install "ase_nbody[plot]")')
        return None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix("."))


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write values by name as JSON, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
