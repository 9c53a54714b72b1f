"""Predictions of our model: python same_minutes_nbody.py MODEL STRUCTURES OUTPUT.npz; started by same_minutes.py."""

from __future__ import annotations

import sys
from pathlib import Path

from same_minutes_predict import write_predictions

from ase_nbody import NBodyCalculator

if __name__ == "__main__":
    model, structures, output = (Path(argument) for argument in sys.argv[1:])
    write_predictions(NBodyCalculator(model, device="cpu", threads=1), structures, output, "ase_nbody")
