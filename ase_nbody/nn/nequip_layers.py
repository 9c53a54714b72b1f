"""The interaction layer of NequIP (Batzner et al. 2022, arXiv:2101.03164): convolution, self-interaction and gate."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.algebra import Irrep, Irreps, natural_irreps, product_table
from ase_nbody.edges import EdgeList
from ase_nbody.kernels import contract
from ase_nbody.nn.element_mixing import ElementGroups, ElementMixing
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.perceptron import Perceptron

SCALARS: Irreps = (Irrep(0, 1),)
# 1 / root mean square for normal arguments as e3nn 0.5 estimates it (e3nn.math.normalize2mom, 10^6 random numbers;
# exact: 1.67653 for SiLU): weights taken over from NequIP were trained with these.
E3NN_SILU_GAIN = 1.6791767923989418
E3NN_TANH_GAIN = 1.5937334472592695
E3NN_SIGMOID_GAIN = 1.8467055342154763


@dataclass(frozen=True)
class InteractionShape:
    """Sizes of one layer.

    Attributes:
        irreps: of the states that come in.
        channels: of these states.
        irreps_out: of the states that go out, invariant ones first.
        channels_out: of these.
        embedding_channels: of the elements' embedding.
        max_degree: of the harmonics.
        radial_widths: of the input and the hidden layers of the radial network.
        self_connection: add the atom's own state, mixed by its element.
    """

    irreps: Irreps
    channels: int
    irreps_out: Irreps
    channels_out: int
    embedding_channels: int
    max_degree: int
    radial_widths: tuple[int, ...]
    self_connection: bool

    @property
    def gated(self) -> Irreps:
        """Irreps that are multiplied by a gate."""
        return tuple(i for i in self.irreps_out if i.degree > 0)


@dataclass(frozen=True)
class NequipEdges:
    """What all layers share about the edges.

    Attributes:
        pairs: who is whose neighbour.
        harmonics: (E, M2).
        basis: radial basis times envelope, (E, B).
    """

    pairs: EdgeList
    harmonics: Tensor
    basis: Tensor


@dataclass(frozen=True)
class NequipAtoms:
    """What all layers share about the atoms.

    Attributes:
        embedding: of each element, (T, C0).
        groups: atoms of each element.
        scales: 1 / root of the mean number of neighbours, by the sender's element, (N,).
    """

    embedding: Tensor
    groups: ElementGroups
    scales: Tensor


class GatedNonlinearity(nn.Module):
    """Even scalars through silu, odd scalars through tanh, other irreps multiplied by silu of a scalar each.

    Args:
        irreps: of the states, invariant ones first.
    """

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.sizes = [i.dimension for i in irreps]
        self.irreps = irreps

    def forward(self, states: Tensor, gates: Tensor) -> Tensor:
        """Gated states.

        Args:
            states: (N, M, C).
            gates: one scalar for each channel of each irrep of degree above zero, (N, irreps, C).

        Returns:
            (N, M, C).
        """
        opened = functional.silu(gates) * E3NN_SILU_GAIN
        blocks, number = [], 0
        for irrep, block in zip(self.irreps, torch.split(states, self.sizes, dim=1), strict=True):
            if irrep.degree > 0:
                blocks.append(block * opened[:, number : number + 1])
                number += 1
            elif irrep.parity > 0:
                blocks.append(functional.silu(block) * E3NN_SILU_GAIN)
            else:
                blocks.append(torch.tanh(block) * E3NN_TANH_GAIN)
        return torch.cat(blocks, dim=1)


class NequipInteraction(nn.Module):
    """One layer: states of the neighbours times harmonics of their vectors, summed, mixed, and gated.

    Args:
        shape: sizes.
        generator: source of the initial weights.
    """

    def __init__(self, shape: InteractionShape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        n_gates = len(shape.gated) * shape.channels_out
        # 1. self-interaction before the convolution
        ones = (1,) * len(shape.irreps)
        self.before = Mixing(shape.irreps, ones, shape.channels, shape.irreps, shape.channels, generator)
        # 2. convolution
        self.table = product_table(shape.irreps, natural_irreps(shape.max_degree), shape.irreps_out)
        widths = (*shape.radial_widths, self.table.n_paths * shape.channels)
        self.radial = Perceptron(widths, "silu", generator)
        # 3. self-interaction after it, to states and gates
        mixing = (self.table, shape.channels)
        self.after = Mixing.of_product(*mixing, shape.irreps_out, shape.channels_out, generator)
        self.after_gates = Mixing.of_product(*mixing, SCALARS, n_gates, generator) if n_gates else None
        # 4. self-connection
        own = (shape.irreps, shape.channels, shape.embedding_channels)
        self.own = self.own_gates = None
        if shape.self_connection:
            self.own = ElementMixing(*own, shape.irreps_out, shape.channels_out, generator)
            self.own_gates = ElementMixing(*own, SCALARS, n_gates, generator) if n_gates else None
        # 5. gate
        self.gate = GatedNonlinearity(shape.irreps_out)

    def forward(self, states: Tensor, edges: NequipEdges, atoms: NequipAtoms) -> Tensor:
        """States of the next layer, (N, components of irreps_out, channels_out), from (N, M, channels)."""
        senders = self.before(states) * atoms.scales[:, None, None]  # 1
        radial = self.radial(edges.basis).view(len(edges.basis), self.table.n_paths, self.shape.channels)
        messages = contract(senders, edges.harmonics, radial, edges.pairs, self.table)  # 2
        mixed = self.after(messages)  # 3
        gates = self._no_gates(mixed) if self.after_gates is None else self.after_gates(messages)
        if self.own is not None:  # 4
            mixed = mixed + self.own(states, atoms.embedding, atoms.groups)
        if self.own_gates is not None:
            gates = gates + self.own_gates(states, atoms.embedding, atoms.groups)
        opened: Tensor = self.gate(mixed, gates.view(len(mixed), len(self.shape.gated), self.shape.channels_out))  # 5
        return opened

    def _no_gates(self, mixed: Tensor) -> Tensor:
        return mixed.new_zeros(len(mixed), 0)
