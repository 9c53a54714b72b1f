"""Radial weights of edges with slopes by the distance: the hidden layers by an interface, their last matrix here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.kernels.dual import RadialRows
from ase_nbody.steps.memory import Arena

ParameterGradients = dict[int, Tensor]
"""Gradients of a scalar by tensors, by the id of each."""

Result = TypeVar("Result")


def add_gradient(gradients: ParameterGradients, tensor: Tensor, gradient: Tensor) -> None:
    """Add a gradient by a tensor to those that are there."""
    before = gradients.get(id(tensor))
    gradients[id(tensor)] = gradient if before is None else before + gradient


@dataclass(frozen=True)
class SharedRows:
    """Which edges have the same radial weights: the two of one pair of atoms, where they are of one kind.

    Attributes:
        rows: row of each edge, (E,) int64.
        slots: place of each edge's gradients, (E,) int64: its row, or for the second of two edges E minus the number of
            pairs plus its row.
        first: the first edge of each row, (R,) int64; rows of two edges come first.
    """

    rows: Tensor
    slots: Tensor
    first: Tensor

    def summed(self, d_edges: Tensor) -> Tensor:
        """Gradients of rows, (R, ...), in place of those of edges in their slots, (E, ...)."""
        n_rows = len(self.first)
        d_edges[: len(d_edges) - n_rows].add_(d_edges[n_rows:])
        return d_edges[:n_rows]


def shared_rows(pairs: EdgeList, shifts: Tensor, kinds: Tensor) -> SharedRows:
    """Rows of edges.

    Args:
        pairs: (E,) edges, each with its reverse or without.
        shifts: whole cells by which senders are moved, (E, 3).
        kinds: of edges, (E,) int64.
    """
    first, second = _pairs_of_edges(pairs, shifts, kinds)
    n_edges, n_pairs = len(kinds), len(first)
    numbers = torch.arange(n_edges, device=kinds.device)
    alone = torch.ones_like(kinds, dtype=torch.bool)
    alone[first] = alone[second] = False
    first_of_rows = torch.cat([first, alone.nonzero().squeeze(1)])
    rows, slots = torch.empty_like(kinds), torch.empty_like(kinds)
    rows[first_of_rows] = slots[first_of_rows] = numbers[: n_edges - n_pairs]
    rows[second], slots[second] = numbers[:n_pairs], numbers[n_edges - n_pairs :]
    return SharedRows(rows, slots, first_of_rows)


def _pairs_of_edges(pairs: EdgeList, shifts: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Edges i -> j and j -> i of equal kind with opposite shifts, (pairs,) each."""
    low, high = torch.minimum(pairs.senders, pairs.receivers), torch.maximum(pairs.senders, pairs.receivers)
    whole = shifts.round().to(torch.int64)
    reach = int(whole.abs().max()) + 1 if len(kinds) else 1
    place = whole @ torch.tensor([4 * reach * reach, 2 * reach, 1], device=kinds.device)  # opposite shifts: minus it
    is_reversed = (pairs.senders < pairs.receivers) | ((low == high) & (place < 0))
    place = torch.where(is_reversed, -place, place) + 4 * reach**3
    n_kinds = int(kinds.max()) + 1 if len(kinds) else 1
    key = ((low * pairs.n_senders + high) * (8 * reach**3) + place) * n_kinds + kinds
    ordered, order = torch.sort(key, stable=True)
    is_second = ordered[1:] == ordered[:-1]
    return order[:-1][is_second], order[1:][is_second]


@dataclass
class RadialEdges:
    """What hidden layers know of the edges of a batch: rows that several edges may share.

    Attributes:
        distances: (R,), angstrom.
        kinds: of edges, (R,) int64; zeros for radial functions that do not depend on it.
        shared: rows of all edges.
        memory: for large arrays.
        cache: what layers make of these edges once, and share.
    """

    distances: Tensor
    kinds: Tensor
    shared: SharedRows
    memory: Arena
    cache: dict[Hashable, object] = field(default_factory=dict)

    def cached(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """What `make` made for a key the first time."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]  # type: ignore[return-value]

    def empty(self, *shape: int) -> Tensor:
        """A large array, not filled in."""
        return self.memory.empty(self.distances, *shape)


class HiddenPass(ABC):
    """Hidden layers of the rows of one batch.

    Attributes:
        rows: values, room for tangents, and slopes by the distance, (3, R, H).
    """

    rows: Tensor

    @abstractmethod
    def gradients(self, t_cotangents: Tensor, cotangents: Tensor, t_distances: Tensor) -> Sequence[Tensor]:
        """Gradients by the parameters, in their order, of a scalar of values and tangents.

        Args:
            t_cotangents: its gradient by the values, (R, H).
            cotangents: its gradient by the tangents, which are slopes times tangents of the distances, (R, H).
            t_distances: these tangents, (R,).
        """


class HiddenLayers(ABC):
    """Hidden layers of a radial network.

    Attributes:
        parameters: that they have.
    """

    parameters: Sequence[Tensor]

    @abstractmethod
    def on(self, edges: RadialEdges, factors: Tensor) -> HiddenPass:
        """Their values and slopes on edges, each row times a factor, (R,) or ()."""


@dataclass(frozen=True)
class RadialNetwork:
    """Hidden layers times one matrix, times a number of the kind of edge.

    Attributes:
        layers: hidden layers.
        matrix: the last one, (H, paths C).
        factors: of each kind, (kinds,), or of all, (); no gradients are made by them.
    """

    layers: HiddenLayers
    matrix: Tensor
    factors: Tensor

    def last(self, kinds: list[int]) -> Tensor:
        """The last matrix of some kinds, (kinds, H, paths C) float64."""
        matrix, factors = self.matrix.double(), self.factors.double()
        chosen = factors[kinds] if factors.dim() else factors.expand(len(kinds))
        return chosen[:, None, None] * matrix


class SharedHidden:
    """Hidden layers of which several contractions take their weights.

    Args:
        network: one of theirs.
        edges: of the batch.
    """

    def __init__(self, network: RadialNetwork, edges: RadialEdges) -> None:
        self.layers, self.edges = network.layers, edges
        factors = network.factors[edges.kinds] if network.factors.dim() else network.factors
        self._passed = network.layers.on(edges, factors)
        self.values, self.tangents, self.slopes = self._passed.rows.unbind(0)
        self.d_distances = edges.distances.new_zeros(())
        self._t_cotangents: Tensor | None = None
        self._cotangents: Tensor | None = None

    def vjp(self, cotangents: Tensor) -> None:
        """Add the cotangents of the distances, (R,), that come from those of the layers, (R, H)."""
        self.d_distances = self.d_distances + (cotangents * self.slopes).sum(dim=1)

    def jvp(self, t_distances: Tensor) -> None:
        """Make the tangents from those of the distances, (R,)."""
        self._t_distances = t_distances
        torch.mul(self.slopes, t_distances.unsqueeze(1), out=self.tangents)
        self._t_cotangents = self._cotangents = None

    def add(self, t_cotangents: Tensor, cotangents: Tensor) -> None:
        """Add to the gradients by values and tangents, (R, H) each."""
        self._t_cotangents = t_cotangents if self._t_cotangents is None else self._t_cotangents + t_cotangents
        self._cotangents = cotangents if self._cotangents is None else self._cotangents + cotangents

    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        """Add the gradients by the layers' parameters to `gradients`."""
        assert self._t_cotangents is not None and self._cotangents is not None
        of_layers = self._passed.gradients(self._t_cotangents, self._cotangents, self._t_distances)
        for parameter, gradient in zip(self.layers.parameters, of_layers, strict=True):
            add_gradient(gradients, parameter, gradient)


class RadialWeights:
    """Radial weights of one contraction.

    Args:
        matrix: the last one, (H, paths C).
        hidden: its rows.

    Attributes:
        rows: values and tangents.
        cotangents: where a contraction puts them, in slots, (E, paths C).
    """

    def __init__(self, matrix: Tensor, hidden: SharedHidden) -> None:
        self.matrix, self.hidden = matrix, hidden
        edges, columns = hidden.edges, matrix.shape[1]
        self._shared = edges.shared
        values, tangents = (edges.empty(len(edges.distances), columns) for _ in range(2))
        self.cotangents = edges.empty(len(self._shared.rows), columns)
        self.rows = RadialRows(values, tangents, self._shared.rows, self._shared.slots)
        torch.mm(hidden.values, matrix, out=values)

    def vjp(self) -> None:
        """Hand the cotangents to the hidden layers."""
        self._by_weights = self._shared.summed(self.cotangents)
        by_hidden = self.hidden.edges.empty(*self.hidden.values.shape)
        self._by_hidden = torch.mm(self._by_weights, self.matrix.t(), out=by_hidden)
        self.hidden.vjp(self._by_hidden)

    def jvp(self) -> None:
        """Make the tangents of the weights from those of the hidden layers."""
        torch.mm(self.hidden.tangents, self.matrix, out=self.rows.tangents)

    def accumulate_gradients(self, t_cotangents: Tensor, gradients: ParameterGradients) -> None:
        """Add the gradient by the matrix to `gradients`, and hand the rest to the hidden layers.

        Args:
            t_cotangents: in slots, (E, paths C).
            gradients: of what came before.
        """
        summed = self._shared.summed(t_cotangents)
        gradient = self.hidden.values.t() @ summed
        add_gradient(gradients, self.matrix, gradient.addmm_(self.hidden.tangents.t(), self._by_weights))
        self.hidden.add(summed @ self.matrix.t(), self._by_hidden)
