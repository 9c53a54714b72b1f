"""Gradients of losses on energies and forces by the weights of steps: values, cotangents, tangents, and both.

A loss on forces needs second derivatives along one direction only: the gradient of sum_e t_e . dE/dr_e, with t_e the
gradient of the loss by dE/dr_e, is that of the tangent of E for tangents t_e of the edge vectors r_e (Pearlmutter
1994, doi 10.1162/neco.1994.6.1.147). So a pass of tangents and a reverse pass through values and tangents replace
autograd's differentiation of its own backward pass. The numbers are those of `forward` under autograd; a test holds the
two together.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ase_nbody.compiler.thread_pool import side_by_side
from ase_nbody.edges import kept_edges
from ase_nbody.graph import Graph, edge_vectors, split_graph
from ase_nbody.kernels.dual import COTANGENT_TANGENTS, COTANGENTS, TANGENTS, VALUES
from ase_nbody.nn.dual_edges import DualDirections
from ase_nbody.steps.description import Description
from ase_nbody.steps.dual import DualAtoms, DualStates, DualStep
from ase_nbody.steps.memory import SpareArenas
from ase_nbody.steps.radial import ParameterGradients
from ase_nbody.steps.weights import StepWeights
from ase_nbody.thread_count import threads_worth, using_threads

SMALLEST_SHARE = 900
"""Edges per thread below which another thread gains nothing: a pass holds Python's lock for about 4 ms in all."""


@dataclass(frozen=True)
class TrainedSteps:
    """A network with its weights, for passes of training and for features.

    Attributes:
        description: its steps, not folded.
        weights: of these.
        type_of_number: place of each atomic number among the elements.
        cutoff: angstrom.
        memory: of passes.
    """

    description: Description
    weights: StepWeights
    type_of_number: Tensor
    cutoff: float
    memory: SpareArenas = field(default_factory=SpareArenas)


class TrainingPass:
    """Energies of one batch and their gradients by the edge vectors; then gradients of a scalar of both by weights.

    Args:
        network: on the CPU.
        graph: the batch.

    Attributes:
        vectors: of all edges, (E, 3), angstrom.
        steps: done as far as values.
    """

    def __init__(self, network: TrainedSteps, graph: Graph) -> None:
        description = network.description
        self.vectors = edge_vectors(graph)
        inside = self.vectors.norm(dim=1) < network.cutoff
        self._kept = None if bool(inside.all()) else inside.nonzero().squeeze(1)
        pairs = graph.edges if self._kept is None else kept_edges(graph.edges, inside, self._kept)
        directions = DualDirections(self._of_kept(self.vectors), description.max_degree)
        types, n_types = network.type_of_number[graph.atomic_numbers], description.n_types
        none = self.vectors.new_zeros(())
        states, gradients = (DualStates(description.irreps_of, graph.n_atoms, none) for _ in range(2))
        self.atoms = DualAtoms(
            weights=network.weights,
            types=types,
            one_hot=functional.one_hot(types, n_types).to(self.vectors.dtype),
            pairs=pairs,
            shifts=self._of_kept(graph.shifts),
            directions=directions,
            kinds=network.weights.kind_of_pair[types[pairs.receivers] * n_types + types[pairs.senders]],
            states=states,
            gradients=gradients,
            energies=self.vectors.new_zeros(graph.n_atoms),
            d_energies=none,
            d_harmonics=torch.zeros_like(directions.harmonics.both[0][VALUES]),
            memory=network.memory.take(self, none),
        )
        self.steps: list[DualStep] = []
        for step in description.steps:
            self.steps.append(step.dual(self.atoms))
            self.steps[-1].forward(VALUES)

    def vector_gradients(self) -> Tensor:
        """Gradients of the summed energy by the edge vectors, (E, 3): once.

        What is due to the length of opposite vectors of one pair of atoms may stand at one of them.
        """
        for step in reversed(self.steps):
            step.begin_backward()
            step.backward(COTANGENTS)
        d_distances = torch.zeros_like(self.atoms.directions.distances)
        for hidden in self.atoms.hidden.values():
            d_distances.index_add_(0, hidden.edges.shared.first, hidden.d_distances)
        d_kept = self.atoms.directions.vjp(self.atoms.d_harmonics, d_distances)
        if self._kept is None:
            return d_kept
        return torch.zeros_like(self.vectors).index_copy_(0, self._kept, d_kept)

    def jvp(self, t_vectors: Tensor) -> None:
        """Make the tangents of all states from those of the edge vectors, (E, 3), opposite for opposite vectors."""
        t_distances = self.atoms.directions.jvp(self._of_kept(t_vectors))
        for hidden in self.atoms.hidden.values():
            hidden.jvp(t_distances[hidden.edges.shared.first])
        for step in self.steps:
            step.forward(TANGENTS)

    def gradients(self, d_energies: Tensor, t_vectors: Tensor) -> ParameterGradients:
        """Gradients by the weights of a scalar, after `vector_gradients`.

        Args:
            d_energies: its gradient by the atomic energies, (N,).
            t_vectors: its gradient by what `vector_gradients` gives, (E, 3).
        """
        self.jvp(t_vectors)
        self.atoms.d_energies = d_energies
        gradients: ParameterGradients = {}
        for step in reversed(self.steps):
            step.backward(COTANGENT_TANGENTS)
            step.accumulate_gradients(gradients)
        for hidden in self.atoms.hidden.values():
            hidden.accumulate_gradients(gradients)
        return gradients

    def _of_kept(self, rows: Tensor) -> Tensor:
        return rows if self._kept is None else rows[self._kept]


def trainable_energies(network: TrainedSteps, graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Atomic energies, (N,), and gradients of their sum by positions, (N, 3), and one symmetric strain, (B, 3, 3).

    They can be differentiated once by the tensors of `StepWeights`, and so by what these were made of.

    Args:
        network: on the CPU.
        graph: structures in its dtype.
    """
    energies: tuple[Tensor, Tensor, Tensor] = _EnergiesOfSteps.apply(network, graph, *network.weights.tensors())  # type: ignore[no-untyped-call]
    return energies


class _EnergiesOfSteps(Function):
    @staticmethod
    def forward(ctx: Any, network: TrainedSteps, graph: Graph, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        graphs = split_graph(graph, _share_count(graph))
        with _torch_threads(graph):
            shares = side_by_side([partial(_values, network, share) for share in graphs])
        ctx.passes, ctx.graph, ctx.tensors = [one for one, _ in shares], graph, network.weights.tensors()
        d_vectors = torch.cat([by_vectors for _, by_vectors in shares])
        edges = graph.edges
        d_positions = torch.zeros_like(graph.positions).index_add_(0, edges.senders, d_vectors)
        d_positions.index_add_(0, edges.receivers, d_vectors, alpha=-1)
        ctx.vectors = torch.cat([one.vectors for one in ctx.passes])
        outer = d_vectors.unsqueeze(2) * ctx.vectors.unsqueeze(1)  # (E, 3, 3)
        d_strain = torch.zeros_like(graph.cell).index_add_(0, graph.structure[edges.receivers], outer)
        energies = torch.cat([one.atoms.energies for one in ctx.passes])
        return energies, d_positions, 0.5 * (d_strain + d_strain.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_energies: Tensor, t_positions: Tensor, t_strain: Tensor) -> tuple[Tensor | None, ...]:
        edges, passes = ctx.graph.edges, ctx.passes
        symmetric = 0.5 * (t_strain + t_strain.transpose(1, 2))[ctx.graph.structure[edges.receivers]]  # (E, 3, 3)
        t_vectors = t_positions[edges.senders] - t_positions[edges.receivers]
        t_vectors += (symmetric * ctx.vectors.unsqueeze(1)).sum(dim=2)
        upstream = zip(
            passes,
            torch.split(d_energies, [len(one.atoms.types) for one in passes]),
            torch.split(t_vectors, [len(one.vectors) for one in passes]),
            strict=True,
        )
        with _torch_threads(ctx.graph):
            gradients = side_by_side([partial(one.gradients, by_energy, t) for one, by_energy, t in upstream])
        for more in gradients[1:]:
            torch._foreach_add_(list(gradients[0].values()), [more[tensor] for tensor in gradients[0]])
        return (None, None, *(gradients[0].get(id(tensor)) for tensor in ctx.tensors))


def _values(network: TrainedSteps, graph: Graph) -> tuple[TrainingPass, Tensor]:
    values = TrainingPass(network, graph)
    return values, values.vector_gradients()


def _torch_threads(graph: Graph) -> AbstractContextManager[None]:
    """One for torch where the batch is too small for more."""
    return using_threads(1) if graph.edges.n_edges < 2 * SMALLEST_SHARE else nullcontext()


def _share_count(graph: Graph) -> int:
    """How many shares of the batch are worth doing side by side."""
    return threads_worth(graph.edges.n_edges, SMALLEST_SHARE, graph.n_structures)
