"""Models of the package nequip with random weights, exported with their predictions; run by nequip's environment.

PYTHON benchmarks/peers/random_nequip.py FOLDER: reads FOLDER/cases.json and writes FOLDER/NAME.npz for each case.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from structures import CUTOFF, from_file, silicon

sys.path.append(str(Path(__file__).parents[2]))
from ase_nbody.importers.nequip_export import exported

TYPES = ["O", "C", "H", "Si", "N"]


def sheared(atoms: Atoms, seed: int) -> Atoms:
    """Displaced atoms in a triclinic cell."""
    strain = 0.05 * np.random.default_rng(seed).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.rattle(0.08, seed=seed)
    return atoms


def compared_structures() -> list[Atoms]:
    """Two molecules, one with an atom alone far away, and three crystals, one of them smaller than the cutoff."""
    carbide, quartz_like = bulk("SiC", "zincblende", a=4.35), bulk("SiO", "rocksalt", a=4.6, cubic=True)
    crystals = [sheared(atoms, seed) for seed, atoms in enumerate((carbide, quartz_like, silicon(1)))]
    alone = Atoms("O", positions=[(50.0, 0.0, 0.0)])
    return [from_file("toluene"), from_file("3bpa") + alone, *crystals]


def main() -> None:
    """Build and export every case."""
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    set_global_state()
    structures = compared_structures()
    for seed, (name, settings) in enumerate(json.loads((folder / "cases.json").read_text()).items()):
        common = {"seed": seed, "model_dtype": "float64", "type_names": TYPES, "r_max": CUTOFF}
        per_type = {"per_type_energy_shifts": 0.0, "per_type_energy_scales": 1.0, "avg_num_neighbors": 20.0}
        model = NequIPGNNModel(**{**common, **per_type, **settings}).eval()
        torch.set_default_dtype(model.model_dtype)
        np.savez(folder / f"{name}.npz", **exported(model, structures))


if __name__ == "__main__":
    main()
