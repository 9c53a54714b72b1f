"""Milliseconds of a training step by the number of structures in a batch, on a GPU or a CPU.

    python benchmarks/gpu/training.py --data labelled.xyz [--device cpu --batch 8]

A step is what `nbody train` does in one: a batch is gathered, energies, forces and their loss, gradients, and both
optimizers. Weights are random, in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from ase_nbody.architectures import architectures
from ase_nbody.data import PackedSamples, read_dataset, reference_energies, samples, without_isolated_atoms
from ase_nbody.potential import Potential
from ase_nbody.predictions import ENERGY, FORCES
from ase_nbody.training.loss import common_scale
from ase_nbody.training.objective import LabelledStructures
from ase_nbody.training.state import network_optimizers

CUTOFF = 5.0


def main() -> None:
    """A row for each preset and batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/organic/pbe_def2-svp.xyz.gz"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--presets", nargs="+", default=["small", "medium"])
    parser.add_argument("--steps", type=int, default=20)
    chosen = parser.parse_args()
    data = without_isolated_atoms(read_dataset(chosen.data))
    packed = PackedSamples(samples(data, CUTOFF, dtype=torch.float32), chosen.device)
    references = reference_energies(data, data.elements, None, "").energies
    objective = LabelledStructures(packed, [], common_scale({ENERGY: 10.0, FORCES: 1.0}, 1.0))
    print("| preset | structures | ms a step | structures a second | memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for preset in chosen.presets:
        potential = Potential(network(preset, data.elements).to(chosen.device), references)
        for batch in chosen.batch:
            ms = milliseconds(objective, potential, batch, chosen.steps)
            memory = torch.cuda.max_memory_allocated() / 2**20 if chosen.device == "cuda" else float("nan")
            print(f"| {preset} | {batch} | {ms:.1f} | {1000 * batch / ms:.0f} | {memory:.0f} |", flush=True)


def network(preset: str, elements: tuple[str, ...]) -> torch.nn.Module:
    """A network of `nbody` with random weights."""
    nbody = architectures()["nbody"]
    settings = nbody.settings(elements=elements, cutoff=CUTOFF, average_neighbours=10.0, **nbody.presets[preset])
    return nbody.network(settings, torch.Generator().manual_seed(0)).float()


def milliseconds(objective: LabelledStructures, potential: Potential, batch: int, steps: int) -> float:
    """Median time of a step after some that are not counted."""
    optimizers = network_optimizers(potential.network, "muon", learning_rate=1e-4, weight_decay=0.0)
    parameters = list(potential.network.parameters())
    times = []
    for _ in range(steps + 3):
        started = time.perf_counter()
        potential.network.zero_grad(set_to_none=True)
        objective.gradient(potential, torch.randint(len(objective.samples), (batch,)), 0)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0).item()
        for optimizer in optimizers:
            optimizer.step()
        if parameters[0].is_cuda:
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times[3:])


if __name__ == "__main__":
    main()
