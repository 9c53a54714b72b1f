"""Labels a second by ANI-1x on one core: the stacked committee of `nbody label`, and torchani's networks in turn.

    OMP_NUM_THREADS=1 nice -n -5 python benchmarks/labels/committee.py
    OMP_NUM_THREADS=1 python benchmarks/labels/committee.py --molecules H2O trans-butane --number 64 --repeats 3

Both give means and spreads of energies and forces of the same displaced structures in one call. In turn means
that environments are torchani's, and that the forces of a network are a step of autograd through these. Repeats
alternate, and the best of each counts; seconds are of the processor, which other work on the machine lengthens too.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.units import Hartree
from rates import displaced

from ase_nbody.labelling.named_references import reference

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pkg_resources, which torchani 2.0 imports
    import torchani


def in_turn(structures: Sequence[Atoms], model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean forces, eV/angstrom, (B, A, 3), and their spread, (B, A), of molecules of the same atoms."""
    numbers = torch.tensor(np.array([atoms.numbers for atoms in structures]))
    positions = torch.tensor(np.array([atoms.positions for atoms in structures]), dtype=torch.float32)
    positions.requires_grad_(True)
    species = model.species_converter((numbers, positions)).species
    environments = model.aev_computer((species, positions)).aevs  # (B, A, F)
    forces = []
    for network in model.neural_networks:
        leaf = environments.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(network((species, leaf)).energies.sum(), leaf)
        (gradient,) = torch.autograd.grad(environments, positions, slope, retain_graph=True)
        forces.append(-gradient.to(torch.float64) * Hartree)
    of_networks = torch.stack(forces)  # (M, B, A, 3)
    return of_networks.mean(dim=0).numpy(), of_networks.var(dim=0).sum(dim=2).sqrt().numpy()


def seconds(function: Callable[[], object]) -> float:
    """Of the processor that a call takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compared(structures: Sequence[Atoms], model: Any, repeats: int) -> tuple[float, float]:
    """Shortest times of networks in turn and of stacked ones, which must agree."""
    teacher = reference("ani:ANI-1x")
    forces, spreads = in_turn(structures, model)
    labels = teacher.label(structures)
    np.testing.assert_allclose([label.forces for label in labels], forces, atol=1e-3)
    np.testing.assert_allclose([label.extra_arrays["forces_spread"] for label in labels], spreads, atol=1e-3)
    old, new = [], []
    for _ in range(repeats):
        old.append(seconds(lambda: in_turn(structures, model)))
        new.append(seconds(lambda: teacher.label(structures)))
    return min(old), min(new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", nargs="+", default=["H2O", "CH3CH2OH", "C6H6"])
    parser.add_argument("--number", type=int, default=256, help="structures of each")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = torchani.models.ANI1x(periodic_table_index=True).requires_grad_(False)
    print("| molecule | networks in turn | stacked | ratio |\n|---|---:|---:|---:|")
    for name in arguments.molecules:
        rates = [
            arguments.number / best for best in compared(displaced(name, arguments.number), model, arguments.repeats)
        ]
        print(f"| {name} | {rates[0]:.0f} | {rates[1]:.0f} | {rates[1] / rates[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
