"""Milliseconds of energies and gradients by the compiled program and by autograd, for one preset and water or silicon.

    python benchmarks/compiled.py nequip medium [--system water] [--threads 1] [--rounds 10]

Random weights, float32, cutoff 4.5 angstrom, a neighbour list with a skin of 0.3; the best of the rounds, in turns.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from ase import Atoms
from ase.build import bulk, molecule

from ase_nbody.architectures import Network, architectures
from ase_nbody.graph import Graph
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.timings import Timings

CUTOFF, SKIN = 4.5, 0.3


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architecture", choices=architectures())
    parser.add_argument("preset", choices=("small", "medium", "large"))
    parser.add_argument("--system", choices=("water", "silicon"), default="water")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    atoms = water() if arguments.system == "water" else bulk("Si", cubic=True) * 4
    atoms.rattle(0.02, seed=0)
    architecture = architectures()[arguments.architecture]
    elements = tuple(sorted(set(atoms.symbols)))
    settings = architecture.settings(
        **{**architecture.presets[arguments.preset], "elements": elements, "cutoff": CUTOFF}
    )
    network = architecture.network(settings, torch.Generator().manual_seed(0))
    graph = neighbour_graph(atoms, CUTOFF + SKIN, dtype=torch.float32)
    if network.gradients(graph, Timings()) is None:
        raise SystemExit(f"{arguments.architecture} has no compiled evaluation")
    times = {by_autograd: [] for by_autograd in (True, False)}
    for _ in range(arguments.rounds):
        for by_autograd, found in times.items():
            start = time.perf_counter()
            evaluate(network, graph, by_autograd=by_autograd)
            found.append(1e3 * (time.perf_counter() - start))
    slow, fast = min(times[True]), min(times[False])
    sizes = f"{len(atoms)} atoms, {graph.edges.n_edges} edges in the list, {arguments.threads} threads"
    print(f"{arguments.architecture} {arguments.preset}, {arguments.system}, {sizes}: ", end="")
    print(f"autograd {slow:.1f} ms, compiled {fast:.1f} ms, {slow / fast:.1f}x")


def water() -> Atoms:
    """192 atoms at about the density of water."""
    one = molecule("H2O", cell=[3.105] * 3, pbc=True)
    return one * 4


def evaluate(network: Network, graph: Graph, *, by_autograd: bool) -> None:
    """Energies and gradients by positions."""
    if not by_autograd:
        network.gradients(graph, Timings())
        return
    positions = graph.positions.clone().requires_grad_()
    torch.autograd.grad(network(replace(graph, positions=positions)).sum(), positions)


if __name__ == "__main__":
    main()
