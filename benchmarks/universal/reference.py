"""Energies, forces and stress of fifty structures by the package sevenn in float64, as JSON. Runs where sevenn is.

    python benchmarks/universal/reference.py 7net-0 reference.json [--modality PBE]

sevenn computes in float32: here its one-hot vectors and its weights are made float64.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import sevenn.util
import torch
from sevenn.calculator import SevenNetCalculator
from structures import structures


def main() -> None:
    """Evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("--modality")
    arguments = parser.parse_args()
    modality = {"modal": arguments.modality} if arguments.modality else {}
    calculator = SevenNetCalculator(arguments.model, device="cpu", **modality)
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    sevenn.util.dtype_correct.__defaults__ = (torch.float64, torch.int64)
    calculator.model = calculator.model.double()
    found = []
    for name, atoms in structures():
        atoms.calc = calculator
        row = {"name": name, "energy": float(atoms.get_potential_energy()), "forces": atoms.get_forces().tolist()}
        if atoms.pbc.all():
            row["stress"] = atoms.get_stress(voigt=False).tolist()
        found.append(row)
    arguments.output.write_text(json.dumps({"model": arguments.model, "modality": arguments.modality, "rows": found}))
    print(f"{arguments.output}: {len(found)} structures")


if __name__ == "__main__":
    main()
