"""ase_nbody with random weights: its calculator, one step of training, and structures one by one or in batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import torch
from ase import Atoms
from ase.build import molecule
from structures import mean_neighbours, rattled

from ase_nbody import NBodyCalculator
from ase_nbody.architectures import architectures
from ase_nbody.data.dataset import Labels
from ase_nbody.data.graph_samples import Sample, batch_samples, targets
from ase_nbody.neighbour_cache import NeighbourCache
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict, trainable_prediction
from ase_nbody.predictions import ENERGY, FORCES
from ase_nbody.training.loss import common_scale, loss
from ase_nbody.training.state import network_optimizers


def potential(atoms: Atoms, dtype: str, size: str) -> Potential:
    """An architecture and its preset, such as "nequip medium", for the elements of a structure."""
    name, preset = size.split()
    architecture, elements = architectures()[name], tuple(sorted(set(atoms.symbols)))
    presets = architecture.presets[preset]
    settings = architecture.settings(elements=elements, average_neighbours=mean_neighbours(atoms), **presets)
    network = architecture.network(settings, torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    return Potential(network, dict.fromkeys(elements, 0.0))


def calculator(atoms: Atoms, dtype: str, size: str, device: str = "cpu") -> NBodyCalculator:
    """The ASE calculator of an architecture and its preset, or of a shipped model."""
    model = potential(atoms, dtype, size) if " " in size else size
    return NBodyCalculator(model, device=device, dtype=dtype)


def model_alone(calc: NBodyCalculator, atoms: Atoms) -> Callable[[], object]:
    """Energy, forces and stress of a structure whose neighbours are known."""
    graph = calc.neighbours.graph(atoms, dtype=calc.potential.dtype, device=calc.potential.device)
    return lambda: predict(calc.potential, graph)


def neighbour_list(calc: NBodyCalculator, atoms: Atoms) -> Callable[[], object]:
    """A new list with the calculator's skin, and its contacts."""

    def new_list() -> object:
        fresh = NeighbourCache(calc.neighbours.cutoff, calc.neighbours.skin, calc.evaluator.limits)
        return fresh.graph(atoms, dtype=calc.potential.dtype, device=calc.potential.device)

    return new_list


def training_step(batches: list[list[Atoms]], dtype: str, size: str, device: str = "cpu") -> Callable[[], None]:
    """A function that takes one step of the optimizers of `nbody train` with the next batch."""
    trained = potential(batches[0][0], dtype, size)
    trained.network.to(device)
    optimisers = network_optimizers(trained.network, "muon", learning_rate=1e-4, weight_decay=0.0)
    weights = common_scale({ENERGY: 1.0, FORCES: 1.0}, 1.0)
    samples = itertools.cycle([batch_samples([_sample(atoms, trained) for atoms in batch]) for batch in batches])

    def step() -> None:
        sample = next(samples)
        trained.network.zero_grad(set_to_none=True)
        prediction = trainable_prediction(trained, sample.graph)
        loss(prediction, sample.targets, sample.graph, weights).backward()
        for optimiser in optimisers:
            optimiser.step()

    return step


def _sample(atoms: Atoms, trained: Potential) -> Sample:
    labels = Labels(energy=atoms.get_potential_energy(), forces=atoms.get_forces(), stress=None)
    place = {"dtype": trained.dtype, "device": trained.device}
    return Sample(graph=neighbour_graph(atoms, trained.cutoff, **place), targets=targets(atoms, labels, **place))


def many(dtype: str, size: str, number: int = 100, repeats: int = 7) -> dict[str, float]:
    """Structures per second of `calculate_many` and of a loop over the calculator, fastest of alternating repeats."""
    structures = rattled(molecule("CH3CH2OH"), number, stdev=0.1)
    calc = calculator(structures[0], dtype, size)
    ways = {"loop": lambda: _loop(calc, structures), "calculate_many": lambda: calc.calculate_many(structures)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: number / min(times) for name, times in seconds.items()}


def _loop(calc: NBodyCalculator, structures: list[Atoms]) -> None:
    for atoms in structures:
        calc.get_property("forces", atoms)
        calc.get_property("energy", atoms)
