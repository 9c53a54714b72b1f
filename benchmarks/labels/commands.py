"""What the benchmarks of labels share: `nbody` as a command, and rows of JSON in a file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ase_nbody

OUTSIDE_TRAINING = 3
"""Exit status of `nbody evaluate` where structures are outside the training of the model, as some here must be."""


def nbody(*arguments: object, allowed: Sequence[int] = (0,)) -> None:
    """Run a command of `nbody` with this interpreter; what it prints is shown.

    Raises:
        SystemExit: it ends with a status that is not allowed.
    """
    words = list(map(str, arguments))
    print("nbody", *words, flush=True)
    status = subprocess.run([sys.executable, "-c", "from ase_nbody.cli import main; main()", *words]).returncode
    if status not in allowed:
        raise SystemExit(f"nbody {words[0]} ended with status {status}; once that is mended, the same command goes on")


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_row(path: Path, values: Mapping[str, Any]) -> None:
    """Write a row to a file of JSON lines, with the date and the machine."""
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    with path.open("a") as file:
        file.write(json.dumps({**values, **made, "ase_nbody": ase_nbody.__version__}) + "\n")


def machine() -> str:
    """Processor and cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
