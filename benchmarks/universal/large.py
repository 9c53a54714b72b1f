"""Large cells with `universal`: time and memory of a thousand atoms of SrTiO3 in NPT, and of larger cells.

    python benchmarks/universal/large.py [--model universal] [--repeats 6 7 10] [--steps 10]

Cells of 5 n^3 atoms, in float32 on one thread, each in a process of its own. The first runs NPT at 300 K and 0 GPa,
the others are moved a little and evaluated. Times are the least seconds of the processor (not of the clock, so that
other work of the machine disturbs less) of one step or one call; memory is the largest of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from ase_nbody.potential import Potential

PEROVSKITE = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
LATTICE = 3.944  # angstrom, of `universal`, see solids.py


def main() -> None:
    """Start the processes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="universal")
    parser.add_argument("--repeats", type=int, nargs="+", default=[6, 7, 10])
    parser.add_argument("--steps", type=int, default=10, help="of NPT; calls of the larger cells are three")
    parser.add_argument("--worker", choices=("step of NPT", "energy, forces, stress"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(arguments)))
        return
    print("| atoms | what | s | us per atom | memory, MB | of it before the model is loaded |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for number, repeat in enumerate(arguments.repeats):
        worker = "energy, forces, stress" if number else "step of NPT"
        command = [sys.executable, __file__, "--model", arguments.model, "--repeats", str(repeat)]
        command += ["--steps", str(arguments.steps), "--worker", worker]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        per_atom = 1e6 * row["seconds"] / row["atoms"]
        print(
            f"| {row['atoms']} | {worker} | {row['seconds']:.2f} | {per_atom:.0f} "
            f"| {row['memory']:.0f} | {row['before']:.0f} |",
            flush=True,
        )
    print(f"arrays of nodes, kB per atom: {row['shared']:.0f}, and {row['alone']:.0f} if no two shared memory")


def workspace(potential: Potential, atoms: Atoms) -> dict[str, float]:
    """kB per atom of the arrays of nodes that the compiled evaluation works with: as they share memory, and alone."""
    from ase_nbody.architectures.compiled import load

    program = load(potential.network, frozenset(map(potential.elements.index, atoms.symbols))).program
    sizes = program.arrays.sizes({"nodes": 1}, "workspace")  # numbers of four bytes
    hosts = set(program.hosts.values())
    return {"shared": 4e-3 * sum(map(sizes.get, hosts)), "alone": 4e-3 * sum(map(sizes.get, program.hosts))}


def cell(repeat: int) -> Atoms:
    """Cubic SrTiO3 of so many cells along each vector, atoms moved by 0.05 angstrom."""
    atoms = Atoms("SrTiO3", scaled_positions=PEROVSKITE, cell=[LATTICE] * 3, pbc=True) * repeat
    atoms.rattle(0.05, seed=0)
    return atoms


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    """Atoms, least seconds and memory (MB) of this process."""
    import torch

    from ase_nbody import NBodyCalculator

    torch.set_num_threads(1)  # of the worker's own process
    before = peak()
    atoms = cell(arguments.repeats[0])
    atoms.calc = NBodyCalculator(arguments.model, dtype="float32", device="cpu", threads=1)
    seconds = steps_of_npt(atoms, arguments.steps) if arguments.worker == "step of NPT" else calls(atoms, 3)
    row = {"atoms": len(atoms), "seconds": min(seconds), "memory": peak(), "before": before}
    return row | workspace(atoms.calc.potential, atoms)


def steps_of_npt(atoms: Atoms, steps: int) -> list[float]:
    """Seconds of each step, the first one apart."""
    from ase_nbody.simulation.dynamics import DynamicsSettings, integrator
    from ase_nbody.simulation.velocities import draw_velocities

    generator = np.random.default_rng(0)
    draw_velocities(atoms, 300, generator, at_rest=False)
    settings = DynamicsSettings("npt", 300, 1.0, 0.01, 0.0, 1000.0, flexible_cell=False)
    dynamics = integrator(atoms, settings, generator)
    dynamics.run(1)
    seconds = []
    for _ in range(steps):
        start = time.process_time()
        dynamics.run(1)
        seconds.append(time.process_time() - start)
    return seconds


def calls(atoms: Atoms, count: int) -> list[float]:
    """Seconds of each call after the first."""
    atoms.get_forces()
    seconds = []
    for _ in range(count):
        atoms.positions[0, 0] += 1e-3
        start = time.process_time()
        atoms.get_forces()
        seconds.append(time.process_time() - start)
    return seconds


def peak() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
