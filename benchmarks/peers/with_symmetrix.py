"""symmetrix-xl: MACE without torch, its code generated for the model; the weights are those of with_mace.py.

It compiles the code with the machine's C++ compiler when a model is first loaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from ase import Atoms
from symmetrix import Symmetrix
from symmetrix.cli.extract_mace import main as extract
from with_mace import model


def calculator(atoms: Atoms, dtype: str, irreps: str) -> Symmetrix:
    """The ASE calculator. A molecule gets a box without periodicity, which the neighbour list of symmetrix needs."""
    if not atoms.cell.rank:
        atoms.center(vacuum=10.0)
    with tempfile.TemporaryDirectory() as folder:
        source, converted = Path(folder, "mace.model"), Path(folder, "mace.json")
        torch.save(model(atoms, "float64", irreps), source)
        extract(["--model", str(source), "--output", str(converted)])
        return Symmetrix(str(converted), dtype=dtype)
