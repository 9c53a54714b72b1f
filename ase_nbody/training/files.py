"""TrainingFiles: where a training of `nbody train` keeps its state while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase_nbody.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrainingFiles:
    """Files beside the output of a training, which resume it.

    Attributes:
        settings: of the training, with its output.
        origin: what decides the training, for the checkpoint.
        checkpoint: file of the checkpoint.
        history: file of the history.
    """

    settings: TrainingSettings
    origin: Mapping[str, Any]
    checkpoint: Path
    history: Path
