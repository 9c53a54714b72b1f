"""Energies, forces and stress of N-body networks on a GPU: radial tables in the kernels, autograd for the rest.

The numbers are those of `GatedNetwork` under autograd within the accuracy of the radial tables, which are those of the
compiled evaluation on the CPU; a test holds the two together.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from ase_nbody.architectures.base import Gradients, gradients_by_vectors
from ase_nbody.architectures.compiled import Tables, Versions, first_rows, table_grid
from ase_nbody.architectures.nbody_steps import weights_of_steps
from ase_nbody.cuda.spline_messages import SplineWeights, spline_contract
from ase_nbody.edges import EdgeList, kept_edges
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.math import spherical_harmonics
from ase_nbody.math.splines import Grid
from ase_nbody.timings import Timings

if TYPE_CHECKING:
    from ase_nbody.architectures.nbody_gates import Gate, GatedNetwork


@dataclass(frozen=True)
class RadialTables:
    """Splines of the radial weights of a network with its present weights, for some of its elements.

    Attributes:
        parameters: of which they were made.
        types: numbers of the elements that they hold.
        grid: of the splines.
        starts: first row of each pair of types, receiver's before sender's, (T^2,) int64.
        coefficients: of each level, (rows, paths C), over the root of the mean number of neighbours.
    """

    parameters: Versions
    types: frozenset[int]
    grid: Grid
    starts: Tensor
    coefficients: list[Tensor]


class NBodySplines:
    """Evaluates a network: atomic energies and their gradients.

    Tables are made on first use, and again when a parameter has changed or an element appears for the first time.
    Copies and pickles begin without them.
    """

    def __init__(self) -> None:
        self._tables: RadialTables | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[NBodySplines], tuple[()]]:
        return NBodySplines, ()

    def __call__(self, network: GatedNetwork, graph: Graph, timings: Timings) -> Gradients:
        """Energies and gradients of a graph.

        Args:
            network: the same at every call, of settings that the compiled evaluation serves, on a GPU.
            graph: structures in the network's dtype.
            timings: where to add the time of making tables.
        """
        types = network.type_of_number[graph.atomic_numbers]
        tables = self._current(network, types, timings)
        vectors = edge_vectors(graph).detach()
        inside = vectors.norm(dim=1) < network.settings.cutoff
        numbers = inside.nonzero().squeeze(1)
        edges, near = kept_edges(graph.edges, inside, numbers), vectors[numbers].requires_grad_()
        with torch.enable_grad():
            energies = _energies(network, tables, graph, near, edges, types)
            (d_near,) = torch.autograd.grad(energies.sum(), near)
        found = gradients_by_vectors(replace(graph, edges=edges), energies.detach(), near.detach(), d_near)
        if graph.vectors is None:
            return found
        return replace(found, vectors=torch.zeros_like(vectors).index_copy(0, numbers, d_near))

    def _current(self, network: GatedNetwork, types: Tensor, timings: Timings) -> RadialTables:
        """Tables; made anew where they are out of date."""
        with self._lock:
            found = self._tables
            counts = torch.bincount(types, minlength=len(network.settings.elements)).tolist()
            present = frozenset(number for number, count in enumerate(counts) if count)
            if found is not None and found.parameters.unchanged():
                if present <= found.types:
                    return found
                present |= found.types
            with timings.measure("tables"), torch.no_grad():
                self._tables = _tables(network, present)
            return self._tables


def _tables(network: GatedNetwork, present: frozenset[int]) -> RadialTables:
    weights = weights_of_steps(copy.deepcopy(network).cpu())
    dtype = network.embedding.dtype
    grid = table_grid(weights, network.settings.cutoff, dtype)
    pairs, starts = first_rows(weights, len(network.settings.elements), present, grid)
    tables = Tables(weights, grid)
    coefficients = [tables.of(name, pairs).flatten(0, 1).to(network.embedding) for name in weights.radial]
    return RadialTables(Versions(network), present, grid, starts.to(network.embedding.device), coefficients)


def _energies(
    network: GatedNetwork, tables: RadialTables, graph: Graph, vectors: Tensor, edges: EdgeList, types: Tensor
) -> Tensor:
    """Atomic energies, (N,), from the vectors of edges shorter than the cutoff."""
    grid, settings = tables.grid, network.settings
    distances = vectors.norm(dim=1)
    harmonics = spherical_harmonics(vectors / distances.unsqueeze(1), settings.max_degree_edges)
    x = distances * (grid.intervals / grid.cutoff)
    interval = x.detach().floor().clamp(max=grid.intervals - 1)
    pairs = types[edges.receivers] * len(settings.elements) + types[edges.senders]
    places, rows = x - interval, tables.starts[pairs] + interval.to(torch.int64)
    one_hot = network.one_hot_types(graph)
    states, total = network.leaves(one_hot), torch.zeros_like(one_hot[:, 0])
    for module, coefficients in zip(network.gates, tables.coefficients, strict=True):
        gate = cast("Gate", module)
        weights = SplineWeights(places, rows, coefficients, grid.degree)
        fragments = spline_contract(states, harmonics, weights, edges, gate.aggregation.table)
        states, energies = gate.after_sums(gate.many_body(fragments), states, one_hot, contains_itself=True)
        total = total + energies
    return total
