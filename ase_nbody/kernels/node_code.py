"""LLVM code of what runs over nodes when a network is evaluated: products with their gradients, and readouts.

States come as one array per irrep, (N, (2l+1) paths, C).
"""

from __future__ import annotations

from collections import defaultdict

from ase_nbody.kernels.cpu_code import block_sizes, by_output
from ase_nbody.kernels.llvm_writer import Rows, Shape, Writer
from ase_nbody.kernels.tables import ProductTable


def products(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Products of the states of nodes begin..end; arguments first, second and out."""
    sizes = block_sizes(table, True)
    blocks = {"first": len(sizes.first), "second": len(sizes.second), "out": len(sizes.output)}
    w = Writer(name, shape, blocks)
    with w.loop("%begin", "%end") as n:
        first, second = w.rows("%first", n, sizes.first), w.rows("%second", n, sizes.second)
        out = w.rows("%out", n, sizes.output)
        with w.channels() as k:
            left = [w.load(w.at(first, a, k)) for a in range(table.n_first)]
            right = [w.load(w.at(second, b, k)) for b in range(table.n_second)]
            known: dict[tuple[int, int], str] = {}
            for output, terms in by_output(table).items():
                total = None
                for _, a, b, _, value in terms:
                    if (a, b) not in known:
                        known[a, b] = w.multiply(left[a], right[b])
                    total = w.fused(known[a, b], w.literal(value), total)
                assert total is not None
                w.store(total, w.at(out, output, k))
    return w


def product_gradients(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Gradients of `products` for nodes begin..end.

    Arguments: first, second, upstream, d_first, which is stored, and d_second, which is added to.
    """
    sizes = block_sizes(table, True)
    first, second, outputs = len(sizes.first), len(sizes.second), len(sizes.output)
    blocks = {"first": first, "second": second, "upstream": outputs, "d_first": first, "d_second": second}
    w = Writer(name, shape, blocks)
    with w.loop("%begin", "%end") as n:
        factors = w.rows("%first", n, sizes.first), w.rows("%second", n, sizes.second)
        d_first, d_second = w.rows("%d_first", n, sizes.first), w.rows("%d_second", n, sizes.second)
        upstream = w.rows("%upstream", n, sizes.output)
        with w.channels() as k:
            before: list[str | None] = [w.load(w.at(d_second, b, k)) for b in range(table.n_second)]
            left, right = _factor_gradients(w, table, factors, upstream, ([None] * table.n_first, before), k)
            for row, totals in ((d_first, left), (d_second, right)):
                for component, total in enumerate(totals):
                    w.store(total or w.zero(), w.at(row, component, k))
    return w


def square_gradients(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Gradients of the product of a state with itself for nodes begin..end, added to d_factor.

    Arguments: factor, upstream and d_factor.
    """
    sizes = block_sizes(table, True)
    blocks = {"factor": len(sizes.first), "upstream": len(sizes.output), "d_factor": len(sizes.first)}
    w = Writer(name, shape, blocks)
    with w.loop("%begin", "%end") as n:
        factor, d_factor = w.rows("%factor", n, sizes.first), w.rows("%d_factor", n, sizes.first)
        upstream = w.rows("%upstream", n, sizes.output)
        with w.channels() as k:
            sums: list[str | None] = [w.load(w.at(d_factor, a, k)) for a in range(table.n_first)]
            _factor_gradients(w, table, (factor, factor), upstream, (sums, sums), k)
            for component, total in enumerate(sums):
                assert total is not None
                w.store(total, w.at(d_factor, component, k))
    return w


def _factor_gradients(
    w: Writer,
    table: ProductTable,
    factors: tuple[Rows, Rows],
    upstream: Rows,
    sums: tuple[list[str | None], list[str | None]],
    k: str,
) -> tuple[list[str | None], list[str | None]]:
    """Sums of the gradients by both factors, added to what is given; both lists may be the same."""
    left = [w.load(w.at(factors[0], a, k)) for a in range(table.n_first)]
    right = [w.load(w.at(factors[1], b, k)) for b in range(table.n_second)]
    d_left, d_right = sums
    pulls = {output: w.load(w.at(upstream, output, k)) for output in by_output(table)}
    pairs: dict[tuple[int, int], list[tuple[str, float]]] = defaultdict(list)
    for output, terms in by_output(table).items():
        for _, a, b, _, value in terms:
            pairs[a, b].append((pulls[output], value))
    for (a, b), terms_of_pair in pairs.items():
        total = None
        for pull, value in terms_of_pair:
            total = w.fused(pull, w.literal(value), total)
        assert total is not None
        d_left[a] = w.fused(total, right[b], d_left[a])
        d_right[b] = w.fused(total, left[a], d_right[b])
    return d_left, d_right


def dots(name: str, shape: Shape, length: int) -> Writer:
    """Add to out (N,) the scalar product of each row (N, length) with the vector of its type.

    Arguments: types (N,), rows, vectors (types, length) and out, for nodes begin..end.
    """
    w = Writer(name, shape, dict.fromkeys("types rows vectors out".split(), 0))
    with w.loop("%begin", "%end") as n:
        row = w.scalars("%rows", n, length)
        vector = w.scalars("%vectors", w.integer("%types", n), length)
        with w.carrying("0", str(length), [(shape.vector, w.zero())], step=shape.width) as loop:
            left, right = (w.load(w.offset(p, loop.index)) for p in (row, vector))
            loop.next = [w.fused(left, right, loop.values[0])]
        pointer = w.offset("%out", n)
        w.store_scalar(w.add(w.load_scalar(pointer), w.total(loop.values[0]), shape.scalar), pointer)
    return w


def rows_of_types(name: str, shape: Shape, length: int) -> Writer:
    """Add to each row of out (N, length) the vector of its type, for nodes begin..end.

    Arguments: types (N,), vectors (types, length) and out.
    """
    w = Writer(name, shape, dict.fromkeys("types vectors out".split(), 0))
    with w.loop("%begin", "%end") as n:
        row, vector = w.scalars("%out", n, length), w.scalars("%vectors", w.integer("%types", n), length)
        with w.carrying("0", str(length), [], step=shape.width) as loop:
            pointer = w.offset(row, loop.index)
            value = w.load(w.offset(vector, loop.index))
            w.store(w.add(w.load(pointer), value), pointer)
    return w


def scaled_by_type(name: str, shape: Shape, components: int) -> Writer:
    """Store in out (N, components, C) the rows times the vector (types, C) of each node's type.

    Arguments: types (N,), vectors, rows (N, components, C) and out, for nodes begin..end.
    """
    w = Writer(name, shape, dict.fromkeys("types vectors rows out".split(), 0))
    sizes = (components,)
    with w.loop("%begin", "%end") as n:
        vector = w.scalars("%vectors", w.integer("%types", n), shape.channels)
        length = components * shape.channels
        rows, out = (Rows([w.scalars(p, n, length)], sizes) for p in ("%rows", "%out"))
        with w.channels() as k:
            scale = w.load(w.offset(vector, k))
            for component in range(components):
                w.store(w.multiply(w.load(w.at(rows, component, k)), scale), w.at(out, component, k))
    return w


def zeros(name: str, shape: Shape, length: int) -> Writer:
    """Store zeros in the rows (N, length) of nodes begin..end; argument out."""
    w = Writer(name, shape, {"out": 0})
    with w.loop("%begin", "%end") as n:
        row = w.scalars("%out", n, length)
        with w.carrying("0", str(length), [], step=shape.width) as loop:
            w.store(w.zero(), w.offset(row, loop.index))
    return w
