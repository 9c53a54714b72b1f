"""Compare NequIP here with the package nequip by copied weights.

    bash benchmarks/peers/make_environments.sh
    .venv/bin/python benchmarks/peers/nequip_weights.py [--python runs/peers/nequip/bin/python]

The package builds models with random weights in float64 and predicts two molecules and three crystals; their weights go
the way of `nbody import nequip`. Prints the largest differences, relative to the largest energy of interaction, force
and stress component of a structure, and fails where one is above 1e-8.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ase_nbody.importers.exported import differences, read_exported
from ase_nbody.importers.nequip import imported_potential

LARGEST = 1e-8
PER_TYPE = {"O": 31.0, "C": 24.0, "H": 17.0, "Si": 40.0, "N": 22.0}
CASES: dict[str, dict[str, Any]] = {
    "l=0, 1 layer": {"l_max": 0, "num_layers": 1},
    "l=0, 4 layers": {"l_max": 0, "num_layers": 4, "parity": False},
    "l=0, 3 layers, parity": {"l_max": 0, "num_layers": 3, "parity": True},
    "l=1, 2 layers, parity": {"l_max": 1, "num_layers": 2, "parity": True},
    "l=1, 3 layers": {"l_max": 1, "num_layers": 3, "parity": False},
    "l=2, 1 layer, parity": {"l_max": 2, "num_layers": 1, "parity": True},
    "l=2, 4 layers, parity, 32 features": {"l_max": 2, "num_layers": 4, "parity": True, "num_features": 32},
    "l=2, 4 layers, 32 features": {"l_max": 2, "num_layers": 4, "parity": False, "num_features": 32},
    "l=1, 6 layers, parity": {"l_max": 1, "num_layers": 6, "parity": True},
    "l=3, 3 layers, parity": {"l_max": 3, "num_layers": 3, "parity": True},
    "l=3, 2 layers": {"l_max": 3, "num_layers": 2, "parity": False},
    "features by degree": {"l_max": 2, "parity": False, "num_features": [16, 8, 4], "type_embed_num_features": 6},
    "features by degree, parity": {"l_max": 2, "parity": True, "num_features": [6, 9, 4], "num_layers": 3},
    "preset S of the package": {
        "l_max": 1,
        "num_layers": 2,
        "parity": False,
        "num_features": [128, 64],
        "type_embed_num_features": 32,
        "radial_mlp_width": 128,
    },
    "radial functions": {
        "l_max": 1,
        "radial_mlp_depth": 2,
        "radial_mlp_width": 24,
        "num_bessels": 5,
        "polynomial_cutoff_p": 4,
    },
    "linear radial functions": {"l_max": 1, "radial_mlp_depth": 0},
    "readout": {
        "l_max": 1,
        "num_layers": 2,
        "readout_mlp_hidden_layers_depth": 2,
        "readout_mlp_hidden_layers_width": 12,
        "readout_mlp_nonlinearity": "mish",
    },
    "numbers by element": {
        "l_max": 1,
        "num_layers": 3,
        "avg_num_neighbors": PER_TYPE,
        "per_type_energy_scales": {element: 0.1 * n for element, n in PER_TYPE.items()},
        "per_type_energy_shifts": {element: -50.0 * n for element, n in PER_TYPE.items()},
    },
}


def main() -> None:
    """Build, import, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path("runs/peers/nequip/bin/python"))
    chosen = parser.parse_args()
    small = {"num_features": 8, "radial_mlp_width": 16}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        cases = {name: {**small, **settings} for name, settings in CASES.items()}
        Path(folder, "cases.json").write_text(json.dumps(cases))
        builder = Path(__file__).with_name("random_nequip.py")
        subprocess.run([chosen.python.absolute(), builder, folder], check=True)
        print(f"{'settings of nequip':40s} {'energy':>9s} {'forces':>9s} {'stress':>9s}")
        for name in CASES:
            found = largest_differences(Path(folder, f"{name}.npz"))
            print(f"{name:40s} " + " ".join(f"{found[part]:9.1e}" for part in ("energy", "forces", "stress")))
            worst = max(worst, *found.values())
    print(f"largest: {worst:.1e}, allowed: {LARGEST:.0e}")
    sys.exit(not worst < LARGEST)


def largest_differences(file: Path) -> dict[str, float]:
    """Over all structures of a file."""
    exported = read_exported(file)
    potential = imported_potential(exported)
    found = [differences(potential, exported, n) for n in range(exported.description["n_structures"])]
    return {part: max(one.get(part, 0.0) for one in found) for part in ("energy", "forces", "stress")}


if __name__ == "__main__":
    main()
