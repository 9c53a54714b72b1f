"""The blocks of DimeNet++: messages on directed edges, changed by distances and angles (arXiv:2011.14115)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.algebra import Irrep, product_table
from ase_nbody.edges import EdgeList
from ase_nbody.kernels import contract
from ase_nbody.kernels.sums import receiver_sums
from ase_nbody.nn.dense import Dense, glorot_orthogonal

_SCALARS = (Irrep(0, 1),)


@dataclass(frozen=True)
class DirectionalShape:
    """Sizes of the blocks.

    Attributes:
        features: numbers in a message, F.
        triplet_width: numbers in a message while it is weighted by angles.
        basis_width: numbers that a basis goes through before it weights messages.
        output_width: numbers in the readout of an atom.
        radial_functions: functions of the distance, R.
        angular_functions: degrees of the functions of the angle, A.
        layers_before: residual layers before a block's input is added.
        layers_after: residual layers after it.
        output_layers: layers of a readout.
        average_neighbours: sums over neighbours are divided by its root.
    """

    features: int
    triplet_width: int
    basis_width: int
    output_width: int
    radial_functions: int
    angular_functions: int
    layers_before: int
    layers_after: int
    output_layers: int
    average_neighbours: float


@dataclass(frozen=True)
class DirectionalEdges:
    """What all blocks see of the structure.

    Attributes:
        pairs: who is whose neighbour.
        triplets: edges k -> j as the children of the edges j -> i.
        radial: functions of the distances, (E, R).
        angular: functions of the distance k -> j and of the angle, (T, A R).
    """

    pairs: EdgeList
    triplets: EdgeList
    radial: Tensor
    angular: Tensor


class MessageEmbedding(nn.Module):
    """First messages, from the elements of both atoms and their distance.

    Args:
        n_elements: number of elements.
        shape: sizes.
        generator: source of the initial weights.
    """

    def __init__(self, n_elements: int, shape: DirectionalShape, generator: torch.Generator) -> None:
        super().__init__()
        features = shape.features
        elements = torch.rand(n_elements, features, generator=generator, dtype=torch.float32)
        self.elements = nn.Parameter(3**0.5 * (2 * elements - 1))  # variance one
        self.radial = Dense(shape.radial_functions, features, generator)
        self.last = Dense(3 * features, features, generator)

    def forward(self, types: Tensor, edges: DirectionalEdges) -> Tensor:
        """Messages (E, F) from the number of the element of each atom, (N,)."""
        atoms = self.elements[types]
        radial = functional.silu(self.radial(edges.radial))
        ends = [atoms[edges.pairs.receivers], atoms[edges.pairs.senders]]
        return functional.silu(self.last(torch.cat([*ends, radial], dim=1)))


class ResidualLayer(nn.Module):
    """x + act(W2 act(W1 x)).

    Args:
        features: numbers in and out.
        generator: source of the initial weights.
    """

    def __init__(self, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = Dense(features, features, generator, glorot_orthogonal)
        self.second = Dense(features, features, generator, glorot_orthogonal)

    def forward(self, inputs: Tensor) -> Tensor:
        """From (E, F) to (E, F)."""
        return inputs + functional.silu(self.second(functional.silu(self.first(inputs))))


class DirectionalInteraction(nn.Module):
    """One interaction block: the message j -> i from itself and the messages k -> j.

    Args:
        shape: sizes.
        generator: source of the initial weights.
    """

    def __init__(self, shape: DirectionalShape, generator: torch.Generator) -> None:
        super().__init__()

        def dense(rows: int, columns: int, *, bias: bool = False) -> Dense:
            return Dense(rows, columns, generator, glorot_orthogonal, bias=bias)

        features = shape.features
        self.scale = shape.average_neighbours**-0.5
        self.table = product_table(_SCALARS, _SCALARS, _SCALARS)
        # 1. messages k -> j weighted by their distance
        self.incoming = dense(features, features, bias=True)
        self.radial1 = dense(shape.radial_functions, shape.basis_width)
        self.radial2 = dense(shape.basis_width, features)
        self.down = dense(features, shape.triplet_width)
        # 2. weighted by the angle with j -> i, and summed over k
        self.angular1 = dense(shape.angular_functions * shape.radial_functions, shape.basis_width)
        self.angular2 = dense(shape.basis_width, shape.triplet_width)
        self.up = dense(shape.triplet_width, features)
        # 3. the message j -> i itself
        self.own = dense(features, features, bias=True)
        # 4. dense layers
        self.before = nn.ModuleList(ResidualLayer(features, generator) for _ in range(shape.layers_before))
        self.last = dense(features, features, bias=True)
        self.after = nn.ModuleList(ResidualLayer(features, generator) for _ in range(shape.layers_after))

    def forward(self, messages: Tensor, edges: DirectionalEdges) -> Tensor:
        """Messages (E, F) from messages (E, F)."""
        weights = self.radial2(self.radial1(edges.radial))
        incoming = functional.silu(self.incoming(messages)) * weights
        states = functional.silu(self.down(incoming)).unsqueeze(1)  # 1, (E, 1, W)
        angular = self.angular2(self.angular1(edges.angular)).unsqueeze(1)  # (T, 1, W)
        ones = angular.new_ones(len(angular), 1)
        summed = contract(states, ones, angular, edges.triplets, self.table).squeeze(1)  # 2, (E, W)
        out = functional.silu(self.own(messages)) + functional.silu(self.up(summed * self.scale))  # 3
        for layer in self.before:
            out = layer(out)
        out = functional.silu(self.last(out)) + messages  # 4
        for layer in self.after:
            out = layer(out)
        return out


class DirectionalReadout(nn.Module):
    """The energy of each atom from the messages to it.

    A readout with biases has an energy for an atom without neighbours too, which is subtracted.

    Args:
        shape: sizes.
        generator: source of the initial weights.
    """

    def __init__(self, shape: DirectionalShape, generator: torch.Generator) -> None:
        super().__init__()
        self.scale = shape.average_neighbours**-0.5
        width = shape.output_width
        self.radial = Dense(shape.radial_functions, shape.features, generator, glorot_orthogonal, bias=False)
        self.up = Dense(shape.features, width, generator, glorot_orthogonal, bias=False)
        self.layers = nn.ModuleList(
            Dense(width, width, generator, glorot_orthogonal) for _ in range(shape.output_layers)
        )
        self.last = Dense(width, 1, generator, glorot_orthogonal, bias=False)

    def forward(self, messages: Tensor, edges: DirectionalEdges) -> Tensor:
        """Energies (N,) from messages (E, F)."""
        weighted = self.radial(edges.radial) * messages
        summed = receiver_sums(weighted, edges.pairs)  # (N, F)
        return self._after_sum(summed * self.scale) - self._after_sum(summed.new_zeros(1, summed.shape[1]))

    def _after_sum(self, summed: Tensor) -> Tensor:
        hidden = self.up(summed)
        for layer in self.layers:
            hidden = functional.silu(layer(hidden))
        return self.last(hidden).squeeze(1)  # type: ignore[no-any-return]
