"""For NequIP's environment: a callback that writes down when epochs end, and predictions of a checkpoint.

PYTHON same_minutes_nequip.py CHECKPOINT STRUCTURES OUTPUT.npz
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import lightning
from nequip.integrations.ase import NequIPCalculator
from same_minutes_predict import write_predictions


class EpochTimes(lightning.Callback):
    """Write the time, in seconds since 1970, when training begins and after every epoch with its validation.

    Args:
        file: gets one line for each.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._add()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._add()

    def _add(self) -> None:
        with self.file.open("a") as lines:
            lines.write(f"{time.time():.3f}\n")


if __name__ == "__main__":
    model, structures, output = (Path(argument) for argument in sys.argv[1:])
    # its public constructor wants a model compiled by nequip-compile, which gives the same numbers after minutes more
    calculator = NequIPCalculator._from_saved_model(model, device="cpu", chemical_species_to_atom_type_map=True)
    write_predictions(calculator, structures, output, "nequip")
