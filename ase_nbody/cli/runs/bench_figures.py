"""Figures of speed: a fresh process, molecular dynamics and its parts, and many structures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import ase.io
import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from numpy.typing import NDArray

from ase_nbody.calculator import NBodyCalculator
from ase_nbody.simulation.velocities import draw_velocities
from ase_nbody.timings import Timings

TIMESTEP = 0.5  # fs
TEMPERATURE = 300.0  # K
FRICTION = 0.01  # 1/fs, as nbody md
WARM_UP = 1
"""Steps that are not counted, after the first evaluation, which compiles the kernels."""
LEAST_STEPS = 3
MOST_STEPS = 1_000_000
BATCHES = (1, 4, 16, 64)
DISPLACEMENT = 0.1
"""Width of the random displacements that make many structures of one, angstrom, as between frames at 300 K."""
PARTS = ("neighbours", "evaluation", "results")
"""Parts of a step that the calculator measures itself; all others it knows of are parts of the evaluation."""

_FRESH_PROCESS = """
import json, sys, time
model, device, dtype, threads, structure = json.loads(sys.argv[1])
begin = time.perf_counter()
import torch
from ase_nbody import NBodyCalculator
imported = time.perf_counter()
torch.set_num_threads(threads)
calculator = NBodyCalculator(model, device=device, dtype=dtype)
loaded = time.perf_counter()
import ase.io
atoms = ase.io.read(structure)
atoms.calc = calculator
read = time.perf_counter()
atoms.get_forces()
first = time.perf_counter()
atoms.positions += 0.01
moved = time.perf_counter()
atoms.get_forces()
second = time.perf_counter()
seconds = {"import_s": imported - begin, "load_s": loaded - imported}
seconds |= {"first_evaluation_s": first - read, "second_evaluation_s": second - moved}
seconds["import_to_first_forces_s"] = first - read + loaded - begin
print(json.dumps(seconds))
"""


@dataclass(frozen=True)
class FreshProcess:
    """Seconds in a new Python process; the first evaluation compiles the kernels.

    Attributes:
        import_s: `from ase_nbody import NBodyCalculator`, with torch and ASE.
        load_s: making the calculator.
        first_evaluation_s: energy and forces, with compilation.
        second_evaluation_s: of moved atoms.
        import_to_first_forces_s: the first three together.
    """

    import_s: float
    load_s: float
    first_evaluation_s: float
    second_evaluation_s: float
    import_to_first_forces_s: float


@dataclass(frozen=True)
class Dynamics:
    """Speed of molecular dynamics through ASE, and means over its steps of what they spend.

    Attributes:
        steps: number of steps counted.
        median_ms_per_step: wall time.
        mean_ms_per_step: wall time; the sum of the parts.
        us_per_atom_and_step: median, microseconds.
        ns_per_day: simulated, at TIMESTEP and the median.
        lists_built_per_step: neighbour lists that could not be reused.
        temperature_k: at the end.
        parts_ms_per_step: the calculator's parts, and "ASE", the rest of the wall time.
        evaluation_parts_ms_per_step: parts of "evaluation" and the rest of it, "other"; empty where it has none.
    """

    steps: int
    median_ms_per_step: float
    mean_ms_per_step: float
    us_per_atom_and_step: float
    ns_per_day: float
    lists_built_per_step: float
    temperature_k: float
    parts_ms_per_step: dict[str, float]
    evaluation_parts_ms_per_step: dict[str, float]


@dataclass(frozen=True)
class Many:
    """Evaluations of many displaced structures.

    Attributes:
        loop_structures_per_s: one after another.
        calculate_many_structures_per_s: by the number of structures given at once.
    """

    loop_structures_per_s: float
    calculate_many_structures_per_s: dict[int, float]


def fresh_process(model: Path, device: str, dtype: str, threads: int, atoms: Atoms) -> FreshProcess:
    """Load a model and evaluate a structure in a process of its own.

    Raises:
        RuntimeError: the process failed.
    """
    with TemporaryDirectory() as folder:
        structure = os.path.join(folder, "structure.traj")
        ase.io.write(structure, atoms)
        options = json.dumps([os.fspath(model), device, dtype, threads, structure])
        command = [sys.executable, "-c", _FRESH_PROCESS, options]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        reason = finished.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"the process that measures loading failed with status {finished.returncode}: {reason}")
    return FreshProcess(**json.loads(finished.stdout))


def measured_dynamics(atoms: Atoms, seconds: float) -> Dynamics:
    """Langevin dynamics for some seconds, after WARM_UP steps.

    Args:
        atoms: structure with its NBodyCalculator; moved along.
        seconds: wall time; at least LEAST_STEPS steps are made.

    Raises:
        ValueError: positions became infinite.
        CalculationFailed: so did an energy.
    """
    calculator, generator = atoms.calc, np.random.default_rng(0)
    draw_velocities(atoms, TEMPERATURE, generator, at_rest=False)
    timestep, friction = TIMESTEP * units.fs, FRICTION / units.fs
    langevin = Langevin(atoms, timestep, temperature_K=TEMPERATURE, friction=friction, fixcm=False, rng=generator)
    steps = langevin.irun(MOST_STEPS)
    for _ in range(1 + WARM_UP):  # the first is step 0
        next(steps)
    calculator.timings.clear()
    builds = calculator.neighbours.builds
    durations = _durations(steps, seconds)
    median, mean = float(np.median(durations)), float(durations.mean())
    parts, evaluation_parts = parts_of_step(calculator.timings, len(durations), mean)
    return Dynamics(
        steps=len(durations),
        median_ms_per_step=median,
        mean_ms_per_step=mean,
        us_per_atom_and_step=1000 * median / len(atoms),
        ns_per_day=TIMESTEP * 1e-6 * 24 * 3600 * 1000 / median,
        lists_built_per_step=(calculator.neighbours.builds - builds) / len(durations),
        temperature_k=float(atoms.get_temperature()),
        parts_ms_per_step=parts,
        evaluation_parts_ms_per_step=evaluation_parts,
    )


def _durations(steps: Iterator[bool], seconds: float) -> NDArray[np.float64]:
    """Wall time of each step, ms."""
    moments = [perf_counter()]
    for _ in steps:
        moments.append(perf_counter())
        if moments[-1] - moments[0] > seconds and len(moments) > LEAST_STEPS:
            break
    return 1000 * np.diff(moments)


def parts_of_step(timings: Timings, steps: int, mean: float) -> tuple[dict[str, float], dict[str, float]]:
    """Mean time of each part of a step, and of each part of its evaluation, ms; what is left has a part of its own.

    Args:
        timings: of all steps.
        steps: their number.
        mean: wall time of a step, ms.
    """
    each = {part: 1000 * seconds / steps for part, seconds in timings.seconds.items()}
    parts = {part: each.pop(part) for part in PARTS if part in each}
    evaluation_parts = dict(each)
    if evaluation_parts:
        evaluation_parts["other"] = parts["evaluation"] - sum(evaluation_parts.values())
    parts["ASE"] = mean - sum(parts.values())
    return parts, evaluation_parts


def measured_many(calculator: NBodyCalculator, atoms: Atoms, seconds: float) -> Many:
    """Structures per second, one after another and packed.

    Args:
        calculator: evaluates them.
        atoms: displaced at random into as many structures as the largest of BATCHES; it is only read.
        seconds: wall time in all, about.
    """
    generator = np.random.default_rng(0)
    structures = [atoms.copy() for _ in range(BATCHES[-1])]
    for structure in structures:
        structure.positions += generator.normal(0, DISPLACEMENT, structure.positions.shape)
    share = seconds / (len(BATCHES) + 1)

    def one_by_one(structures: list[Atoms]) -> None:
        for structure in structures:
            calculator.calculate(structure)

    packed = {size: _rate(calculator.calculate_many, structures[:size], share) for size in BATCHES}
    return Many(_rate(one_by_one, structures, share), packed)


def _rate(action: Callable[[list[Atoms]], object], structures: list[Atoms], seconds: float) -> float:
    """Structures per second: median over repetitions, at least two."""
    durations: list[float] = []
    started = perf_counter()
    while len(durations) < 2 or perf_counter() - started < seconds:
        before = perf_counter()
        action(structures)
        durations.append(perf_counter() - before)
    return len(structures) / float(np.median(durations))


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far, MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def n_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
