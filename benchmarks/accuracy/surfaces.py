"""Write the surfaces among the training structures of an element: python benchmarks/accuracy/surfaces.py DATA Mo FILE.

DATA has Mo_train.xyz and the like of mlearn, whose frames are labelled with a group, but for those of copper. Given to
nbody train besides them, the surfaces, 9 of 194 structures of molybdenum, count more often.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ase.io import read, write

data, symbol, file = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
surfaces = [atoms for atoms in read(data / f"{symbol}_train.xyz", ":") if atoms.info.get("group") == "Surface"]
if surfaces:
    write(file, surfaces)
print(f"{len(surfaces)} surfaces of {symbol}")
