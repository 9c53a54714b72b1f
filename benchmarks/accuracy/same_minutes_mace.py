"""Predictions of MACE, in its environment: PYTHON same_minutes_mace.py MODEL STRUCTURES OUTPUT.npz.

In double precision, since energies of 1e4 eV have errors of some meV in single precision, and so have sums over atoms.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mace.calculators import MACECalculator
from same_minutes_predict import write_predictions

if __name__ == "__main__":
    model, structures, output = (Path(argument) for argument in sys.argv[1:])
    calculator = MACECalculator(model_paths=str(model), device="cpu", default_dtype="float64")
    write_predictions(calculator, structures, output, "mace-torch")
