"""Contraction and node product of states with tangents, and the gradients of scalars of both, on the CPU.

For losses on forces: with tangents along which forces are weighted, one reverse pass through values and tangents gives
what differentiating twice would. A dual state is one array per irrep, (2, N (2l+1), paths C), of values and tangents.
A gradient has the same shape. That by the tangents are the cotangents, which need no tangents; that by the values,
which comes first, are the tangents of the cotangents. So a loss that depends on cotangents, such as one on forces, is
evaluated in between: values, cotangents, then tangents, and tangents of the cotangents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.algebra.tables import ProductTable, entries
from ase_nbody.compiler import cpu
from ase_nbody.edges import EdgeList
from ase_nbody.kernels import dual_code, product_code

Components = Sequence[tuple[int, int]]  # of each irrep: dimension 2l+1, and paths
VALUES, TANGENTS = 0, 1
COTANGENT_TANGENTS, COTANGENTS = 0, 1


class DualArray:
    """Values and tangents of one irrep, or tangents of cotangents and cotangents, as one array and apart.

    Args:
        both: (2, rows, columns).
    """

    __slots__ = "both", "parts"

    def __init__(self, both: Tensor) -> None:
        self.both = both
        self.parts = both.unbind(0)


class Dual:
    """Values and tangents, or tangents of cotangents and cotangents.

    Args:
        arrays: of each irrep.
    """

    def __init__(self, arrays: Sequence[DualArray]) -> None:
        self.arrays = arrays
        self.parts = [array.parts[0] for array in arrays], [array.parts[1] for array in arrays]

    @classmethod
    def of(cls, tensors: Iterable[Tensor]) -> Dual:
        """Of (2, rows, columns) for each irrep."""
        return cls([DualArray(tensor) for tensor in tensors])

    @property
    def both(self) -> list[Tensor]:
        """(2, rows, columns) for each irrep."""
        return [array.both for array in self.arrays]

    def like(self) -> Dual:
        """Another one of the same shape, not filled in."""
        return Dual.of(torch.empty_like(array.both) for array in self.arrays)


@dataclass(frozen=True)
class Batch:
    """What all states of a batch share.

    Attributes:
        nodes: their number.
        edges: who is whose child.
        like: an empty tensor of the states' dtype and channels, (0, 0, C).
    """

    nodes: int
    edges: EdgeList
    like: Tensor

    @property
    def channels(self) -> int:
        """C."""
        return self.like.shape[2]

    def dual(self, components: Components) -> Dual:
        """A state of so many components, not filled in."""
        return Dual.of(self.like.new_empty(2, self.nodes * d, paths * self.channels) for d, paths in components)

    def output(self, table: ProductTable) -> Dual:
        """An output of a product, not filled in."""
        irreps = zip(table.output_irreps, table.output_multiplicities, strict=True)
        return self.dual([(irrep.dimension, paths) for irrep, paths in irreps])


@dataclass(frozen=True)
class RadialRows:
    """Radial weights, of which edges of one distance and kind share a row.

    Attributes:
        values: (R, paths C).
        tangents: (R, paths C).
        rows: of each edge, (E,) int64.
        slots: where its gradients by them are written, (E,) int64, all different and below E.
    """

    values: Tensor
    tangents: Tensor
    rows: Tensor
    slots: Tensor


class Contraction:
    """Messages of one level, summed over the children of each parent; see `operations.contract`.

    Args:
        batch: nodes and edges.
        table: product of states and harmonics.
        states: of the children.
        harmonics: (2, E, M).
        radial: radial weights of the edges.
    """

    def __init__(self, batch: Batch, table: ProductTable, states: Dual, harmonics: Dual, radial: RadialRows) -> None:
        self.batch, self.table = batch, table
        self.states, self.harmonics = states, harmonics
        self.radial = radial
        self.summed = batch.output(table)
        self.d_states = states.like()

    def forward(self, part: int) -> None:
        """Make values or tangents of `summed`."""
        if part == VALUES:
            self._receive(dual_code.shared_messages, {**self._values(), "summed": self.summed.parts[VALUES]}, 1.0)
        else:
            arguments = {**self._values(), **self._tangents(), "summed": self.summed.parts[TANGENTS]}
            self._receive(dual_code.shared_tangent_messages, arguments, 3.0)

    def vjp(self, upstream: Dual, d_radial: Tensor) -> Tensor:
        """Make the cotangents of `d_states` and radial weights from those of `summed`; those of the harmonics, (E, M).

        Args:
            upstream: gradients by `summed`.
            d_radial: where those by radial weights are written, (E, paths C).
        """
        d_harmonics = torch.empty_like(self.harmonics.parts[VALUES][0])
        arguments = {**self._values(), "upstream": upstream.parts[COTANGENTS]}
        results = {"d_states": self.d_states.parts[COTANGENTS], "d_radial": [d_radial]}
        self._send(dual_code.shared_gradients, {**arguments, **results, "d_harmonics": d_harmonics}, 2.0)
        return d_harmonics

    def vjp_tangents(self, upstream: Dual, d_radial: Tensor) -> None:
        """Make the tangents of these cotangents, but for the harmonics, likewise."""
        values = {**self._values(), "upstream": upstream.parts[COTANGENTS]}
        tangents = {**self._tangents(), "t_upstream": upstream.parts[COTANGENT_TANGENTS]}
        results = {"d_states": self.d_states.parts[COTANGENT_TANGENTS], "d_radial": [d_radial]}
        self._send(dual_code.gradient_tangents, {**values, **tangents, **results}, 4.0)

    def _values(self) -> dict[str, Tensor | list[Tensor]]:
        states, harmonics = self.states.parts[VALUES], self.harmonics.parts[VALUES]
        return {"states": states, "harmonics": harmonics, "radial": [self.radial.values]}

    def _tangents(self) -> dict[str, list[Tensor]]:
        states, harmonics = self.states.parts[TANGENTS], self.harmonics.parts[TANGENTS]
        return {"t_states": states, "t_harmonics": harmonics, "t_radial": [self.radial.tangents]}

    def _receive(self, code: cpu.Code, arguments: cpu.Arguments, cost: float) -> None:
        nodes, lists = cpu.receivers(self.batch.edges)
        self._run(code, nodes, {**arguments, **lists, "rows": self.radial.rows}, cost)

    def _send(self, code: cpu.Code, arguments: cpu.Arguments, cost: float) -> None:
        nodes, lists = cpu.senders(self.batch.edges)
        places: dict[str, Tensor | list[Tensor]] = {"rows": self.radial.rows, "slots": self.radial.slots}
        self._run(code, nodes, {**arguments, **lists, **places}, cost)

    def _run(self, code: cpu.Code, nodes: cpu.Nodes, arguments: cpu.Arguments, cost: float) -> None:
        work = cost * self.batch.edges.n_edges * len(entries(self.table)) * self.batch.channels
        cpu.run(code, self.table, nodes, work, self.batch.like, arguments, blocked=True)


class NodeProduct:
    """Product of two states of each node; see `operations.node_product`.

    Args:
        batch: the nodes.
        table: the product.
        first: a state.
        second: a state, perhaps the same.
    """

    def __init__(self, batch: Batch, table: ProductTable, first: Dual, second: Dual) -> None:
        self.batch, self.table = batch, table
        self.first, self.second = first, second
        self.product = batch.output(table)

    def forward(self, part: int) -> None:
        """Make values or tangents of `product`."""
        if part == VALUES:
            self._run(product_code.products, {**self._values(), "product": self.product.parts[VALUES]}, 1.0)
        else:
            arguments = {**self._values(), **self._tangents(), "product": self.product.parts[TANGENTS]}
            self._run(product_code.product_tangents, arguments, 2.0)

    def add_gradients(self, part: int, upstream: Dual, d_first: list[Tensor], d_second: list[Tensor]) -> None:
        """Add to cotangents, or their tangents, of the factors, perhaps the same, from those of `product`."""
        results = {"d_first": d_first, "d_second": d_second}
        arguments = {**self._values(), "upstream": upstream.parts[COTANGENTS], **results}
        if part == COTANGENTS:
            self._run(dual_code.added_product_gradients, arguments, 2.0)
        else:
            tangents = {**self._tangents(), "t_upstream": upstream.parts[COTANGENT_TANGENTS]}
            self._run(dual_code.added_product_gradient_tangents, {**arguments, **tangents}, 4.0)

    def _values(self) -> dict[str, list[Tensor]]:
        return {"first": self.first.parts[VALUES], "second": self.second.parts[VALUES]}

    def _tangents(self) -> dict[str, list[Tensor]]:
        return {"t_first": self.first.parts[TANGENTS], "t_second": self.second.parts[TANGENTS]}

    def _run(self, code: cpu.Code, arguments: cpu.Arguments, cost: float) -> None:
        work = cost * self.batch.nodes * len(entries(self.table)) * self.batch.channels
        cpu.run(code, self.table, cpu.Nodes(0, self.batch.nodes), work, self.batch.like, arguments, blocked=True)
