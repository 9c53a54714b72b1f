"""Operands: arguments of the kernels of a product table, with the sizes of their blocks."""

from __future__ import annotations

from dataclasses import dataclass

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.signature import READ, WRITE, Access, Argument, Counted, blocks, indices, numbers


@dataclass(frozen=True)
class Sizes:
    """Components of each block of the factors and of the output, and of the radial weights."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    output: tuple[int, ...]
    radial: tuple[int, ...]


def block_sizes(table: ProductTable, blocked: bool) -> Sizes:
    """One block per irrep, or one block for all."""
    if not blocked:
        return Sizes((table.n_first,), (table.n_second,), (table.n_output,), (table.n_paths,))
    outputs = zip(table.output_irreps, table.output_multiplicities, strict=True)
    return Sizes(
        tuple(irrep.dimension for irrep in table.first_irreps),
        tuple(irrep.dimension for irrep in table.second_irreps),
        tuple(irrep.dimension * paths for irrep, paths in outputs),
        (table.n_paths,),
    )


class Operands:
    """Arguments of the kernels of one product table.

    Args:
        table: product of the states of nodes, or of states and harmonics.
        settings: of the kernel.
        shared: several edges have one row of radial weights. Then kernels take the row of each edge, and the place of
            its gradients by radial weights.
    """

    def __init__(self, table: ProductTable, settings: KernelSettings, *, shared: bool = False) -> None:
        self.table, self.channels, self.shared = table, settings.channels, shared
        self.sizes = block_sizes(table, settings.blocked)

    def first(self, names: str, rows: Counted, access: Access = READ) -> list[Argument]:
        """States that are the first factor, or have its shape."""
        return blocks(names, rows, [n * self.channels for n in self.sizes.first], access)

    def second(self, names: str, rows: Counted, access: Access = READ) -> list[Argument]:
        """States that are the second factor."""
        return blocks(names, rows, [n * self.channels for n in self.sizes.second], access)

    def output(self, names: str, rows: Counted, access: Access = READ) -> list[Argument]:
        """What the product makes."""
        return blocks(names, rows, [n * self.channels for n in self.sizes.output], access)

    def radial(self, names: str, access: Access = READ) -> list[Argument]:
        """Radial weights of edges, or gradients by them."""
        rows: Counted = "radial rows" if self.shared and access is READ else "edges"
        return blocks(names, rows, [n * self.channels for n in self.sizes.radial], access)

    def harmonics(self, names: str, access: Access = READ) -> list[Argument]:
        """Harmonics of edges."""
        return numbers(names, "edges", self.table.n_second, access)

    def receiving(self) -> list[Argument]:
        """Of kernels over the edges of receivers."""
        return [*RECEIVING, *(indices("rows", "edges") if self.shared else [])]

    def sending(self) -> list[Argument]:
        """Of kernels over the edges of senders."""
        return [*SENDING, *(indices("rows slots", "edges") if self.shared else [])]

    def edges(self, tangents: str = "") -> list[Argument]:
        """States of the children, harmonics and radial weights, or their tangents, whose names begin with t_."""
        states, radial = self.first(f"{tangents}states", "senders"), self.radial(f"{tangents}radial")
        return [*states, *self.harmonics(f"{tangents}harmonics"), *radial]

    def edge_gradients(self) -> list[Argument]:
        """Gradients by these three."""
        states, radial = self.first("d_states", "senders", WRITE), self.radial("d_radial", WRITE)
        return [*states, *self.harmonics("d_harmonics", WRITE), *radial]


RECEIVING = [*indices("offsets", "receiver bounds"), *indices("senders", "edges")]
"""Of kernels over the edges of receivers."""

SENDING = [*indices("offsets", "sender bounds"), *indices("order receivers", "edges")]
"""Of kernels over the edges of senders."""
