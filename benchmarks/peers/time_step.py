"""Milliseconds per step, energy and forces through one potential's own ASE calculator; runs in its environment.

    PYTHON benchmarks/peers/time_step.py MODEL STRUCTURE [--dtype float32] [--threads 2] [--seconds 10]

Weights are random. Positions change before every step by random displacements of 0.002 angstrom. Prints one line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

CUTOFF = 5.0  # angstrom
NEIGHBOURS = {"isobutane": 13.0, "water": 50.0, "silicon": 28.0}


def water(side: int) -> Atoms:
    """Molecules of random orientation on a cubic grid of 3.1 angstrom."""
    generator = np.random.default_rng(0)
    atoms = Atoms(cell=[3.1 * side] * 3, pbc=True)
    for place in np.ndindex(side, side, side):
        one = molecule("H2O")
        one.euler_rotate(*generator.uniform(0, 360, 3), center="COM")
        one.translate(3.1 * np.array(place))
        atoms += one
    return atoms


STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "isobutane": lambda: molecule("isobutane"),
    "water-192": lambda: water(4),
    "water-648": lambda: water(6),
    "silicon-64": lambda: bulk("Si", cubic=True) * (2, 2, 2),
    "silicon-512": lambda: bulk("Si", cubic=True) * (4, 4, 4),
}


def ours(atoms: Atoms, dtype: str, preset: str, neighbours: float) -> Any:
    """NBodyCalculator with random weights."""
    from ase_nbody import NBodyCalculator
    from ase_nbody.architectures import architectures
    from ase_nbody.potential import Potential

    nbody, elements = architectures()["nbody"], tuple(sorted(set(atoms.symbols)))
    settings = nbody.settings(elements=elements, average_neighbours=neighbours, **nbody.presets[preset])
    network = nbody.network(settings, torch.Generator().manual_seed(0))
    return NBodyCalculator(Potential(network, dict.fromkeys(elements, 0.0)), device="cpu", dtype=dtype)


def mace(atoms: Atoms, dtype: str, irreps: str, neighbours: float) -> Any:
    """MACECalculator of two layers, correlation 3, edges up to degree 3, with random weights."""
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

    torch.set_default_dtype(getattr(torch, dtype))
    numbers = sorted({int(n) for n in atoms.numbers})
    model = modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=neighbours,
        atomic_numbers=numbers,
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    return MACECalculator(models=[model], device="cpu", default_dtype=dtype)


def nequip(atoms: Atoms, dtype: str, layers: str, neighbours: float) -> Any:
    """NequIPCalculator (eager) with l=2, 32 features and random weights."""
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    set_global_state()
    elements = sorted(set(atoms.symbols))
    model = NequIPGNNModel(
        seed=0,
        model_dtype=dtype,
        type_names=elements,
        r_max=CUTOFF,
        num_layers=int(layers),
        l_max=2,
        num_features=32,
        avg_num_neighbors=neighbours,
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
    )
    transforms = [ChemicalSpeciesToAtomTypeMapper(elements), NeighborListTransform(r_max=CUTOFF)]
    return NequIPCalculator(model.eval(), device="cpu", transforms=transforms)


MODELS: dict[str, tuple[Callable[[Atoms, str, str, float], Any], str]] = {
    "ase_nbody small": (ours, "small"),
    "ase_nbody medium": (ours, "medium"),
    "mace 64x0e": (mace, "64x0e"),
    "mace 128x0e+128x1o": (mace, "128x0e+128x1o"),
    "nequip 4 layers l=2": (nequip, "4"),
}


def milliseconds(atoms: Atoms, seconds: float) -> list[float]:
    """Time of each step after two that are not counted."""
    generator = np.random.default_rng(0)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - started < seconds and len(times) < 500):
        atoms.positions += generator.normal(0, 0.002, atoms.positions.shape)
        before = time.perf_counter()
        atoms.get_forces()
        atoms.get_potential_energy()
        times.append(1000 * (time.perf_counter() - before))
    return times[2:]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("structure", choices=STRUCTURES)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    atoms = STRUCTURES[chosen.structure]()
    build, size = MODELS[chosen.model]
    atoms.calc = build(atoms, chosen.dtype, size, NEIGHBOURS[chosen.structure.split("-")[0]])
    times = milliseconds(atoms, chosen.seconds)
    result = {"model": chosen.model, "structure": chosen.structure, "atoms": len(atoms), "dtype": chosen.dtype}
    result |= {"threads": chosen.threads, "median_ms": float(np.median(times)), "fastest_ms": min(times)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
