"""LLVM code of messages over edges and of their gradients, when a network is evaluated.

Radial weights are B-splines of the distance: an edge reads degree + 1 rows of a table of its pair of elements, and the
slopes come from the same rows. So neither weights nor their gradients are ever written to memory. What is known about
an edge stands in its `EdgeRow`, made by `geometry_code`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase_nbody.kernels.cpu_code import (
    EdgeTable,
    Sums,
    add_to_rows,
    block_sizes,
    clear_rows,
    load_coupling,
    load_some,
    pull_back,
    pull_harmonics,
    write_couplings,
)
from ase_nbody.kernels.geometry_code import EdgeRow
from ase_nbody.kernels.llvm_writer import Rows, Shape, Writer
from ase_nbody.kernels.tables import ProductTable


class Edge:
    """One edge within a kernel.

    Args:
        w: of the kernel.
        edges: its table.
        degree: of the splines.
        e: number of the edge.
    """

    def __init__(self, w: Writer, edges: EdgeTable, degree: int, e: str) -> None:
        self.w = w
        self.row = EdgeRow(edges.table.n_second, degree)
        self.width = edges.table.n_paths * w.shape.channels
        self.functions = w.scalars("%functions", e, self.row.length)
        self.table = w.scalars("%weights", w.integer("%rows", e), self.width)

    def weight(self, path: int, k: str) -> str:
        """Radial weights of a path for the channels from k on."""
        return self._spline(self.row.basis, path, k)

    def slope(self, path: int, k: str) -> str:
        """Their slopes by the distance."""
        return self._spline(self.row.slopes, path, k)

    def _spline(self, first: int, path: int, k: str) -> str:
        w, total = self.w, None
        start = w.offset(self.table, k)
        for j in range(self.row.degree + 1):
            weights = w.load(w.scalar_at(start, j * self.width + path * w.shape.channels))
            total = w.fused(w.broadcast(w.load_scalar(w.scalar_at(self.functions, first + j))), weights, total)
        assert total is not None
        return total


def scalar_messages(name: str, table: ProductTable, shape: Shape, degree: int) -> Writer:
    """Sums over the edges of receivers begin..end where the scalar state of a child is part of its radial weights.

    Arguments: offsets, ends, rows, functions, weights (table rows, paths C) and out, one block per irrep.
    Channels are the outer loop, so the sums of a receiver stay in registers.
    """
    edges, sizes = EdgeTable(table), block_sizes(table, True)
    names = {"offsets": 0, "ends": 0, "rows": 0, "functions": 0, "weights": 0, "out": len(sizes.output)}
    w = Writer(name, shape, names)
    with w.loop("%begin", "%end") as n:
        out = w.rows("%out", n, sizes.output)
        first, last = w.integer("%offsets", n), w.integer("%ends", n)
        with w.channels() as k:
            with w.carrying(first, last, [(shape.vector, w.zero())] * table.n_output) as loop:
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


def _coupled(w: Writer, edges: EdgeTable, harmonics: str, coupling: int) -> str:
    """One coupling of an edge, sum_b c[a, b, o] Y[b]."""
    total = None
    for b, value in edges.terms[coupling]:
        harmonic = w.load_scalar(w.scalar_at(harmonics, b))
        if total is None and abs(value - 1.0) < 1e-12:
            total = harmonic
        else:
            total = w.fused(harmonic, w.literal(value, "scalar"), total, w.shape.scalar)
    assert total is not None
    return total


def messages(name: str, table: ProductTable, shape: Shape, degree: int) -> Writer:
    """Sums over the edges of receivers begin..end of radial weight times state times harmonics.

    Arguments: offsets, ends, children, rows, functions, weights (table rows, paths C), states and out, one block per
    irrep.
    """
    edges, sizes = EdgeTable(table), block_sizes(table, True)
    names = dict.fromkeys("offsets ends children rows functions weights".split(), 0)
    w = Writer(name, shape, names | {"states": len(sizes.first), "out": len(sizes.output)})
    couplings = len(edges.terms)
    slots = w.scratch(couplings * EDGES_AT_ONCE, shape.scalar)
    with w.loop("%begin", "%end") as n:
        out = w.rows("%out", n, sizes.output)
        clear_rows(w, out)
        end = w.integer("%ends", n)
        with w.carrying(w.integer("%offsets", n), end, [], step=EDGES_AT_ONCE) as some:
            last = w.smaller(w.fresh(f"add i64 {some.index}, {EDGES_AT_ONCE}"), end)
            with w.loop(some.index, last) as e:
                place = w.scalars(slots, w.fresh(f"sub i64 {e}, {some.index}"), couplings)
                write_couplings(w, edges, w.scalars("%functions", e, EdgeRow(table.n_second, degree).length), place)
            with w.channels() as k:
                for paths in _groups_of_paths(table, shape):
                    _sum_over_edges(w, edges, degree, paths, (some.index, last, slots), sizes.first, out, k)
    return w


EDGES_AT_ONCE = 32
"""Edges whose couplings are kept at a time, so that the sums of some paths over them stay in registers."""


def _groups_of_paths(table: ProductTable, shape: Shape) -> list[list[int]]:
    """Paths in groups whose outputs fit in registers beside the factors."""
    most = shape.registers - 8
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
    w: Writer,
    edges: EdgeTable,
    degree: int,
    paths: list[int],
    some: tuple[str, str, str],
    sizes: tuple[int, ...],
    out: Rows,
    k: str,
) -> None:
    """Add to the outputs of some paths the messages of the edges from first to last, whose couplings are in slots."""
    first, last, slots = some
    outputs = [o for path in paths for o in edges.outputs[path]]
    pointers = [w.at(out, o, k) for o in outputs]
    with w.carrying(first, last, [(w.shape.vector, w.load(p)) for p in pointers]) as loop:
        edge = Edge(w, edges, degree, loop.index)
        state = w.rows("%states", w.integer("%children", loop.index), sizes)
        place = w.scalars(slots, w.fresh(f"sub i64 {loop.index}, {first}"), len(edges.terms))
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


def gradients(name: str, table: ProductTable, shape: Shape, degree: int, *, first: bool, add_to_states: bool) -> Writer:
    """Gradients by states, harmonics and distance, for the edges of senders begin..end.

    Arguments: offsets and order of the senders' edges, receivers, slots, rows, functions, weights, states, upstream
    (gradients by the messages), d_states and d_functions, (E, harmonics + 1): by harmonics, then by distance.

    Args:
        name: of the function.
        table: of the messages.
        shape: dtype and channels.
        degree: of the splines.
        first: store d_functions; otherwise add to them.
        add_to_states: add to d_states; otherwise store them.
    """
    edges, sizes = EdgeTable(table), block_sizes(table, True)
    names = dict.fromkeys("offsets order receivers slots rows functions weights".split(), 0)
    states, outputs = len(sizes.first), len(sizes.output)
    w = Writer(name, shape, names | {"states": states, "upstream": outputs, "d_states": states, "d_functions": 0})
    slots = w.scratch(len(edges.terms), shape.scalar)
    with w.loop("%begin", "%end") as s:
        state, d_state = (w.rows(r, s, sizes.first) for r in ("%states", "%d_states"))
        if not add_to_states:
            clear_rows(w, d_state)
        with w.edges("%offsets", s) as i:
            listed = w.integer("%order", i)
            e = w.integer("%slots", listed)
            with w.when(w.fresh(f"icmp sge i64 {e}, 0")):
                upstream = w.rows("%upstream", w.integer("%receivers", listed), sizes.output)
                edge = Edge(w, edges, degree, e)
                write_couplings(w, edges, edge.functions, slots)
                totals = _edge_gradients(w, edges, edge, slots, upstream, state, d_state)
                _store_totals(w, totals, w.scalars("%d_functions", e, table.n_second + 1), first)
    return w


def scalar_gradients(name: str, table: ProductTable, shape: Shape, degree: int, *, first: bool) -> Writer:
    """Gradients of `scalar_messages` by harmonics and distance, for the edges of receivers begin..end.

    Arguments: offsets, ends, rows, functions, weights, upstream and d_functions as in `gradients`, and `first`.
    """
    edges, sizes = EdgeTable(table), block_sizes(table, True)
    names = dict.fromkeys("offsets ends rows functions weights".split(), 0)
    w = Writer(name, shape, names | {"upstream": len(sizes.output), "d_functions": 0})
    slots = w.scratch(len(edges.terms), shape.scalar)
    with w.loop("%begin", "%end") as n:
        upstream = w.rows("%upstream", n, sizes.output)
        with w.loop(w.integer("%offsets", n), w.integer("%ends", n)) as e:
            edge = Edge(w, edges, degree, e)
            write_couplings(w, edges, edge.functions, slots)
            totals = _edge_gradients(w, edges, edge, slots, upstream, None, None)
            _store_totals(w, totals, w.scalars("%d_functions", e, table.n_second + 1), first)
    return w


def _edge_gradients(
    w: Writer, edges: EdgeTable, edge: Edge, slots: str, upstream: Rows, state: Rows | None, d_state: Rows | None
) -> list[str]:
    """Vectors whose sums over channels are the gradients by each harmonic and the distance; adds to d_state.

    Paths of one degree of the harmonics go together, so that few sums are held at a time.
    """
    table, shape = edges.table, w.shape
    d_harmonics: list[str] = []
    d_distance = w.zero()
    for number, irrep in enumerate(table.second_irreps):
        start = [(shape.vector, w.zero())] * irrep.dimension + [(shape.vector, d_distance)]
        with w.carrying("0", str(shape.channels), start, step=shape.width) as loop:
            totals: Sums = dict(enumerate(loop.values, start=len(d_harmonics)))
            paths = [n for n, path in enumerate(table.paths) if path.second == number]
            _path_gradients(w, edges, edge, paths, (slots, loop.index), (upstream, state, d_state), totals)
            loop.next = [total or w.zero() for total in totals.values()]
        d_harmonics += loop.values[:-1]
        d_distance = loop.values[-1]
    return [*d_harmonics, d_distance]


def _path_gradients(
    w: Writer,
    edges: EdgeTable,
    edge: Edge,
    paths: list[int],
    place: tuple[str, str],
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
        pulls = load_some(w, upstream, edges.outputs[path], k)
        d_weight: str | None = None
        for a, pairs in edges.groups[path].items():
            pulled = pull_back(w, slots, pairs, pulls)
            if state is None:
                d_weight, weighted = pulled, weight
            else:
                value = w.load(w.at(state, a, k))
                d_values[a] = w.fused(pulled, weight, d_values.get(a))
                d_weight = w.fused(pulled, value, d_weight)
                weighted = w.multiply(value, weight)
            pull_harmonics(w, edges, pairs, pulls, weighted, totals)
        assert d_weight is not None
        totals[distance] = w.fused(d_weight, slope, totals[distance])
    if d_state is not None:
        add_to_rows(w, d_state, d_values, k)


def _store_totals(w: Writer, totals: Sequence[str], row: str, first: bool) -> None:
    """Store in, or add to, a row the sum over each of some vectors."""
    width = w.shape.width
    whole = len(totals) - len(totals) % width if width > 1 else 0
    for start in range(0, whole, width):
        pointer = w.scalar_at(row, start)
        found = w.totals(totals[start : start + width])
        w.store(found if first else w.add(found, w.load(pointer)), pointer)
    for number in range(whole, len(totals)):
        pointer = w.scalar_at(row, number)
        total = w.total(totals[number])
        w.store_scalar(total if first else w.add(total, w.load_scalar(pointer), w.shape.scalar), pointer)
