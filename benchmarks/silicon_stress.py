"""Errors of the shipped silicon model by kind of structure in the mlearn data.

    python benchmarks/silicon_stress.py DATA/mlearn/Si_train.xyz DATA/mlearn/Si_test.xyz

In the frames of group Elastic the stress components yz and xz are exchanged: the frame with lattice vectors (a, 0, 0),
(0, a, 0), (-s, 0, c) is sheared in xz, and its label is a yz stress. The table has mean absolute errors against the
labels as they are and with the two exchanged.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np
from ase.io import read

from ase_nbody import NBodyCalculator

COLUMNS = ("file", "kind", "frames", "energy", "forces", "stress", "yz <-> xz", "mean |stress|")
UNITS = ("", "", "", "meV/atom", "meV/Å", "meV/Å³", "meV/Å³", "meV/Å³")
ROW = "{:>14} {:>10} {:>6} {:>11} {:>11} {:>11} {:>11} {:>14}"
for words in (COLUMNS, UNITS):
    print(ROW.format(*words))
calculator = NBodyCalculator("silicon", dtype="float32")
for path in sys.argv[1:]:
    rows = defaultdict(list)
    frames = read(path, ":")
    for atoms, found in zip(frames, calculator.calculate_many(frames), strict=True):
        errors = (
            abs(found["energy"] - atoms.get_potential_energy()) / len(atoms),
            np.abs(found["forces"] - atoms.get_forces()).mean(),
            np.abs(found["stress"] - atoms.get_stress()).mean(),
            np.abs(found["stress"] - atoms.get_stress()[[0, 1, 2, 4, 3, 5]]).mean(),
            np.abs(atoms.get_stress()).mean(),
        )
        rows[atoms.info["group"]].append(errors)
    for kind, errors in sorted(rows.items()):
        means = 1000 * np.mean(errors, axis=0)
        name = path.rsplit("/", 1)[-1]
        print(ROW.format(name, kind, len(errors), *(f"{value:.3f}" for value in means)))
