"""Radial weights of edges with slopes by the distance: the hidden layers by an interface, their last matrix here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

Found = dict[int, Tensor]
"""Gradients of a scalar by tensors, by the id of each."""

Made = TypeVar("Made")


def add_gradient(found: Found, tensor: Tensor, gradient: Tensor) -> None:
    """Put a gradient by a tensor to those found before."""
    before = found.get(id(tensor))
    found[id(tensor)] = gradient if before is None else before + gradient


@dataclass
class RadialEdges:
    """What hidden layers know of the edges of a batch.

    Attributes:
        distances: (E,), angstrom.
        kinds: of edges, (E,) int64; zeros for radial functions that do not depend on it.
        shared: what layers have made of these edges and share.
    """

    distances: Tensor
    kinds: Tensor
    shared: dict[Hashable, object] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` made for a key the first time."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]  # type: ignore[return-value]


class HiddenPass(ABC):
    """Hidden layers of the edges of one batch.

    Attributes:
        rows: values, room for tangents, and slopes by the distance, (3, E, H).
    """

    rows: Tensor

    @abstractmethod
    def gradients(self, changes: Tensor, pulls: Tensor, t_distances: Tensor) -> Sequence[Tensor]:
        """Gradients by the parameters, in their order, of a scalar of values and tangents.

        Args:
            changes: its gradient by the values, (E, H).
            pulls: its gradient by the tangents, which are slopes times tangents of the distances, (E, H).
            t_distances: these tangents, (E,).
        """


class HiddenLayers(ABC):
    """Hidden layers of a radial network.

    Attributes:
        parameters: that they have.
    """

    parameters: Sequence[Tensor]

    @abstractmethod
    def on(self, edges: RadialEdges, factors: Tensor) -> HiddenPass:
        """Their values and slopes on edges, each edge's times a factor, (E,) or ()."""


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
        self.layers = network.layers
        self.t_distances = edges.distances
        factors = network.factors[edges.kinds] if network.factors.dim() else network.factors
        self._passed = network.layers.on(edges, factors)
        self.values, self._tangents, self.slopes = self._passed.rows.unbind(0)
        self.both = self._passed.rows[:2]
        self._changes: Tensor | None = None
        self._pulls: Tensor | None = None

    def move(self, t_distances: Tensor) -> None:
        """Make the tangents from those of the distances, (E,)."""
        self.t_distances = t_distances
        torch.mul(self.slopes, t_distances.unsqueeze(1), out=self._tangents)
        self._changes = self._pulls = None

    def add(self, changes: Tensor, pulls: Tensor) -> None:
        """Add to the gradients by values and tangents, (E, H) each."""
        self._changes = changes if self._changes is None else self._changes + changes
        self._pulls = pulls if self._pulls is None else self._pulls + pulls

    def gradients(self, found: Found) -> None:
        """Put the gradients by the layers' parameters into `found`."""
        if self._changes is None or self._pulls is None:
            return
        made = self._passed.gradients(self._changes, self._pulls, self.t_distances)
        for parameter, gradient in zip(self.layers.parameters, made, strict=True):
            add_gradient(found, parameter, gradient)


class RadialWeights:
    """Radial weights of one contraction.

    Args:
        matrix: the last one, (H, paths C).
        hidden: its rows.

    Attributes:
        weights: tangents, then values, in whose place changes are written, then pulls, (3, E, paths C).
    """

    def __init__(self, matrix: Tensor, hidden: SharedHidden) -> None:
        self.matrix, self.hidden = matrix, hidden
        self.weights = matrix.new_empty(3, len(hidden.values), matrix.shape[1])
        torch.mm(hidden.values, matrix, out=self.weights[1])
        self._changed = False  # changes stand in the place of the values

    def pull(self) -> Tensor:
        """Pulls of the distances, (E,), from those of the weights."""
        self._pulls = self.weights[2] @ self.matrix.t()
        return (self._pulls * self.hidden.slopes).sum(dim=1)

    def move(self) -> None:
        """Make the tangents of the weights from those of the hidden layers."""
        if self._changed:
            torch.mm(self.hidden.values, self.matrix, out=self.weights[1])
        torch.mm(self.hidden.both[1], self.matrix, out=self.weights[0])
        self._changed = False

    def gradients(self, found: Found) -> None:
        """Put the gradient by the matrix into `found`, and hand the rest to the hidden layers."""
        self._changed = True
        add_gradient(found, self.matrix, self.hidden.both.flatten(0, 1).t() @ self.weights[1:].flatten(0, 1))
        self.hidden.add(self.weights[1] @ self.matrix.t(), self._pulls)
