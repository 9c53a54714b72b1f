"""Write the test files 3bpa_mixedT_*.xyz: python benchmarks/accuracy/split_3bpa.py DATA FOLDER.

DATA has train_mixedT.xyz, whose frames 0-166 are at 300 K, 167-333 at 600 K and 334-499 at 1200 K, and train_300K.xyz.
Frames at 300 K that are also in train_300K.xyz are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write


def known(atoms: Atoms, others: list[Atoms]) -> bool:
    """Whether a structure is among others."""
    return any(np.allclose(atoms.positions, other.positions, atol=1e-6) for other in others)


data, folder = (Path(argument) for argument in sys.argv[1:3])
mixed, trained = read(data / "train_mixedT.xyz", ":"), read(data / "train_300K.xyz", ":")
parts = {
    "300K": [atoms for atoms in mixed[:167] if not known(atoms, trained)],
    "600K": mixed[167:334],
    "1200K": mixed[334:],
}
for name, frames in parts.items():
    write(folder / f"3bpa_mixedT_{name}.xyz", frames)
    print(f"{name}: {len(frames)} frames")
