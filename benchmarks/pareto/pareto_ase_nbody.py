"""Ours: shipped models, `universal`, and the presets trained on the same files."""

from __future__ import annotations

from pathlib import Path

from systems import SYSTEMS

from ase_nbody import NBodyCalculator


def calculator(kind: str, symbol: str, folder: str, dtype: str) -> NBodyCalculator:
    """The calculator of "shipped", "universal", or of a preset that run.py trained.

    Raises:
        FileNotFoundError: the preset was not trained.
    """
    model = {"shipped": SYSTEMS[symbol].shipped, "universal": "universal"}.get(kind)
    if model is None:
        model = str(Path(folder, f"{kind}-{symbol}.safetensors"))
        if not Path(model).exists():
            raise FileNotFoundError(f"{Path(model).name} was not trained")
    return NBodyCalculator(model, device="cpu", dtype=dtype, threads=1, outside="ignore")
