"""The compiled program of a list of steps: energies and gradients by positions and strain.

Forward segment by segment, each phase over blocks of atoms. The last segment goes forward and at once backward; then,
segment by segment, backward through contractions over senders and through the other steps over atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.compiler.arrays import index_arrays, number_array, state_arrays
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.phases import Module, PhaseWriter
from ase_nbody.compiler.programs import Program
from ase_nbody.compiler.signature import Array
from ase_nbody.kernels import geometry_code
from ase_nbody.kernels.geometry_code import EdgeRow
from ase_nbody.math.harmonics import harmonic_steps
from ase_nbody.math.splines import Grid
from ase_nbody.steps.contract import Contract, ContractElements
from ase_nbody.steps.contract_symmetric import ContractSymmetric
from ase_nbody.steps.description import Description, Step
from ase_nbody.steps.elements import Embed, ScaleByElement
from ase_nbody.steps.hand_out import FEATURES, HandOut
from ase_nbody.steps.mix import Mix, MixByElement
from ase_nbody.steps.plan import kept_states, later_sources, segments
from ase_nbody.steps.readout import Readout, Shift
from ase_nbody.steps.writer import Progress, StepWriter


@cache
def program(description: Description, settings: KernelSettings, grid: Grid) -> Program:
    """Compiled phases of a network.

    They are level_1_forward, ..., level_2_forward_and_backward, level_2_senders, level_1_backward, ..., forces.

    Args:
        description: folded.
        settings: dtype and vectors.
        grid: of the radial tables.
    """
    description.check()
    pieces, kept = segments(description.steps), kept_states(description)
    steps = [s.numpy() for s in harmonic_steps(description.max_degree, torch.float64, torch.device("cpu"))]
    row = EdgeRow((description.max_degree + 1) ** 2, grid.degree)
    module = Module(settings, program_arrays(description, kept, row))
    progress = Progress(description.irreps_of, description.n_types, kept, grid)
    for number, segment in enumerate(pieces):
        is_last = segment is pieces[-1]
        with module.phase(f"level_{number + 1}_forward{'_and_backward' if is_last else ''}") as phase:
            w = StepWriter(phase, progress)
            if number == 0:
                _geometry(w, steps, shared=description.has_shared_tables)
            for step in segment:
                step.write_forward(w)
            for name in later_sources(pieces[number + 1 :]) & {step.out for step in segment}:
                w.complete(name)
            if is_last:
                _backward(w, segment, steps)
    for number in range(len(pieces) - 1, 0, -1):
        with module.phase(f"level_{number + 1}_senders") as phase:
            w = StepWriter(phase, progress)
            for step in reversed(pieces[number]):
                if isinstance(step, Contract):
                    step.write_backward_over_senders(w)
        with module.phase(f"level_{number}_backward") as phase:
            _backward(StepWriter(phase, progress), pieces[number - 1], steps)
    with module.phase("forces") as phase:
        _forces(phase)
    return Program(module)


def _geometry(w: StepWriter, steps: Sequence[NDArray[np.float64]], *, shared: bool) -> None:
    """Functions of the edges of the block's receivers."""
    function = w.function(
        "geometry", 0, lambda n: geometry_code.geometry(n, w.phase.settings, w.grid, steps, w.n_types, shared=shared)
    )
    w.call_on_nodes(function, **w.phase.wholes(*function.signature.arguments))


def _backward(w: StepWriter, segment: Sequence[Step], steps: Sequence[NDArray[np.float64]]) -> None:
    """The backward pass of one segment; of the first one to the vectors of edges."""
    for step in reversed(segment):
        step.write_backward(w)
    if isinstance(segment[0], ContractElements):
        function = w.function(
            "vector_gradients",
            0,
            lambda n: geometry_code.vector_gradients(n, w.phase.settings, w.grid.degree, steps),
        )
        w.call_on_nodes(function, **w.phase.wholes(*function.signature.arguments))


def _forces(phase: PhaseWriter) -> None:
    function = phase.module.function("sender_gradients", 0, lambda n: geometry_code.sender_gradients(n, phase.settings))
    given = phase.wholes("order", "slots", "d_vectors", "d_positions", offsets="sender_offsets")
    phase.call(function, phase.first, phase.last, **given)


def program_arrays(description: Description, kept: frozenset[str], row: EdgeRow) -> list[Array]:
    """All arrays of a program, each declared once.

    Args:
        description: folded.
        kept: states and cotangents that outlast a phase.
        row: of what is known about an edge.
    """
    has_states = any(isinstance(step, Contract) for step in description.steps)
    arrays = [*_of_graph(has_states), *_of_edges(row, shared=description.has_shared_tables)]
    if any(isinstance(step, Mix | MixByElement) for step in description.steps):
        arrays.append(number_array("weights", "matrix rows", 1, "weights"))
    lengths: dict[str, int] = {}
    for step in description.steps:
        if isinstance(step, Contract | ContractElements):
            length = step.table.n_paths * step.channels
            arrays.append(number_array(f"{step.radial}_table", "table rows", length, "weights"))
        elif isinstance(step, Readout | ScaleByElement):
            lengths[step.weights] = description.irreps_of[step.source][0].columns
        elif isinstance(step, ContractSymmetric):
            lengths[step.weights] = step.length
        elif isinstance(step, Shift):
            lengths[step.weights] = 1
        elif isinstance(step, Embed):
            lengths[step.weights] = description.irreps_of[step.out][0].columns
    totals = {step.total for step in description.steps if isinstance(step, HandOut)}
    arrays += [number_array(f"{name}_vectors", "types", length, "weights") for name, length in lengths.items()]
    for name, irreps in description.states:
        for state in (name, f"d_{name}"):
            arrays += state_arrays(f"{state}_", [block.length for block in irreps]) if state in kept else []
    arrays += [number_array(FEATURES, "nodes", total, "sum") for total in totals]
    arrays += [number_array("energies", "nodes", 1, "sum"), number_array("d_positions", "nodes", 3, "result")]
    return [*arrays, number_array("d_strains", "nodes", 9, "result")]


def _of_graph(has_states: bool) -> list[Array]:
    positions = [number_array("positions", "nodes", 3, "graph"), number_array("cells", "structures", 9, "graph")]
    nodes = [*index_arrays("structure types", "nodes", "graph"), number_array("shifts", "edges", 3, "graph")]
    edges = index_arrays(f"senders order {'receivers' if has_states else ''}", "edges", "graph")
    return [*positions, *nodes, *edges, *index_arrays("offsets sender_offsets", "node bounds", "graph")]


def _of_edges(row: EdgeRow, *, shared: bool) -> list[Array]:
    """What geometry keeps of the edges within the cutoff, and gradients by it."""
    rows = geometry_code.kept_rows(shared=shared)
    kept = [*index_arrays("ends", "nodes", "workspace"), *index_arrays(rows, "edges", "workspace")]
    gradients = number_array("d_functions", "edges", row.harmonics + 1, "workspace")
    vectors = number_array("d_vectors", "edges", 3, "workspace")
    tables = index_arrays("tables", "type pairs", "weights")
    return [*tables, *kept, number_array("functions", "edges", row.length, "workspace"), gradients, vectors]
