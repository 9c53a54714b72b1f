"""nequip with random weights, eager and compiled: its calculator and one step of training.

Four layers, degree 2, 32 features. The calculator of the compiled model needs what compile_nequip.sh made with
nequip-compile; for training, torch.compile is nequip's own way (compile_mode).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from ase import Atoms
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel
from nequip.train import EnergyForceLoss
from nequip.utils.global_state import set_global_state
from structures import CUTOFF, mean_neighbours


def model(atoms: Atoms, dtype: str, compile_mode: str) -> torch.nn.Module:
    """NequIPGNNModel for the elements of a structure."""
    set_global_state()
    return NequIPGNNModel(
        seed=0,
        model_dtype=dtype,
        compile_mode=compile_mode,
        type_names=sorted(set(atoms.symbols)),
        r_max=CUTOFF,
        num_layers=4,
        l_max=2,
        num_features=32,
        avg_num_neighbors=mean_neighbours(atoms),
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
    )


def calculator(atoms: Atoms, dtype: str, compile_mode: str, device: str = "cpu") -> NequIPCalculator:
    """The ASE calculator.

    Raises:
        FileNotFoundError: there is no model compiled for as many threads in this environment.
    """
    if compile_mode == "eager":
        made = model(atoms, dtype, compile_mode).eval().to(device)
        return NequIPCalculator(made, device=device, transforms=_transforms(atoms))
    threads = torch.get_num_threads()
    path = Path(sys.prefix) / f"{dtype}-{threads}.nequip.pt2"
    if not path.exists():
        raise FileNotFoundError(f"no model compiled for {threads} threads")
    return NequIPCalculator.from_compiled_model(path, device=device, chemical_species_to_atom_type_map=True)


def model_alone(calc: NequIPCalculator, atoms: Atoms) -> Callable[[], object]:
    """Energy, forces and stress of a structure whose neighbours are known."""
    graph = calc.atoms_to_data(atoms)
    return lambda: calc.call_model(graph.copy())


def training_step(batches: list[list[Atoms]], dtype: str, compile_mode: str, device: str = "cpu") -> Callable[[], None]:
    """A function that takes one step of Adam with the next batch."""
    trained = model(batches[0][0], dtype, compile_mode).train().to(device)
    optimiser = torch.optim.Adam(trained.parameters(), lr=1e-4)
    loss = EnergyForceLoss()
    collated = itertools.cycle([AtomicDataDict.to_(_collated(batch), device) for batch in batches])

    def step() -> None:
        batch = next(collated)
        optimiser.zero_grad(set_to_none=True)
        loss(trained(batch.copy()), batch)["weighted_sum"].backward()
        optimiser.step()

    return step


def _transforms(atoms: Atoms) -> list[Callable[[AtomicDataDict.Type], AtomicDataDict.Type]]:
    return [ChemicalSpeciesToAtomTypeMapper(sorted(set(atoms.symbols))), NeighborListTransform(r_max=CUTOFF)]


def _collated(batch: list[Atoms]) -> AtomicDataDict.Type:
    graphs = []
    for atoms in batch:
        graph = from_ase(atoms)
        for transform in _transforms(atoms):
            graph = transform(graph)
        graphs.append(graph)
    return AtomicDataDict.batched_from_list(graphs)
