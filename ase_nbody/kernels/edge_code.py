"""LLVM code of messages over edges and of their gradients, when a network is evaluated.

Radial weights are B-splines of the distance: an edge reads degree + 1 rows of a table of its pair of elements, and the
slopes come from the same rows. So neither weights nor their gradients are ever written to memory. What is known about
an edge stands in its `EdgeRow`, made by `geometry_code`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder, Rows
from ase_nbody.compiler.signature import ADD, WRITE, Argument, Signature, indices, numbers
from ase_nbody.compiler.values import Index, Scalar, ScalarPointer, Vector
from ase_nbody.kernels.cpu_code import (
    EdgeTable,
    Sums,
    add_to_rows,
    clear_rows,
    load_coupling,
    load_some,
    pull_back,
    pull_harmonics,
    write_couplings,
)
from ase_nbody.kernels.edge_splines import Edge, radial_arguments
from ase_nbody.kernels.operands import Operands


def _receiving(*more: str) -> list[Argument]:
    """Bounds of the kept edges of receivers, and lists of these edges."""
    return [*indices("offsets", "node bounds"), *indices("ends", "nodes"), *indices(" ".join(more), "edges")]


def _by_functions(table: ProductTable, *, first: bool) -> list[Argument]:
    """Gradients by the harmonics of edges, then by their distances."""
    return numbers("d_functions", "edges", table.n_second + 1, WRITE if first else ADD)


def scalar_messages(name: str, table: ProductTable, settings: KernelSettings, degree: int) -> Builder:
    """Sums over the edges of receivers begin..end where the scalar state of a child is part of its radial weights.

    Channels are the outer loop, so the sums of a receiver stay in registers.
    """
    edges = EdgeTable(table)
    sums = Operands(table, settings).output("out", "nodes", WRITE)
    w = Builder(name, settings, Signature(_receiving("rows"), radial_arguments(table, settings, degree), sums))
    with w.loop(w.begin, w.end) as n:
        out = w.rows("out", n)
        first, last = w.integer("offsets", n), w.integer("ends", n)
        with w.channels() as k:
            with w.carrying(first, last, [w.zero()] * table.n_output) as loop:
                edge = Edge(w, edges, degree, loop.index)
                loop.next = list(loop.values)
                for path, groups in enumerate(edges.groups):
                    weight = edge.weight(path, k)
                    for coupling, output in groups[0]:
                        factor = w.broadcast(_coupled(w, edges, edge.functions, coupling))
                        loop.next[output] = w.fused(factor, weight, loop.next[output])
            for component, total in enumerate(loop.values):
                w.store(total, w.at(out, component, k))
    return w


def _coupled(w: Builder, edges: EdgeTable, harmonics: ScalarPointer, coupling: int) -> Scalar:
    """One coupling of an edge, sum_b c[a, b, o] Y[b]."""
    total: Scalar | None = None
    for b, value in edges.terms[coupling]:
        harmonic = w.load_scalar(w.offset(harmonics, b))
        if total is None and abs(value - 1.0) < 1e-12:
            total = harmonic
        else:
            total = w.fused(harmonic, w.scalar(value), total)
    assert total is not None
    return total


def messages(name: str, table: ProductTable, settings: KernelSettings, degree: int) -> Builder:
    """Sums over the edges of receivers begin..end of radial weight times state times harmonics."""
    edges, has = EdgeTable(table), Operands(table, settings)
    states, out = has.first("states", "nodes"), has.output("out", "nodes", WRITE)
    given = [*_receiving("children", "rows"), *radial_arguments(table, settings, degree)]
    w = Builder(name, settings, Signature(given, states, out))
    couplings = len(edges.terms)
    slots = w.scratch(couplings * EDGES_AT_ONCE, Scalar)
    with w.loop(w.begin, w.end) as n:
        sums = w.rows("out", n)
        clear_rows(w, sums)
        end = w.integer("ends", n)
        with w.loop(w.integer("offsets", n), end, step=EDGES_AT_ONCE) as first:
            last = w.smaller(w.plus(first, EDGES_AT_ONCE), end)
            with w.loop(first, last) as e:
                place = w.scalars(slots, w.minus(e, first), couplings)
                write_couplings(w, edges, w.row("functions", e), place)
            with w.channels() as k:
                for paths in _groups_of_paths(table, settings):
                    _sum_over_edges(w, edges, degree, paths, (first, last, slots), sums, k)
    return w


EDGES_AT_ONCE = 32
"""Edges whose couplings are kept at a time, so that the sums of some paths over them stay in registers."""


def _groups_of_paths(table: ProductTable, settings: KernelSettings) -> list[list[int]]:
    """Paths in groups whose outputs fit in registers beside the factors."""
    most = settings.registers - 8
    groups: list[list[int]] = []
    room = 0
    for number, path in enumerate(table.paths):
        if not groups or len(path.outputs) > room:
            groups.append([])
            room = most
        groups[-1].append(number)
        room -= len(path.outputs)
    return groups


def _sum_over_edges(
    w: Builder,
    edges: EdgeTable,
    degree: int,
    paths: list[int],
    some: tuple[Index, Index, ScalarPointer],
    out: Rows,
    k: Index,
) -> None:
    """Add to the outputs of some paths the messages of the edges from first to last, whose couplings are in slots."""
    first, last, slots = some
    outputs = [o for path in paths for o in edges.outputs[path]]
    pointers = [w.at(out, o, k) for o in outputs]
    with w.carrying(first, last, [w.load(p) for p in pointers]) as loop:
        edge = Edge(w, edges, degree, loop.index)
        state = w.rows("states", w.integer("children", loop.index))
        place = w.scalars(slots, w.minus(loop.index, first), len(edges.terms))
        sums = dict(zip(outputs, loop.values, strict=True))
        for path in paths:
            weight = edge.weight(path, k)
            for a, pairs in edges.groups[path].items():
                weighted = w.multiply(w.load(w.at(state, a, k)), weight)
                for coupling, output in pairs:
                    sums[output] = w.fused(load_coupling(w, place, coupling), weighted, sums[output])
        loop.next = [sums[o] for o in outputs]
    for pointer, total in zip(pointers, loop.values, strict=True):
        w.store(total, pointer)


def gradients(
    name: str, table: ProductTable, settings: KernelSettings, degree: int, *, first: bool, add_to_states: bool
) -> Builder:
    """Gradients by states, harmonics and distance, for the edges of senders begin..end.

    Args:
        name: of the function.
        table: of the messages.
        settings: dtype and channels.
        degree: of the splines.
        first: store d_functions; otherwise add to them.
        add_to_states: add to d_states; otherwise store them.
    """
    edges, has = EdgeTable(table), Operands(table, settings)
    lists = [*indices("offsets", "node bounds"), *indices("order receivers slots rows", "edges")]
    given = [
        *radial_arguments(table, settings, degree),
        *has.first("states", "nodes"),
        *has.output("upstream", "nodes"),
    ]
    d_states = has.first("d_states", "nodes", ADD if add_to_states else WRITE)
    w = Builder(name, settings, Signature(lists, given, d_states, _by_functions(table, first=first)))
    slots = w.scratch(len(edges.terms), Scalar)
    with w.loop(w.begin, w.end) as s:
        state, d_state = (w.rows(r, s) for r in ("states", "d_states"))
        if not add_to_states:
            clear_rows(w, d_state)
        with w.edges("offsets", s) as i:
            listed = w.integer("order", i)
            e = w.integer("slots", listed)
            with w.when(w.at_least(e, 0)):
                upstream = w.rows("upstream", w.integer("receivers", listed))
                edge = Edge(w, edges, degree, e)
                write_couplings(w, edges, edge.functions, slots)
                totals = _edge_gradients(w, edges, edge, slots, upstream, state, d_state)
                _store_totals(w, totals, w.row("d_functions", e), first)
    return w


def scalar_gradients(name: str, table: ProductTable, settings: KernelSettings, degree: int, *, first: bool) -> Builder:
    """Gradients of `scalar_messages` by harmonics and distance, for the edges of receivers begin..end."""
    edges = EdgeTable(table)
    given = [
        *_receiving("rows"),
        *radial_arguments(table, settings, degree),
        *Operands(table, settings).output("upstream", "nodes"),
    ]
    w = Builder(name, settings, Signature(given, _by_functions(table, first=first)))
    slots = w.scratch(len(edges.terms), Scalar)
    with w.loop(w.begin, w.end) as n:
        upstream = w.rows("upstream", n)
        with w.loop(w.integer("offsets", n), w.integer("ends", n)) as e:
            edge = Edge(w, edges, degree, e)
            write_couplings(w, edges, edge.functions, slots)
            totals = _edge_gradients(w, edges, edge, slots, upstream, None, None)
            _store_totals(w, totals, w.row("d_functions", e), first)
    return w


def _edge_gradients(
    w: Builder,
    edges: EdgeTable,
    edge: Edge,
    slots: ScalarPointer,
    upstream: Rows,
    state: Rows | None,
    d_state: Rows | None,
) -> list[Vector]:
    """Vectors whose sums over channels are the gradients by each harmonic and the distance; adds to d_state.

    Paths of one degree of the harmonics go together, so that few sums are held at a time.
    """
    table, settings = edges.table, w.settings
    d_harmonics: list[Vector] = []
    d_distance = w.zero()
    for number, irrep in enumerate(table.second_irreps):
        start = [w.zero()] * irrep.dimension + [d_distance]
        with w.carrying(0, settings.channels, start, step=settings.width) as loop:
            totals: Sums = dict(enumerate(loop.values, start=len(d_harmonics)))
            paths = [n for n, path in enumerate(table.paths) if path.second == number]
            _path_gradients(w, edges, edge, paths, (slots, loop.index), (upstream, state, d_state), totals)
            loop.next = [total or w.zero() for total in totals.values()]
        d_harmonics += loop.values[:-1]
        d_distance = loop.values[-1]
    return [*d_harmonics, d_distance]


def _path_gradients(
    w: Builder,
    edges: EdgeTable,
    edge: Edge,
    paths: list[int],
    place: tuple[ScalarPointer, Index],
    rows: tuple[Rows, Rows | None, Rows | None],
    totals: Sums,
) -> None:
    """Gradients of some paths for one vector of channels, added to the totals of their harmonics and the distance."""
    slots, k = place
    upstream, state, d_state = rows
    distance = max(totals)
    d_values: Sums = {}
    for path in paths:
        weight, slope = edge.weight(path, k), edge.slope(path, k)
        cotangents = load_some(w, upstream, edges.outputs[path], k)
        d_weight: Vector | None = None
        for a, pairs in edges.groups[path].items():
            pulled = pull_back(w, slots, pairs, cotangents)
            if state is None:
                d_weight, weighted = pulled, weight
            else:
                value = w.load(w.at(state, a, k))
                d_values[a] = w.fused(pulled, weight, d_values.get(a))
                d_weight = w.fused(pulled, value, d_weight)
                weighted = w.multiply(value, weight)
            pull_harmonics(w, edges, pairs, cotangents, weighted, totals)
        assert d_weight is not None
        totals[distance] = w.fused(d_weight, slope, totals[distance])
    if d_state is not None:
        add_to_rows(w, d_state, d_values, k)


def _store_totals(w: Builder, totals: Sequence[Vector], row: ScalarPointer, first: bool) -> None:
    """Store in, or add to, a row the sum over each of some vectors."""
    width = w.settings.width
    whole = len(totals) - len(totals) % width if width > 1 else 0
    for start in range(0, whole, width):
        pointer = w.offset(row, start)
        sums = w.totals(totals[start : start + width])
        w.store(sums if first else w.add(sums, w.load(pointer)), pointer)
    for number in range(whole, len(totals)):
        pointer = w.offset(row, number)
        total = w.total(totals[number])
        w.store_scalar(total if first else w.add(total, w.load_scalar(pointer)), pointer)
