"""Mixing: the learned matrices W^l of Proposition 1, the only weights that act on covariant channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ase_nbody.algebra import Irrep, Irreps, ProductTable


def random_matrix(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """Initial weights, (rows, columns), normal with variance 1 / rows."""
    return nn.Parameter(torch.randn(rows, columns, generator=generator, dtype=torch.float32) / rows**0.5)


class Mixing(nn.Module):
    """Fragments of equal irrep mixed by one matrix W^l, (F^0 W^0, F^1 W^1, ...) of eq. 9.

    Args:
        irreps: irreps of the fragments, in the order of their blocks.
        multiplicities: fragments per channel of each irrep: the type tau' of the product.
        channels: channels of the fragments.
        irreps_out: irreps to make; those without fragments are zero.
        channels_out: channels to make.
        generator: source of the initial weights, normal with variance 1 / rows.
    """

    def __init__(
        self,
        irreps: Irreps,
        multiplicities: tuple[int, ...],
        channels: int,
        irreps_out: Irreps,
        channels_out: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.irreps_out = irreps_out
        self.channels_out = channels_out
        self.block_of: dict[Irrep, int] = {irrep: number for number, irrep in enumerate(irreps)}
        self.block_sizes = [i.dimension * n for i, n in zip(irreps, multiplicities, strict=True)]
        self.weights = nn.ParameterDict()
        for irrep, multiplicity in zip(irreps, multiplicities, strict=True):
            if irrep in irreps_out:
                self.weights[str(irrep)] = random_matrix(multiplicity * channels, channels_out, generator)

    @classmethod
    def of_product(
        cls, table: ProductTable, channels: int, irreps_out: Irreps, channels_out: int, generator: torch.Generator
    ) -> Mixing:
        """The mixing of all fragments of a product."""
        return cls(table.output_irreps, table.output_multiplicities, channels, irreps_out, channels_out, generator)

    def forward(self, fragments: Tensor) -> Tensor:
        """Mixed states.

        Args:
            fragments: (N, components of all paths, channels), a block (2l+1, paths) per irrep.

        Returns:
            (N, components of irreps_out, channels_out).
        """
        nodes = fragments.shape[0]
        blocks = torch.split(fragments, self.block_sizes, dim=1)
        mixed = []
        for irrep in self.irreps_out:
            if irrep in self.block_of:
                rows = blocks[self.block_of[irrep]].reshape(nodes * irrep.dimension, -1)  # (N (2l+1), paths C)
                mixed.append((rows @ self.weights[str(irrep)]).view(nodes, irrep.dimension, self.channels_out))
            else:
                mixed.append(fragments.new_zeros(nodes, irrep.dimension, self.channels_out))
        return torch.cat(mixed, dim=1)
