"""LLVM code of what runs over nodes when a network is evaluated: products with their gradients, and readouts.

States come as one array per irrep, (N, (2l+1) paths, C).
"""

from __future__ import annotations

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder, Rows
from ase_nbody.compiler.signature import ADD, WRITE, Signature, indices, numbers
from ase_nbody.kernels.cpu_code import Sums, load_components
from ase_nbody.kernels.operands import Operands
from ase_nbody.kernels.product_code import (
    add_factor_gradients,
    factor_arguments,
    factor_rows,
    no_sums,
    store_sums,
    write_products,
)


def products(name: str, table: ProductTable, settings: KernelSettings) -> Builder:
    """Products of the states of nodes begin..end."""
    product = Operands(table, settings).output("product", "nodes", WRITE)
    w = Builder(name, settings, Signature(factor_arguments(table, settings), product))
    write_products(w, table)
    return w


def product_gradients(name: str, table: ProductTable, settings: KernelSettings, *, add_to_first: bool) -> Builder:
    """Gradients of `products` for nodes begin..end, added to d_second, stored in or added to d_first."""
    has = Operands(table, settings)
    results = [*has.first("d_first", "nodes", ADD if add_to_first else WRITE), *has.second("d_second", "nodes", ADD)]
    w = Builder(name, settings, Signature(factor_arguments(table, settings), has.output("upstream", "nodes"), results))
    with w.loop(w.begin, w.end) as n:
        factors, d_factors = factor_rows(w, n), factor_rows(w, n, "d_")
        upstream = w.rows("upstream", n)
        with w.channels() as k:
            d_left, d_right = no_sums(table)
            d_right |= enumerate(load_components(w, d_factors[1], k))
            if add_to_first:
                d_left |= enumerate(load_components(w, d_factors[0], k))
            add_factor_gradients(w, table, factors, upstream, (d_left, d_right), k)
            store_sums(w, d_factors[0], d_left, k)
            store_sums(w, d_factors[1], d_right, k)
    return w


def square_gradients(name: str, table: ProductTable, settings: KernelSettings) -> Builder:
    """Gradients of the product of a state with itself for nodes begin..end."""
    has = Operands(table, settings)
    given = [*has.first("factor", "nodes"), *has.output("upstream", "nodes")]
    w = Builder(name, settings, Signature(given, has.first("d_factor", "nodes", ADD)))
    with w.loop(w.begin, w.end) as n:
        factor, d_factor = w.rows("factor", n), w.rows("d_factor", n)
        upstream = w.rows("upstream", n)
        with w.channels() as k:
            sums: Sums = dict(enumerate(load_components(w, d_factor, k)))
            add_factor_gradients(w, table, (factor, factor), upstream, (sums, sums), k)
            store_sums(w, d_factor, sums, k)
    return w


def dots(name: str, settings: KernelSettings, length: int) -> Builder:
    """Add to `out` the scalar product of each row with the vector of its type, for nodes begin..end."""
    given = [*indices("types", "nodes"), *numbers("rows", "nodes", length), *numbers("vectors", "types", length)]
    w = Builder(name, settings, Signature(given, numbers("out", "nodes", 1, ADD)))
    with w.loop(w.begin, w.end) as n:
        row = w.row("rows", n)
        vector = w.row("vectors", w.integer("types", n))
        with w.carrying(0, length, [w.zero()], step=settings.width) as loop:
            left, right = (w.load(w.offset(p, loop.index)) for p in (row, vector))
            loop.next = [w.fused(left, right, loop.values[0])]
        pointer = w.offset(w.numbers("out"), n)
        w.store_scalar(w.add(w.load_scalar(pointer), w.total(loop.values[0])), pointer)
    return w


def rows_of_types(name: str, settings: KernelSettings, length: int, *, accumulate: bool) -> Builder:
    """Store in, or add to, each row of `out` the vector of its type, for nodes begin..end."""
    given = [*indices("types", "nodes"), *numbers("vectors", "types", length)]
    w = Builder(name, settings, Signature(given, numbers("out", "nodes", length, ADD if accumulate else WRITE)))
    with w.loop(w.begin, w.end) as n:
        row, vector = w.row("out", n), w.row("vectors", w.integer("types", n))
        with w.loop(0, length, step=settings.width) as k:
            pointer = w.offset(row, k)
            value = w.load(w.offset(vector, k))
            w.store(w.add(w.load(pointer), value) if accumulate else value, pointer)
    return w


def scaled_by_type(name: str, settings: KernelSettings, components: int, *, accumulate: bool) -> Builder:
    """Store in, or add to, `out` the rows of components times the vector of each node's type, for nodes begin..end."""
    length = components * settings.channels
    given = [*indices("types", "nodes"), *numbers("vectors", "types", settings.channels)]
    rows_and_out = [*numbers("rows", "nodes", length), *numbers("out", "nodes", length, ADD if accumulate else WRITE)]
    w = Builder(name, settings, Signature(given, rows_and_out))
    with w.loop(w.begin, w.end) as n:
        vector = w.row("vectors", w.integer("types", n))
        rows, out = (Rows([w.row(argument, n)], (components,)) for argument in ("rows", "out"))
        with w.channels() as k:
            scale = w.load(w.offset(vector, k))
            for component in range(components):
                value, pointer = w.load(w.at(rows, component, k)), w.at(out, component, k)
                w.store(w.fused(value, scale, w.load(pointer) if accumulate else None), pointer)
    return w


def shifted_energies(name: str, settings: KernelSettings) -> Builder:
    """Add to the energies of nodes begin..end the number of each one's type; zero for those without kept edges."""
    given = [*indices("types", "nodes"), *indices("offsets", "node bounds"), *indices("ends", "nodes")]
    energies = numbers("energies", "nodes", 1, ADD)
    w = Builder(name, settings, Signature(given, numbers("vectors", "types", 1), energies))
    with w.loop(w.begin, w.end) as n:
        pointer = w.row("energies", n)
        number = w.load_scalar(w.row("vectors", w.integer("types", n)))
        w.store_scalar(w.add(w.load_scalar(pointer), number), pointer)
        with w.when(w.at_least(w.minus(w.integer("offsets", n), w.integer("ends", n)), 0)):
            w.store_scalar(w.scalar(0.0), pointer)
    return w


def columns(name: str, settings: KernelSettings, first: int, total: int) -> Builder:
    """Add rows to the columns of `out` from the first on, for those of the nodes begin..end that have kept edges."""
    length = settings.channels
    given = [*indices("offsets", "node bounds"), *indices("ends", "nodes"), *numbers("rows", "nodes", length)]
    w = Builder(name, settings, Signature(given, numbers("out", "nodes", total, ADD)))
    with w.loop(w.begin, w.end) as n:
        with w.when(w.less(w.integer("offsets", n), w.integer("ends", n))):
            row, out = w.row("rows", n), w.offset(w.row("out", n), first)
            with w.channels() as k:
                pointer = w.offset(out, k)
                w.store(w.add(w.load(pointer), w.load(w.offset(row, k))), pointer)
    return w


def zeros(name: str, settings: KernelSettings, length: int) -> Builder:
    """Store zeros in the rows of nodes begin..end."""
    w = Builder(name, settings, Signature(numbers("out", "nodes", length, WRITE)))
    with w.loop(w.begin, w.end) as n:
        row = w.row("out", n)
        with w.loop(0, length, step=settings.width) as k:
            w.store(w.zero(), w.offset(row, k))
    return w
