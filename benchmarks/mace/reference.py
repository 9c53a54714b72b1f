"""Energies, energies of atoms, forces and stress of some structures by mace-torch in float64, as JSON. Runs there.

MACE/bin/python benchmarks/mace/reference.py FOLDER/mp-0-medium.model reference.json [--head NAME]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from ase.data import chemical_symbols
from mace.calculators import MACECalculator
from proof_structures import all_structures


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--head")
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)  # else mace makes some numbers of the repulsion in float32
    head = {"head": arguments.head} if arguments.head else {}
    calculator = MACECalculator(model_paths=str(arguments.model), device="cpu", default_dtype="float64", **head)
    model = calculator.models[0]
    elements = [chemical_symbols[int(n)] for n in model.atomic_numbers]
    rows = []
    for name, atoms in all_structures(elements):
        batch = calculator._atoms_to_batch(atoms)
        found = model(batch.to_dict(), compute_stress=bool(atoms.pbc.all()))
        row = {"name": name, "energy": float(found["energy"][0]), "energies": found["node_energy"].tolist()}
        row["forces"] = found["forces"].tolist()
        if atoms.pbc.all():
            row["stress"] = found["stress"][0].tolist()
        rows.append(row)
    arguments.output.write_text(json.dumps({"model": arguments.model.name, "elements": elements, "rows": rows}))
    print(f"{arguments.output}: {len(rows)} structures")


if __name__ == "__main__":
    main()
