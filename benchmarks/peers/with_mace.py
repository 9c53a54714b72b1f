"""mace-torch with random weights: its calculator and one step of training.

Two layers, correlation 3, edges up to degree 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import data, modules
from mace.calculators import MACECalculator
from mace.tools import AtomicNumberTable, torch_geometric
from structures import CUTOFF, mean_neighbours


def model(atoms: Atoms, dtype: str, irreps: str) -> torch.nn.Module:
    """ScaleShiftMACE for the elements of a structure."""
    torch.set_default_dtype(getattr(torch, dtype))
    torch.manual_seed(0)
    numbers = sorted({int(n) for n in atoms.numbers})
    interaction = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=interaction,
        interaction_cls_first=interaction,
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=mean_neighbours(atoms),
        atomic_numbers=numbers,
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def calculator(atoms: Atoms, dtype: str, irreps: str, device: str = "cpu") -> MACECalculator:
    """The ASE calculator; with NVIDIA's kernels if the irreps are followed by "cuequivariance"."""
    irreps, *kernels = irreps.split()
    made = model(atoms, dtype, irreps).to(device)
    return MACECalculator(models=[made], device=device, default_dtype=dtype, enable_cueq=bool(kernels))


def model_alone(calc: MACECalculator, atoms: Atoms) -> Callable[[], object]:
    """Energy, forces and stress of a structure whose neighbours are known."""
    batch = calc._atoms_to_batch(atoms)
    return lambda: calc.models[0](calc._clone_batch(batch).to_dict(), compute_stress=True)


def training_step(batches: list[list[Atoms]], dtype: str, irreps: str, device: str = "cpu") -> Callable[[], None]:
    """A function that takes one step of Adam with the next batch."""
    trained = model(batches[0][0], dtype, irreps).to(device)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-4)
    loss = modules.WeightedEnergyForcesLoss(energy_weight=1.0, forces_weight=1.0)
    collated = itertools.cycle([_collated(batch).to(device) for batch in batches])

    def step() -> None:
        batch = next(collated)
        optimiser.zero_grad(set_to_none=True)
        loss(pred=trained(batch.to_dict(), training=True, compute_force=True), ref=batch).backward()
        optimiser.step()

    return step


def _collated(batch: list[Atoms]) -> torch_geometric.batch.Batch:
    table = AtomicNumberTable(sorted({int(n) for n in batch[0].numbers}))
    keys = data.KeySpecification(info_keys={"energy": "energy"}, arrays_keys={"forces": "forces"})
    graphs = []
    for atoms in batch:
        named = atoms.copy()
        named.info["energy"], named.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
        graphs.append(data.AtomicData.from_config(data.config_from_atoms(named, keys), z_table=table, cutoff=CUTOFF))
    return torch_geometric.Batch.from_data_list(graphs)
