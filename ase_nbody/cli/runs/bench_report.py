"""All figures of `nbody bench`: measured one after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from ase import Atoms

import ase_nbody
from ase_nbody.calculator import NBodyCalculator
from ase_nbody.calculator_inputs import DTYPES
from ase_nbody.cli.inputs import ATOMS_OF_ONE_THREAD, calculator
from ase_nbody.cli.options import Dtype
from ase_nbody.cli.output import warn
from ase_nbody.cli.runs.bench_figures import (
    TEMPERATURE,
    TIMESTEP,
    Dynamics,
    FreshProcess,
    Many,
    fresh_process,
    measured_dynamics,
    measured_many,
    n_cores,
    peak_memory_mib,
)
from ase_nbody.cli.runs.bench_floor import CountedWork, Floor, floor_of_step
from ase_nbody.compiler.machine import Machine, measured_machine, processor
from ase_nbody.graph import Graph
from ase_nbody.model_information import read_information
from ase_nbody.models_directory import find_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.thread_count import using_threads

SHARES = {"dynamics": 0.6, "many": 0.2, "machine": 0.2}
"""Of the time for measuring."""
BUSY = 0.5
"""Processes that want to run, per core, from which on others disturb the figures."""
HOT = 3.0
"""Temperatures of the thermostat above which a structure is not one of the model's."""


@dataclass(frozen=True)
class Options:
    """What `nbody bench` was asked for; threads None takes one for small structures and torch's number for others."""

    model: str
    device: str
    dtype: Dtype
    threads: int | None
    seconds: float

    def threads_for(self, n_atoms: int) -> int:
        """Threads for a structure of so many atoms, before any is set."""
        if self.threads is not None:
            return self.threads
        return 1 if n_atoms <= ATOMS_OF_ONE_THREAD else torch.get_num_threads()


@dataclass(frozen=True)
class StructureFigures:
    """Figures of one structure.

    Attributes:
        structure: its name.
        n_atoms: in the structure.
        n_edges: ordered pairs closer than the cutoff.
        neighbours_per_atom: mean number of atoms closer than the cutoff.
        threads: CPU threads used.
        dynamics: speed of molecular dynamics.
        floor: None where the architecture does not count its work, or the CPU does not do it.
        many: None for large structures.
        peak_memory_mib: of the process, up to the end of this structure's dynamics.
    """

    structure: str
    n_atoms: int
    n_edges: int
    neighbours_per_atom: float
    threads: int
    dynamics: Dynamics
    floor: Floor | None
    many: Many | None
    peak_memory_mib: float | None


@dataclass(frozen=True)
class Report:
    """All figures of a model on this machine; names end in units."""

    model: str
    architecture: str
    device: str
    dtype: str
    ase_nbody: str
    torch: str
    processor: str
    n_cores: int
    load_average: float | None
    timestep_fs: float
    temperature_k: float
    fresh_process: FreshProcess
    machines: list[Machine]
    structures: list[StructureFigures]

    @property
    def busy(self) -> bool:
        """Whether other programs were running."""
        return self.load_average is not None and self.load_average > BUSY * self.n_cores


def measured_report(options: Options, structures: Mapping[str, Atoms]) -> Report:
    """Measure everything; takes the time asked for, and that of loading and compiling.

    Threads are set for the process, which is the command's own.

    Args:
        options: of the command.
        structures: by name.

    Raises:
        ValueError: a structure or its dynamics went wrong.
        RuntimeError: the process that measures loading failed.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    threads = {name: options.threads_for(len(atoms)) for name, atoms in structures.items()}
    share = options.seconds / len(structures)
    measured = [_moved(options, name, structures[name], threads[name], share) for name in structures]
    measured = [_multiplied(one, structures[one.figures.structure], share) for one in measured]
    path, (first, atoms) = find_model(options.model), next(iter(structures.items()))
    fresh = fresh_process(path, options.device, options.dtype.value, threads[first], atoms)
    device = measured[0].calculator.potential.device.type
    machines = _machines(options, set(threads.values())) if device == "cpu" else {}
    return Report(
        model=options.model,
        architecture=read_information(path).architecture,
        device=device,
        dtype=options.dtype.value,
        ase_nbody=ase_nbody.__version__,
        torch=torch.__version__,
        processor=processor(),
        n_cores=n_cores(),
        load_average=load,
        timestep_fs=TIMESTEP,
        temperature_k=TEMPERATURE,
        fresh_process=fresh,
        machines=list(machines.values()),
        structures=[_with_floor(one, machines) for one in measured],
    )


@dataclass(frozen=True)
class _Measured:
    """A structure's figures so far, and what is needed for the others."""

    figures: StructureFigures
    calculator: NBodyCalculator
    work: Mapping[str, CountedWork] | None


def _moved(options: Options, name: str, atoms: Atoms, threads: int, seconds: float) -> _Measured:
    """Figures of a structure's dynamics."""
    calc = calculator(options.model, options.device, options.dtype, threads, len(atoms))
    potential = calc.potential
    graph = neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype, device=potential.device)
    moving = atoms.copy()
    moving.calc = calc
    dynamics = measured_dynamics(moving, SHARES["dynamics"] * seconds)
    if dynamics.temperature_k > HOT * TEMPERATURE:
        warn(
            f"{name} heated to {dynamics.temperature_k:.0f} K: the model does not hold it together, and neighbour "
            "lists are built more often than for structures that it knows"
        )
    figures = StructureFigures(
        structure=name,
        n_atoms=len(atoms),
        n_edges=graph.edges.n_edges,
        neighbours_per_atom=graph.edges.n_edges / len(atoms),
        threads=threads,
        dynamics=dynamics,
        floor=None,
        many=None,
        peak_memory_mib=peak_memory_mib(),
    )
    counted: Callable[[Graph], Mapping[str, CountedWork] | None] | None = getattr(potential.network, "work", None)
    return _Measured(figures, calc, counted(graph) if counted else None)


def _multiplied(measured: _Measured, atoms: Atoms, seconds: float) -> _Measured:
    """With figures of many structures, where it is small; after all dynamics, since batches raise the peak memory."""
    if len(atoms) > ATOMS_OF_ONE_THREAD:
        return measured
    with using_threads(measured.figures.threads):
        many = measured_many(measured.calculator, atoms, SHARES["many"] * seconds)
    return replace(measured, figures=replace(measured.figures, many=many))


def _machines(options: Options, numbers: set[int]) -> dict[int, Machine]:
    """Rates of the machine by the number of threads."""
    machines = {}
    for threads in sorted(numbers):
        seconds = SHARES["machine"] * options.seconds / len(numbers)
        with using_threads(threads):
            machines[threads] = measured_machine(DTYPES[options.dtype.value], seconds)
    return machines


def _with_floor(measured: _Measured, machines: Mapping[int, Machine]) -> StructureFigures:
    figures, work = measured.figures, measured.work or {}
    machine = machines.get(figures.threads)
    if machine is None or not any(part.multiply_adds or part.bytes for part in work.values()):
        return figures
    return replace(figures, floor=floor_of_step(work, machine, figures.dynamics))
