"""Mixing with matrices of each atom's element, made from its embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ase_nbody.algebra import Irreps


@dataclass(frozen=True)
class ElementGroups:
    """Atoms sorted by element.

    Attributes:
        order: atoms in the order of their elements, (N,) int64.
        inverse: where each atom stands in this order, (N,) int64.
        counts: atoms of each element.
    """

    order: Tensor
    inverse: Tensor
    counts: list[int]


def element_groups(types: Tensor, n_types: int) -> ElementGroups:
    """Atoms grouped by their types, (N,) int64 below n_types."""
    order = torch.argsort(types, stable=True)
    return ElementGroups(order, torch.argsort(order), torch.bincount(types, minlength=n_types).tolist())


class ElementMixing(nn.Module):
    """The fully connected product of states with invariant embeddings: per irrep, sum_uv W_uvw psi_u embedding_v.

    The embedding is the element's, so that it is one matrix per element and irrep.

    Args:
        irreps: irreps of the states.
        channels: channels of the states.
        embedding_channels: channels of the embedding.
        irreps_out: irreps to make; those that the states have not are zero.
        channels_out: channels to make.
        generator: source of the initial weights, normal with variance 1 / (channels embedding_channels).
    """

    def __init__(
        self,
        irreps: Irreps,
        channels: int,
        embedding_channels: int,
        irreps_out: Irreps,
        channels_out: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.irreps, self.irreps_out, self.channels_out = irreps, irreps_out, channels_out
        self.weights = nn.ParameterDict()
        for irrep in irreps_out:
            if irrep in irreps:
                weight = torch.randn(
                    channels, embedding_channels, channels_out, generator=generator, dtype=torch.float32
                )
                self.weights[str(irrep)] = nn.Parameter(weight / (channels * embedding_channels) ** 0.5)

    def forward(self, states: Tensor, embedding: Tensor, groups: ElementGroups) -> Tensor:
        """Mixed states.

        Args:
            states: (N, components of irreps, channels).
            embedding: of each element, (T, embedding_channels).
            groups: which atom has which element.

        Returns:
            (N, components of irreps_out, channels_out).
        """
        blocks = torch.split(states[groups.order], [i.dimension for i in self.irreps], dim=1)
        block_of = dict(zip(self.irreps, blocks, strict=True))
        mixed = []
        for irrep in self.irreps_out:
            if irrep in block_of:
                matrices = torch.einsum("tv,uvw->tuw", embedding, self.weights[str(irrep)])  # (T, C, C')
                parts = zip(torch.split(block_of[irrep], groups.counts), matrices, strict=True)
                mixed.append(torch.cat([part @ matrix for part, matrix in parts if len(part)]))
            else:
                mixed.append(states.new_zeros(len(states), irrep.dimension, self.channels_out))
        return torch.cat(mixed, dim=1)[groups.inverse]
