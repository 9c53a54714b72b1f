"""Compare an imported model with mace-torch's own numbers for some structures, see reference.py.

python benchmarks/mace/compare.py MODEL reference.json --python MACE/bin/python [--head NAME]
"""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from proof_structures import all_structures

from ase_nbody.importers.mace import exported_model, imported_potential
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict


def main() -> None:
    """Print the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--python", type=Path, required=True, help="interpreter with mace-torch 0.3.16")
    parser.add_argument("--head")
    arguments = parser.parse_args()
    wanted = json.loads(arguments.reference.read_text())
    exact = imported_potential(exported_model(arguments.model, arguments.python, arguments.head))
    single = replace(exact, network=copy.deepcopy(exact.network).float())
    for name, potential, differentiable in (
        ("float64, autograd", exact, True),
        ("float64, compiled", exact, False),
        ("float32, compiled", single, False),
    ):
        print(f"{arguments.model.stem}, {name}:", differences(potential, wanted, differentiable=differentiable))


def differences(potential: Potential, wanted: dict, *, differentiable: bool) -> str:
    """Largest differences in words, absolute, and of energies and forces relative to the largest of the structure."""
    found = {"energy": [0.0], "energies of atoms": [0.0], "forces": [0.0], "stress": [0.0]}
    relative, largest = [0.0], 0.0
    for row, (_, atoms) in zip(wanted["rows"], all_structures(wanted["elements"]), strict=True):
        graph = neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype)
        got = predict(potential, graph, differentiable=differentiable)
        forces, references = np.array(row["forces"]), sum(potential.reference_energies[s] for s in atoms.symbols)
        found["energy"].append(abs(got.energy[0].item() - row["energy"]) / len(atoms))
        found["energies of atoms"].append(np.abs(got.energies.detach().numpy() - row["energies"]).max())
        found["forces"].append(np.abs(got.forces.detach().double().numpy() - forces).max())
        relative.append(len(atoms) * found["energy"][-1] / max(abs(row["energy"] - references), 1e-3))
        relative.append(found["forces"][-1] / max(np.abs(forces).max(), 1e-3))
        largest = max(largest, float(np.abs(forces).max()))
        if "stress" in row:
            found["stress"].append(np.abs(got.stress[0].detach().double().numpy() - row["stress"]).max())
    units = {"energy": "eV/atom", "energies of atoms": "eV", "forces": "eV/angstrom", "stress": "eV/angstrom^3"}
    parts = [f"{name} {max(values):.1e} {units[name]}" for name, values in found.items()]
    more = f"relative {max(relative):.1e}, largest force {largest:.1f}, {len(wanted['rows'])} structures"
    return ", ".join([*parts, more])


if __name__ == "__main__":
    main()
