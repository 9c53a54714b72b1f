"""Ours: shipped models, `universal`, and the presets trained on the same files."""

from __future__ import annotations

from systems import SYSTEMS, Folders

from ase_nbody import NBodyCalculator


def calculator(kind: str, name: str, folders: Folders, dtype: str) -> NBodyCalculator:
    """The calculator of "shipped", "universal", or of a preset that run.py trained on a system.

    Raises:
        FileNotFoundError: the preset was not trained.
    """
    model = {"shipped": SYSTEMS[name].shipped, "universal": "universal"}.get(kind)
    if model is None:
        trained = folders.models / f"{kind}-{name}.safetensors"
        if not trained.exists():
            raise FileNotFoundError(f"{trained.name} was not trained")
        model = str(trained)
    return NBodyCalculator(model, device="cpu", dtype=dtype, threads=1, outside="ignore")
