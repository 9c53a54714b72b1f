"""What the phases of an N-body network do at one level, up and down, on blocks of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ase_nbody.kernels import Irreps, ProductTable, edge_code, geometry_code, node_code
from ase_nbody.kernels.phases import PhaseWriter, State
from ase_nbody.kernels.splines import Grid
from ase_nbody.kernels.values import ScalarPointer


@dataclass(frozen=True)
class LevelCode:
    """What the code of one level depends on.

    Attributes:
        messages: product table of states and harmonics.
        pairs: of A x A; None for body order 2.
        triples: of (A x A) x A; None below body order 4.
        irreps_out: of the states it makes.
        number: 0 for the first level.
        last: only its energies are wanted.
    """

    messages: ProductTable
    pairs: ProductTable | None
    triples: ProductTable | None
    irreps_out: Irreps
    number: int
    last: bool

    @property
    def factor_irreps(self) -> Irreps:
        """Irreps of A."""
        return self.messages.output_irreps


def components(irreps: Irreps, multiplicities: Sequence[int] | None = None) -> list[int]:
    """Components of each irrep, times the paths that lead to it."""
    counts = [1] * len(irreps) if multiplicities is None else multiplicities
    return [i.dimension * n for i, n in zip(irreps, counts, strict=True)]


def components_of(table: ProductTable) -> list[int]:
    """Components of each irrep of a product, all paths."""
    return components(table.output_irreps, table.output_multiplicities)


class LevelWriter:
    """Writes the parts of one level into a phase.

    Args:
        level: what to write.
        w: phase.
        grid: of the splines.
    """

    def __init__(self, level: LevelCode, w: PhaseWriter, grid: Grid) -> None:
        self.level = level
        self.grid = grid
        self.w = w
        self.settings = w.settings
        self.number = level.number

    def kept(self, name: str, sizes: Sequence[int]) -> State:
        """A state that the way back needs: an array, or of the block alone where the way back is in this phase."""
        return self.w.temporary(name, sizes) if self.level.last else self.w.state(f"{name}{self.number}_")

    def geometry(self, steps: Sequence[NDArray[np.float64]], n_types: int) -> None:
        """Functions of the edges of the block's receivers."""
        w = self.w
        function = w.module.function(
            "geometry", 0, lambda n: geometry_code.geometry(n, self.settings, self.grid, steps, n_types)
        )
        w.call(function, w.first, w.last, **w.wholes(*function.signature.arguments))

    def up(self) -> None:
        """Messages, products, and states or energies."""
        level, w = self.level, self.w
        factor = self.factor = self.kept("factor", components(level.factor_irreps))
        self.messages(factor)
        self.sources: list[tuple[str, State, Irreps]] = [("linear", factor, level.factor_irreps)]
        if level.pairs is not None:
            pairs = w.temporary("pairs", components_of(level.pairs))
            self.product(level.pairs, factor, factor, pairs)
            self.sources.append(("mix_pairs", pairs, level.pairs.output_irreps))
        if level.pairs is not None and level.triples is not None:
            self.pair_factor = self.kept("pair_factor", components(level.triples.first_irreps))
            self.mix("pair_factor", pairs, level.pairs.output_irreps, self.pair_factor, level.triples.first_irreps)
            triples = w.temporary("triples", components_of(level.triples))
            self.product(level.triples, self.pair_factor, factor, triples)
            self.sources.append(("mix_triples", triples, level.triples.output_irreps))
        if level.last:
            for name, source, irreps in self.sources:
                self.readout(name, source, irreps)
        else:
            self.make_states()

    def messages(self, factor: State) -> None:
        """Zeroth-order sums over the children, mixed."""
        w, table, number = self.w, self.level.messages, self.number
        edges = w.wholes("offsets", "ends", "rows", "functions", weights=f"table{number}")
        if number == 0:
            function = w.module.function(
                "scalar_messages", table, lambda n: edge_code.scalar_messages(n, table, self.settings, self.grid.degree)
            )
            w.call(function, w.first, w.last, **edges, out=w.from_node_zero(factor))
            return
        fragments = w.temporary("fragments", components_of(table))
        below = w.whole_state(f"states{number - 1}_")
        function = w.module.function(
            "messages", table, lambda n: edge_code.messages(n, table, self.settings, self.grid.degree)
        )
        children, out = w.whole("children"), w.from_node_zero(fragments)
        w.call(function, w.first, w.last, **edges, children=children, states=below, out=out)
        self.mix("factor", fragments, table.output_irreps, factor, self.level.factor_irreps)

    def make_states(self) -> None:
        """States from all sources, the energies in them, and the node's own part."""
        level, w = self.level, self.w
        states = w.state(f"states{self.number}_")
        self.clear(states)
        for name, source, irreps in self.sources:
            self.mix(name, source, irreps, states, level.irreps_out, accumulate=True)
        self.dot("readout", states.pointers[0], states.lengths[0])
        if self.number == 0:
            self.add_rows_of_types("own", states.pointers[0], states.lengths[0])
            return
        irreps = level.messages.first_irreps
        below = w.state(f"states{self.number - 1}_")
        scaled = w.temporary("scaled", components(irreps))
        self.scale(below, scaled)
        self.mix("own", scaled, irreps, states, level.irreps_out, accumulate=True)

    def readout(self, name: str, source: State, irreps: Irreps) -> None:
        """Energies of the invariant part of a source."""
        for pointer, length, irrep in zip(source.pointers, source.lengths, irreps, strict=True):
            if irrep in self.level.irreps_out:
                self.dot(name, pointer, length)

    def down(self) -> State:
        """Gradients by the mixed messages A, from d_states of the level, or from the energies for the last."""
        level, w = self.level, self.w
        d_factor = w.temporary("d_factor", components(level.factor_irreps))
        self.clear(d_factor)
        if not level.last:
            self.d_states = w.state(f"d_states{self.number}_")
            if self.number > 0:
                self.own_back()
            self.add_rows_of_types("readout", self.d_states.pointers[0], self.d_states.lengths[0])
            self.factor = self.kept("factor", components(level.factor_irreps))
        self.back("linear", d_factor, level.factor_irreps)
        table = level.pairs
        if table is None:
            return d_factor
        d_pairs = w.temporary("d_pairs", components_of(table))
        self.clear(d_pairs)
        self.back("mix_pairs", d_pairs, table.output_irreps)
        if level.triples is not None:
            self.triples_back(d_factor, d_pairs)
        function = w.module.function(
            "square_gradients", table, lambda n: node_code.square_gradients(n, table, self.settings)
        )
        states = {"factor": self.factor.pointers, "upstream": d_pairs.pointers, "d_factor": d_factor.pointers}
        w.call(function, 0, w.count, **states)
        return d_factor

    def triples_back(self, d_factor: State, d_pairs: State) -> None:
        """Add the gradients through (A x A) x A."""
        level, w, table = self.level, self.w, self.level.triples
        assert table is not None and level.pairs is not None
        if not level.last:
            self.pair_factor = self.kept("pair_factor", components(table.first_irreps))
        d_triples = w.temporary("d_triples", components_of(table))
        self.clear(d_triples)
        self.back("mix_triples", d_triples, table.output_irreps)
        d_pair_factor = w.temporary("d_pair_factor", components(table.first_irreps))
        function = w.module.function(
            "product_gradients", table, lambda n: node_code.product_gradients(n, table, self.settings)
        )
        factors = {"first": self.pair_factor.pointers, "second": self.factor.pointers}
        d_factors = {"d_first": d_pair_factor.pointers, "d_second": d_factor.pointers}
        w.call(function, 0, w.count, **factors, **d_factors, upstream=d_triples.pointers)
        self.mix_back("pair_factor", d_pair_factor, table.first_irreps, d_pairs, level.pairs.output_irreps)

    def own_back(self) -> None:
        """Gradients by the states below through the node's own part, to which those of the messages are added."""
        w, irreps = self.w, self.level.messages.first_irreps
        d_scaled = w.temporary("d_scaled", components(irreps))
        self.clear(d_scaled)
        self.mix_back("own", self.d_states, self.level.irreps_out, d_scaled, irreps)
        self.scale(d_scaled, w.state(f"d_states{self.number - 1}_"))

    def messages_back(self, d_factor: State) -> None:
        """Gradients by the sums over children, for the phase over senders."""
        table = self.level.messages
        upstream = self.w.state(f"upstream{self.number}_")
        self.clear(upstream)
        self.mix_back("factor", d_factor, self.level.factor_irreps, upstream, table.output_irreps)

    def edges_back(self, d_factor: State, steps: Sequence[NDArray[np.float64]], *, first: bool) -> None:
        """Of the first level: gradients by the functions of the edges, then by their vectors."""
        w, table = self.w, self.level.messages
        function = w.module.function(
            "scalar_gradients",
            table,
            lambda n: edge_code.scalar_gradients(n, table, self.settings, self.grid.degree, first=first),
        )
        upstream = w.from_node_zero(d_factor)
        edges = w.wholes("offsets", "ends", "rows", "functions", weights="table0")
        w.call(function, w.first, w.last, **edges, **w.wholes("d_functions"), upstream=upstream)
        function = w.module.function(
            "vector_gradients", 0, lambda n: geometry_code.vector_gradients(n, self.settings, self.grid.degree, steps)
        )
        w.call(function, w.first, w.last, **w.wholes(*function.signature.arguments))

    def senders(self, *, first: bool) -> None:
        """Gradients by the states below and by the functions of the edges; w runs over senders."""
        w, table, number = self.w, self.level.messages, self.number
        add = not self.level.last
        function = w.module.function(
            "gradients",
            (table, first, add),
            lambda n: edge_code.gradients(n, table, self.settings, self.grid.degree, first=first, add_to_states=add),
        )
        states = {"states": w.whole_state(f"states{number - 1}_"), "upstream": w.whole_state(f"upstream{number}_")}
        d_states = w.whole_state(f"d_states{number - 1}_")
        lists = w.wholes(offsets="sender_offsets") | w.wholes("order", "receivers", "slots", "rows")
        edges = w.wholes("functions", weights=f"table{number}") | w.wholes("d_functions")
        w.call(function, w.first, w.last, **lists, **edges, **states, d_states=d_states)

    def product(self, table: ProductTable, first: State, second: State, out: State) -> None:
        """Products of two states."""
        w = self.w
        function = w.module.function("products", table, lambda n: node_code.products(n, table, self.settings))
        w.call(function, 0, w.count, first=first.pointers, second=second.pointers, product=out.pointers)

    def mix(
        self, name: str, source: State, irreps: Irreps, out: State, irreps_out: Irreps, *, accumulate: bool = False
    ) -> None:
        """Mixing, irrep by irrep."""
        for i, irrep in enumerate(irreps):
            if irrep in irreps_out:
                o = irreps_out.index(irrep)
                sizes = (irrep.dimension, source.lengths[i] // irrep.dimension, out.lengths[o] // irrep.dimension)
                weights = self.w.weights(f"{name}{self.number}_{irrep}", *sizes[1:])
                self.w.multiply_matrix(source.pointers[i], weights, out.pointers[o], sizes, accumulate=accumulate)

    def mix_back(self, name: str, upstream: State, irreps: Irreps, out: State, irreps_out: Irreps) -> None:
        """Add gradients by what was mixed."""
        self.mix(f"back_{name}", upstream, irreps, out, irreps_out, accumulate=True)

    def back(self, name: str, out: State, irreps: Irreps) -> None:
        """Add gradients by one source of the states, from those by the states or by the energies."""
        if not self.level.last:
            self.mix_back(name, self.d_states, self.level.irreps_out, out, irreps)
            return
        for pointer, length, irrep in zip(out.pointers, out.lengths, irreps, strict=True):
            if irrep in self.level.irreps_out:
                self.add_rows_of_types(name, pointer, length)

    def clear(self, state: State) -> None:
        """Zeros."""
        for pointer, length in zip(state.pointers, state.lengths, strict=True):
            write = partial(node_code.zeros, settings=self.settings, length=length)
            self.w.call(self.w.module.function("zeros", length, write), 0, self.w.count, out=pointer)

    def dot(self, name: str, rows: ScalarPointer, length: int) -> None:
        """Add to the energies the rows times the vectors of their types."""
        w = self.w
        function = w.module.function("dots", length, lambda n: node_code.dots(n, self.settings, length))
        vectors = w.whole(f"{name}{self.number}_vectors")
        types, energies = w.block_of("types"), w.block_of("energies")
        w.call(function, 0, w.count, types=types, rows=rows, vectors=vectors, out=energies)

    def add_rows_of_types(self, name: str, out: ScalarPointer, length: int) -> None:
        """Add the vector of each node's type."""
        w = self.w
        function = w.module.function(
            "rows_of_types", length, lambda n: node_code.rows_of_types(n, self.settings, length)
        )
        types, vectors = w.block_of("types"), w.whole(f"{name}{self.number}_vectors")
        w.call(function, 0, w.count, types=types, vectors=vectors, out=out)

    def scale(self, state: State, out: State) -> None:
        """The state times the scale of each node's type."""
        w = self.w
        types, vectors = w.block_of("types"), w.whole(f"own_scale{self.number}_vectors")
        for rows, target, length in zip(state.pointers, out.pointers, state.lengths, strict=True):
            count = length // self.settings.channels
            write = partial(node_code.scaled_by_type, settings=self.settings, components=count)
            function = w.module.function("scaled", count, write)
            w.call(function, 0, w.count, types=types, vectors=vectors, rows=rows, out=target)
