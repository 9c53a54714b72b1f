"""LLVM code of what runs over nodes when a network is evaluated: products with their gradients, and readouts.

States come as one array per irrep, (N, (2l+1) paths, C).
"""

from __future__ import annotations

from ase_nbody.kernels.cpu_code import Sums, kernel_writer, load_components
from ase_nbody.kernels.llvm_writer import Rows, Shape, Writer
from ase_nbody.kernels.product_code import add_factor_gradients, factor_rows, no_sums, store_sums, write_products
from ase_nbody.kernels.tables import ProductTable


def products(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Products of the states of nodes begin..end; arguments first, second and product."""
    w, sizes = kernel_writer(table, shape, "first second product", name)
    write_products(w, table, sizes)
    return w


def product_gradients(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Gradients of `products` for nodes begin..end.

    Arguments: first, second, upstream, d_first, which is stored, and d_second, which is added to.
    """
    w, sizes = kernel_writer(table, shape, "first second upstream d_first d_second", name)
    with w.loop("%begin", "%end") as n:
        factors, d_factors = factor_rows(w, sizes, n), factor_rows(w, sizes, n, "d_")
        upstream = w.rows("%upstream", n, sizes.output)
        with w.channels() as k:
            d_left, d_right = no_sums(table)
            d_right |= enumerate(load_components(w, d_factors[1], k))
            add_factor_gradients(w, table, factors, upstream, (d_left, d_right), k)
            store_sums(w, d_factors[0], d_left, k)
            store_sums(w, d_factors[1], d_right, k)
    return w


def square_gradients(name: str, table: ProductTable, shape: Shape) -> Writer:
    """Gradients of the product of a state with itself for nodes begin..end, added to d_factor.

    Arguments: factor, upstream and d_factor.
    """
    w, sizes = kernel_writer(table, shape, "factor upstream d_factor", name)
    with w.loop("%begin", "%end") as n:
        factor, d_factor = w.rows("%factor", n, sizes.first), w.rows("%d_factor", n, sizes.first)
        upstream = w.rows("%upstream", n, sizes.output)
        with w.channels() as k:
            sums: Sums = dict(enumerate(load_components(w, d_factor, k)))
            add_factor_gradients(w, table, (factor, factor), upstream, (sums, sums), k)
            store_sums(w, d_factor, sums, k)
    return w


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
