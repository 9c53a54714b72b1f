"""Energies, forces and stress without autograd: folded weights, radial tables, compiled phases.

The numbers are those of the network under autograd within the accuracy of the radial tables; a test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.architectures.atom_order import AtomOrder, local_order
from ase_nbody.architectures.base import Gradients, Work
from ase_nbody.architectures.compiled import Loaded, load
from ase_nbody.architectures.readout_arrays import ReadoutArrays
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.compiler.programs import Program
from ase_nbody.edges import EdgeList
from ase_nbody.graph import Graph
from ase_nbody.steps.hand_out import FEATURES
from ase_nbody.thread_count import thread_count
from ase_nbody.timings import Timings

_MANY_KINDS = 64
"""Kinds of edges beyond which elements that were met before are forgotten when a new one appears: where kinds are pairs
of elements, tables of all that were ever met would take gigabytes."""


class CompiledEvaluation:
    """Evaluates a network: atomic energies and their gradients.

    Folded weights and tables are made on first use, and again when a parameter has changed or an element appears that
    they do not have. Copies and pickles begin without them.
    """

    def __init__(self) -> None:
        self._loaded: dict[bool, Loaded] = {}  # by whether features are handed out
        self._readouts: ReadoutArrays | None = None
        self._spare: list[Workspace] = []  # of evaluations that have ended
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[CompiledEvaluation], tuple[()]]:
        return CompiledEvaluation, ()

    def __call__(self, network: SteppedNetwork, graph: Graph, timings: Timings, *, features: bool = False) -> Gradients:
        """Energies and gradients of a graph.

        Args:
            network: the same at every call, with a description, on the CPU.
            graph: structures in the network's dtype.
            timings: where to add the time of the phases.
            features: give what energies are read out of too, by a program of its own.
        """
        types = network.type_of_number[graph.atomic_numbers]
        loaded = self._current(network, types, timings, features=features)
        return self._run(loaded, {}, graph, types, timings)

    def with_readouts(
        self, network: SteppedNetwork, graph: Graph, readouts: Mapping[str, Tensor], timings: Timings
    ) -> Gradients:
        """The same with other values of all linear readouts, by name; tables stay as they are."""
        types = network.type_of_number[graph.atomic_numbers]
        loaded = self._current(network, types, timings, features=False)
        with self._lock:
            if self._readouts is None or self._readouts.loaded is not loaded:
                self._readouts = ReadoutArrays(network, loaded)
            arrays = self._readouts.arrays(readouts)
        return self._run(loaded, arrays, graph, types, timings)

    def _run(
        self, loaded: Loaded, instead: Mapping[str, Tensor], graph: Graph, types: Tensor, timings: Timings
    ) -> Gradients:
        """Evaluate with some arrays in place of those that are loaded."""
        with self._lock:
            workspace = self._spare.pop() if self._spare else Workspace()
        try:
            return _evaluated(loaded, instead, graph, types, workspace, timings)
        finally:
            with self._lock:
                self._spare.append(workspace)

    def work(self, network: SteppedNetwork, graph: Graph) -> dict[str, Work]:
        """What each phase does for a graph without edges beyond the cutoff."""
        types = network.type_of_number[graph.atomic_numbers]
        loaded = self._current(network, types, Timings(), features=False)
        program, counts = loaded.program, _counts(graph)
        sizes = {name: n * program.dtype_of(name).itemsize for name, n in program.arrays.sizes(counts).items()}
        n_atoms, n_edges = graph.n_atoms, graph.edges.n_edges
        return {
            phase: Work(
                does.per_node * n_atoms + does.per_edge * n_edges, float(sum(sizes.get(n, 0) for n in does.arrays))
            )
            for phase, does in program.phases.items()
        }

    def _current(self, network: SteppedNetwork, types: Tensor, timings: Timings, *, features: bool) -> Loaded:
        """Program and weights; made anew where they are out of date."""
        with self._lock:
            loaded, present = self._loaded.get(features), frozenset(types.tolist())
            if loaded is not None and loaded.parameters.unchanged():
                if present <= loaded.types:
                    return loaded
                if loaded.kinds <= _MANY_KINDS:
                    present |= loaded.types
            with timings.measure("tables"), torch.no_grad():
                made = self._loaded[features] = load(network, present, features=features)
            return made


def _evaluated(
    loaded: Loaded,
    instead: Mapping[str, Tensor],
    graph: Graph,
    types: Tensor,
    workspace: Workspace,
    timings: Timings,
) -> Gradients:
    program, counts = loaded.program, _counts(graph)
    order = workspace.order(graph)
    given = _graph_arrays(graph, types, order)
    program.check(given, "graph", counts)
    arrays = {**loaded.arrays, **instead, **given, **program.results(counts), **workspace.arrays(program, counts)}
    addresses = program.addresses(arrays)
    threads = thread_count()
    program.run(addresses, workspace.shares(program, given["offsets"], threads), threads, timings)
    d_strain = _sums(arrays["d_strains"].view(-1, 3, 3), graph)
    d_vectors = None if graph.vectors is None else _edge_gradients(arrays["d_vectors"], arrays["slots"], graph, order)
    features = arrays[FEATURES].view(graph.n_atoms, -1) if FEATURES in arrays else None
    energies, d_positions = arrays["energies"], arrays["d_positions"].view(-1, 3)
    if order is not None:
        energies, d_positions = order.of_atoms(energies), order.of_atoms(d_positions)
        features = None if features is None else order.of_atoms(features)
    return Gradients(
        energies=energies,
        positions=d_positions,
        strain=0.5 * (d_strain + d_strain.transpose(1, 2)),
        vectors=d_vectors,
        features=features,
    )


def _sums(strains: Tensor, graph: Graph) -> Tensor:
    """What atoms carry, (N, 3, 3), summed over the atoms of each structure, (B, 3, 3)."""
    if graph.n_structures == 1:
        return strains.sum(dim=0, keepdim=True)
    return torch.zeros_like(graph.cell).index_add_(0, graph.structure, strains)


def _edge_gradients(d_vectors: Tensor, slots: Tensor, graph: Graph, order: AtomOrder | None) -> Tensor:
    """Gradients by the vectors of all edges, (E, 3), from those of the kept ones; zero beyond the cutoff."""
    n_edges = graph.edges.n_edges
    slots = slots[:n_edges] if order is None else order.of_edges(slots[:n_edges])
    rows = d_vectors[: 3 * n_edges].view(n_edges, 3)[slots.clamp(min=0)]
    return torch.where((slots >= 0).unsqueeze(1), rows, 0.0)


class Workspace:
    """Memory for one evaluation at a time, kept for the next: fresh memory costs as much as the arithmetic."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}
        self._arrays: dict[str, Tensor] = {}
        self._fits: tuple[Program, dict[str, int]] | None = None
        self._shared: tuple[Program, Tensor, int, dict[str, NDArray[np.int64]]] | None = None
        self._ordered: tuple[EdgeList, AtomOrder | None] | None = None

    def order(self, graph: Graph) -> AtomOrder | None:
        """As `local_order`, which a neighbour list that is used again needs only once."""
        if self._ordered is None or self._ordered[0] is not graph.edges:
            self._ordered = graph.edges, local_order(graph)
        return self._ordered[1]

    def shares(self, program: Program, offsets: Tensor, threads: int) -> dict[str, NDArray[np.int64]]:
        """As `Program.shares`, which a neighbour list that is used again needs only once."""
        if self._shared is not None:
            known, of_offsets, of_threads, shares = self._shared
            if known is program and of_offsets is offsets and of_threads == threads:
                return shares
        shares = program.shares(offsets, threads)
        self._shared = program, offsets, threads, shares
        return shares

    def arrays(self, program: Program, counts: dict[str, int]) -> dict[str, Tensor]:
        """Arrays of at least so many nodes and edges; those that are not needed at the same time share memory."""
        if self._fits == (program, counts):
            return self._arrays
        sizes = program.arrays.sizes(counts, "workspace")
        host_of = {name: program.hosts.get(name, name) for name in sizes}
        for name in set(host_of.values()):  # the longest of those that take its memory
            dtype, size = program.dtype_of(name), sizes[name]
            if name not in self._kept or self._kept[name].numel() < size or self._kept[name].dtype != dtype:
                self._kept[name] = torch.empty(size + size // 8, dtype=dtype)
        self._arrays = {name: self._kept[host] for name, host in host_of.items()}
        self._fits = program, counts
        return self._arrays


def _counts(graph: Graph) -> dict[str, int]:
    nodes = graph.n_atoms
    return {"nodes": nodes, "node bounds": nodes + 1, "edges": graph.edges.n_edges, "structures": graph.n_structures}


def _graph_arrays(graph: Graph, types: Tensor, order: AtomOrder | None) -> dict[str, Tensor]:
    edges, cell, shifts = graph.edges, graph.cell, graph.shifts
    positions = graph.positions
    if graph.vectors is not None:  # as shifts in a cell of 1 angstrom, so that the program needs no second geometry
        cell = torch.eye(3, dtype=cell.dtype).expand_as(cell)
        shifts = graph.vectors - (positions[edges.senders] - positions[edges.receivers])
    if order is not None:
        positions, types, shifts, edges = (
            positions[order.atoms],
            types[order.atoms],
            shifts[order.edges],
            order.edge_list,
        )
    return {
        "positions": positions.contiguous(),
        "cells": cell.contiguous(),
        "structure": graph.structure,
        "types": types,
        "shifts": shifts.contiguous(),
        "offsets": edges.receiver_offsets,
        "senders": edges.senders,
        "receivers": edges.receivers,
        "order": edges.sender_order,
        "sender_offsets": edges.sender_offsets,
    }
