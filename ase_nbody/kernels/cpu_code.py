"""The cpu back end's kernels over edges as LLVM code, written out for one product table, dtype and number of channels.

Each kernel runs over receivers or senders from `begin` to `end` and writes only what belongs to them, so sums have one
fixed order and no atomics. The table's entries are unrolled and channels run in vectors of 64 bytes. The coefficients
of an edge are first summed over its harmonics, coupling[a, o] = sum_b c[a, b, o] Y[b], outside the loop over channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ase_nbody.algebra.tables import ProductTable, entries
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder, Rows
from ase_nbody.compiler.signature import WRITE, Signature
from ase_nbody.compiler.values import Index, Scalar, ScalarPointer, Vector
from ase_nbody.kernels.operands import SENDING, Operands

Sums = dict[int, Vector | None]  # of some components; None where nothing is added yet


class EdgeTable:
    """A product table grouped as the edge kernels need it.

    Attributes:
        terms: of each coupling, the (harmonic, coefficient) pairs.
        outputs: of each path, its output components.
        groups: of each path, for each component a of the first factor, its (coupling, output) pairs.
    """

    def __init__(self, table: ProductTable) -> None:
        self.table = table
        self.terms: dict[int, list[tuple[int, float]]] = defaultdict(list)
        self.outputs = [path.outputs for path in table.paths]
        self.groups: list[dict[int, list[tuple[int, int]]]] = [defaultdict(list) for _ in table.paths]
        numbers: dict[tuple[int, int, int], int] = {}
        for entry in entries(table):
            key = (entry.path, entry.a, entry.o)
            if key not in numbers:
                numbers[key] = len(numbers)
                self.groups[entry.path][entry.a].append((numbers[key], entry.o))
            self.terms[numbers[key]].append((entry.b, entry.value))

    def by_harmonic(self, pairs: list[tuple[int, int]]) -> dict[int, list[tuple[float, int]]]:
        """For each harmonic b the (coefficient, output) pairs among some couplings."""
        harmonics: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for coupling, output in pairs:
            for b, value in self.terms[coupling]:
                harmonics[b].append((value, output))
        return harmonics


def write_couplings(w: Builder, edges: EdgeTable, harmonics: ScalarPointer, slots: ScalarPointer) -> None:
    """Write the couplings of one edge to the stack."""
    values = [w.load_scalar(w.offset(harmonics, b)) for b in range(edges.table.n_second)]
    for coupling, terms in edges.terms.items():
        total: Scalar | None = None
        for b, value in terms:
            total = w.fused(values[b], w.scalar(value), total)
        assert total is not None
        w.store_scalar(total, w.offset(slots, coupling))


def radial_row(w: Builder, e: Index) -> Index:
    """Row of an edge's radial weights."""
    return w.integer("rows", e) if "rows" in w.signature.arguments else e


def radial_slot(w: Builder, e: Index) -> Index:
    """Row of an edge's gradients by its radial weights."""
    return w.integer("slots", e) if "slots" in w.signature.arguments else e


def load_coupling(w: Builder, slots: ScalarPointer, coupling: int) -> Vector:
    """One coupling of the edge at hand, for all channels."""
    return w.broadcast(w.load_scalar(w.offset(slots, coupling)))


def load_components(w: Builder, row: Rows, k: Index) -> list[Vector]:
    """All components of a node, for the channels from k on."""
    return [w.load(w.at(row, component, k)) for component in range(sum(row.sizes))]


def load_some(w: Builder, row: Rows, components: Iterable[int], k: Index) -> dict[int, Vector]:
    """Some components of a node by their numbers, likewise."""
    return {component: w.load(w.at(row, component, k)) for component in components}


def weighted_sum(w: Builder, terms: Iterable[tuple[Vector, float]]) -> Vector:
    """Sum of vectors times constant numbers."""
    total: Vector | None = None
    for value, weight in terms:
        total = w.fused(value, w.vector(weight), total)
    assert total is not None
    return total


def clear_rows(w: Builder, rows: Rows) -> None:
    """Write zeros to all components of a node."""
    with w.channels() as k:
        for component in range(sum(rows.sizes)):
            w.store(w.zero(), w.at(rows, component, k))


def messages(table: ProductTable, settings: KernelSettings, *, shared: bool = False) -> Builder:
    """dS/dG: messages summed over the children of each receiver."""
    edges = EdgeTable(table)
    has = Operands(table, settings, shared=shared)
    signature = Signature(has.receiving(), has.edges(), has.output("summed", "receivers", WRITE))
    w = Builder("messages", settings, signature)
    slots = w.scratch(len(edges.terms), Scalar)
    with w.loop(w.begin, w.end) as n:
        out = w.rows("summed", n)
        clear_rows(w, out)
        with w.edges("offsets", n) as e:
            state = w.rows("states", w.integer("senders", e))
            radial = w.rows("radial", radial_row(w, e))
            write_couplings(w, edges, w.row("harmonics", e), slots)
            with w.channels() as k:
                for path, groups in enumerate(edges.groups):
                    weight = w.load(w.at(radial, path, k))
                    sums: Sums = dict.fromkeys(edges.outputs[path])
                    for a, pairs in groups.items():
                        weighted = w.multiply(w.load(w.at(state, a, k)), weight)
                        for coupling, output in pairs:
                            sums[output] = w.fused(load_coupling(w, slots, coupling), weighted, sums[output])
                    add_to_rows(w, out, sums, k)
    return w


def tangent_messages(table: ProductTable, settings: KernelSettings, *, shared: bool = False) -> Builder:
    """Tangents of `messages` for tangents of states, harmonics and radial weights."""
    edges = EdgeTable(table)
    has = Operands(table, settings, shared=shared)
    signature = Signature(has.receiving(), has.edges(), has.edges("t_"), has.output("summed", "receivers", WRITE))
    w = Builder("tangent_messages", settings, signature)
    slots, t_slots = (w.scratch(len(edges.terms), Scalar) for _ in range(2))
    with w.loop(w.begin, w.end) as n:
        out = w.rows("summed", n)
        clear_rows(w, out)
        with w.edges("offsets", n) as e:
            sender = w.integer("senders", e)
            state, t_state = (w.rows(s, sender) for s in ("states", "t_states"))
            row = radial_row(w, e)
            radial, t_radial = (w.rows(r, row) for r in ("radial", "t_radial"))
            write_couplings(w, edges, w.row("harmonics", e), slots)
            write_couplings(w, edges, w.row("t_harmonics", e), t_slots)
            with w.channels() as k:
                for path, groups in enumerate(edges.groups):
                    weight, t_weight = (w.load(w.at(r, path, k)) for r in (radial, t_radial))
                    sums: Sums = dict.fromkeys(edges.outputs[path])
                    for a, pairs in groups.items():
                        value, t_value = (w.load(w.at(s, a, k)) for s in (state, t_state))
                        weighted = w.multiply(value, weight)
                        t_weighted = w.fused(t_value, weight, w.multiply(value, t_weight))
                        for coupling, output in pairs:
                            total = w.fused(load_coupling(w, slots, coupling), t_weighted, sums[output])
                            sums[output] = w.fused(load_coupling(w, t_slots, coupling), weighted, total)
                    add_to_rows(w, out, sums, k)
    return w


def add_to_rows(w: Builder, row: Rows, sums: Sums, k: Index) -> None:
    """Add a vector of channels to each component of a node that has one."""
    for component, total in sums.items():
        if total is not None:
            pointer = w.at(row, component, k)
            w.store(w.add(w.load(pointer), total), pointer)


def gradients(table: ProductTable, settings: KernelSettings, *, shared: bool = False) -> Builder:
    """dS/dpsi, dS/dY and dS/dR for the edges of each sender."""
    edges = EdgeTable(table)
    has = Operands(table, settings, shared=shared)
    signature = Signature(has.sending(), has.edges(), has.output("upstream", "receivers"), has.edge_gradients())
    w = Builder("gradients", settings, signature)
    slots = w.scratch(len(edges.terms), Scalar)
    totals = w.scratch(table.n_second, Vector)
    with w.loop(w.begin, w.end) as s:
        state, d_state = (w.rows(r, s) for r in ("states", "d_states"))
        clear_rows(w, d_state)
        with w.edges("offsets", s) as i:
            e = w.integer("order", i)
            upstream = w.rows("upstream", w.integer("receivers", e))
            radial, d_radial = w.rows("radial", radial_row(w, e)), w.rows("d_radial", radial_slot(w, e))
            write_couplings(w, edges, w.row("harmonics", e), slots)
            _clear_totals(w, totals, table.n_second)
            with w.channels() as k:
                values = load_components(w, state, k)
                d_values: Sums = dict.fromkeys(range(table.n_first))
                d_harmonics: Sums = dict.fromkeys(range(table.n_second))
                for path, groups in enumerate(edges.groups):
                    weight = w.load(w.at(radial, path, k))
                    cotangents = load_some(w, upstream, edges.outputs[path], k)
                    d_weight: Vector | None = None
                    for a, pairs in groups.items():
                        pulled = pull_back(w, slots, pairs, cotangents)
                        d_values[a] = w.fused(pulled, weight, d_values[a])
                        d_weight = w.fused(pulled, values[a], d_weight)
                        pull_harmonics(w, edges, pairs, cotangents, w.multiply(values[a], weight), d_harmonics)
                    assert d_weight is not None
                    w.store(d_weight, w.at(d_radial, path, k))
                add_to_rows(w, d_state, d_values, k)
                _accumulate_totals(w, totals, d_harmonics)
            _store_totals(w, totals, w.row("d_harmonics", e), table.n_second)
    return w


def tangent_gradients(table: ProductTable, settings: KernelSettings) -> Builder:
    """Tangents of `gradients` for tangents of states, harmonics and radial weights."""
    edges = EdgeTable(table)
    has = Operands(table, settings)
    given = [*has.edges(), *has.output("upstream", "receivers"), *has.edges("t_")]
    w = Builder("tangent_gradients", settings, Signature(SENDING, given, has.edge_gradients()))
    slots, t_slots = (w.scratch(len(edges.terms), Scalar) for _ in range(2))
    totals = w.scratch(table.n_second, Vector)
    with w.loop(w.begin, w.end) as s:
        state, t_state, d_state = (w.rows(r, s) for r in ("states", "t_states", "d_states"))
        clear_rows(w, d_state)
        with w.edges("offsets", s) as i:
            e = w.integer("order", i)
            upstream = w.rows("upstream", w.integer("receivers", e))
            radial, t_radial, d_radial = (w.rows(r, e) for r in ("radial", "t_radial", "d_radial"))
            write_couplings(w, edges, w.row("harmonics", e), slots)
            write_couplings(w, edges, w.row("t_harmonics", e), t_slots)
            _clear_totals(w, totals, table.n_second)
            with w.channels() as k:
                values, t_values = load_components(w, state, k), load_components(w, t_state, k)
                d_values: Sums = dict.fromkeys(range(table.n_first))
                d_harmonics: Sums = dict.fromkeys(range(table.n_second))
                for path, groups in enumerate(edges.groups):
                    weight, t_weight = (w.load(w.at(r, path, k)) for r in (radial, t_radial))
                    cotangents = load_some(w, upstream, edges.outputs[path], k)
                    d_weight: Vector | None = None
                    for a, pairs in groups.items():
                        pulled, t_pulled = (pull_back(w, s, pairs, cotangents) for s in (slots, t_slots))
                        d_values[a] = w.fused(t_pulled, weight, w.fused(pulled, t_weight, d_values[a]))
                        d_weight = w.fused(t_pulled, values[a], w.fused(pulled, t_values[a], d_weight))
                        t_weighted = w.fused(t_values[a], weight, w.multiply(values[a], t_weight))
                        pull_harmonics(w, edges, pairs, cotangents, t_weighted, d_harmonics)
                    assert d_weight is not None
                    w.store(d_weight, w.at(d_radial, path, k))
                add_to_rows(w, d_state, d_values, k)
                _accumulate_totals(w, totals, d_harmonics)
            _store_totals(w, totals, w.row("d_harmonics", e), table.n_second)
    return w


def pull_back(w: Builder, slots: ScalarPointer, pairs: list[tuple[int, int]], cotangents: dict[int, Vector]) -> Vector:
    """Cotangents of the outputs pulled back through the couplings of one component."""
    total: Vector | None = None
    for coupling, output in pairs:
        total = w.fused(load_coupling(w, slots, coupling), cotangents[output], total)
    assert total is not None
    return total


def pull_harmonics(
    w: Builder,
    edges: EdgeTable,
    pairs: list[tuple[int, int]],
    cotangents: dict[int, Vector],
    weighted: Vector,
    totals: Sums,
) -> None:
    """Add the weighted state times the upstream gradient to each harmonic it goes with."""
    for b, terms in edges.by_harmonic(pairs).items():
        inner = weighted_sum(w, ((cotangents[output], value) for value, output in terms))
        totals[b] = w.fused(weighted, inner, totals[b])


def _clear_totals(w: Builder, totals: ScalarPointer, count: int) -> None:
    for b in range(count):
        w.store(w.zero(), w.vector_at(totals, b))


def _accumulate_totals(w: Builder, totals: ScalarPointer, sums: Sums) -> None:
    for b, total in sums.items():
        if total is not None:
            w.store(w.add(w.load(w.vector_at(totals, b)), total), w.vector_at(totals, b))


def _store_totals(w: Builder, totals: ScalarPointer, row: ScalarPointer, count: int) -> None:
    for b in range(count):
        w.store_scalar(w.total(w.load(w.vector_at(totals, b))), w.offset(row, b))
