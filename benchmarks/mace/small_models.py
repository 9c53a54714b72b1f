"""Write tests/mace_*.npz: small models of mace-torch with its numbers, as an import reads them. Runs where mace is.

PYTHONPATH=. MACE/bin/python benchmarks/mace/small_models.py tests
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import fcc111
from mace import modules
from make_models import DENSITY, DENSITY_RESIDUAL, NONLINEAR, PLAIN, RESIDUAL, made

from ase_nbody.importers.e3nn_export import check_structures
from ase_nbody.importers.mace_export import exported

COMMON = {"r_max": 3.5, "num_bessel": 3, "elements": ("H", "C", "O"), "max_ell": 2, "radial_MLP": [6, 5]}
MODELS = {
    "residual": {**COMMON, "hidden": "4x0e+4x1o", "kinds": (RESIDUAL, RESIDUAL), "correlation": 3},
    "plain": {**COMMON, "hidden": "4x0e", "kinds": (PLAIN, RESIDUAL), "class": "MACE", "correlation": 2},
    "density": {
        **COMMON,
        "hidden": "4x0e+4x1o",
        "kinds": (DENSITY, DENSITY_RESIDUAL),
        "pair_repulsion": True,
        "distance_transform": "Agnesi",
        "heads": ["one", "other"],
    },
    "nonlinear": {
        **COMMON,
        "hidden": "4x0e+4x1o",
        "edge_irreps": "2x0e+2x1o",
        "kinds": (NONLINEAR, NONLINEAR),
        "use_edge_irreps_first": True,
        "apply_cutoff": False,
        "use_agnostic_product": True,
        "use_last_readout_only": True,
        "heads": ["one", "other"],
        "readout_cls": modules.blocks.NonLinearBiasReadoutBlock,
        "correlation": 2,
    },
}


def main() -> None:
    """Make models, write what an import reads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    for name, settings in MODELS.items():
        model = made(settings)
        head = "other" if "heads" in settings else ""
        structures = [*check_structures(["H", "C", "O"]), Atoms("O"), slab()]
        target = arguments.folder / f"mace_{name}.npz"
        np.savez_compressed(target, **exported(model, head, structures))
        print(target, target.stat().st_size, file=sys.stderr)


def slab() -> Atoms:
    """Carbon in two layers, with hydrogen."""
    atoms = fcc111("C", (1, 2, 2), a=3.2, vacuum=5.0, orthogonal=True)
    atoms.symbols[0] = "H"
    atoms.rattle(0.1, seed=0)
    return atoms


if __name__ == "__main__":
    main()
