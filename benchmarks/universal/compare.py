"""Compare an imported model with sevenn's own numbers for fifty structures, see reference.py.

python benchmarks/universal/compare.py MODEL reference.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from structures import structures

from ase_nbody.importers.sevennet import imported_potential, read_checkpoint
from ase_nbody.model_file import load_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict


def main() -> None:
    """Print the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="checkpoint of sevenn (float64 from its float32), or a model file")
    parser.add_argument("reference", type=Path)
    arguments = parser.parse_args()
    wanted = json.loads(arguments.reference.read_text())
    if arguments.model.suffix == ".pth":
        exact = imported_potential(read_checkpoint(arguments.model), wanted["modality"])
        single = imported_potential(read_checkpoint(arguments.model), wanted["modality"])
        single.network.float()
    else:
        exact, _ = load_model(arguments.model, device="cpu", dtype=torch.float64)
        single, _ = load_model(arguments.model, device="cpu", dtype=torch.float32)
    for name, potential, differentiable in (
        ("float64, autograd", exact, True),
        ("float64, compiled", exact, False),
        ("float32, compiled", single, False),
    ):
        print(f"{name:<20}", differences(potential, wanted["rows"], differentiable))


def differences(potential: Potential, rows: list[dict], differentiable: bool) -> str:
    """Largest differences in words: of energies per atom, forces and stress."""
    energies, forces, stresses, largest = [], [], [], 0.0
    for row, (_, atoms) in zip(rows, structures(), strict=True):
        graph = neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype)
        found = predict(potential, graph, differentiable=differentiable)
        energies.append(abs(float(found.energy[0].detach()) - row["energy"]) / len(atoms))
        forces.append(np.abs(found.forces.detach().double().numpy() - row["forces"]).max())
        largest = max(largest, float(np.abs(row["forces"]).max()))
        if "stress" in row:
            stresses.append(np.abs(found.stress[0].detach().double().numpy() - row["stress"]).max())
    return (
        f"energy {max(energies):.1e} eV/atom, forces {max(forces):.1e} eV/angstrom (largest force {largest:.1f}), "
        f"stress {max(stresses):.1e} eV/angstrom^3"
    )


if __name__ == "__main__":
    main()
