"""LLVM code of the channel-wise product of two states of each node: the cpu back end's kernels, and parts of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from ase_nbody.algebra.tables import Entry, ProductTable, entries
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder, Rows
from ase_nbody.compiler.signature import READ, WRITE, Access, Argument, Signature
from ase_nbody.compiler.values import Index, Vector
from ase_nbody.kernels.cpu_code import Sums, load_components, load_some, weighted_sum
from ase_nbody.kernels.operands import Operands


def products(table: ProductTable, settings: KernelSettings) -> Builder:
    """Channel-wise product of the states of each node."""
    signature = Signature(
        factor_arguments(table, settings), Operands(table, settings).output("product", "nodes", WRITE)
    )
    w = Builder("products", settings, signature)
    write_products(w, table)
    return w


def product_tangents(table: ProductTable, settings: KernelSettings) -> Builder:
    """Tangents of `products` for tangents of both factors."""
    tangents, result = (
        factor_arguments(table, settings, "t_"),
        Operands(table, settings).output("product", "nodes", WRITE),
    )
    w = Builder("product_tangents", settings, Signature(factor_arguments(table, settings), tangents, result))
    with w.loop(w.begin, w.end) as n:
        factors, t_factors = factor_rows(w, n), factor_rows(w, n, "t_")
        product = w.rows("product", n)
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            t_left, t_right = load_factors(w, t_factors, k)
            _store_products(
                w, table, product, k, lambda a, b: w.fused(t_left[a], right[b], w.multiply(left[a], t_right[b]))
            )
    return w


def product_gradients(table: ProductTable, settings: KernelSettings) -> Builder:
    """Gradients of `products` with respect to both factors."""
    upstream = Operands(table, settings).output("upstream", "nodes")
    results = factor_arguments(table, settings, "d_", WRITE)
    w = Builder("product_gradients", settings, Signature(factor_arguments(table, settings), upstream, results))
    write_product_gradients(w, table, store_sums)
    return w


def write_products(w: Builder, table: ProductTable) -> None:
    """Write the loop over nodes of a function of first, second and product."""
    with w.loop(w.begin, w.end) as n:
        factors, product = factor_rows(w, n), w.rows("product", n)
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            _store_products(w, table, product, k, lambda a, b: w.multiply(left[a], right[b]))


def write_product_gradients(
    w: Builder, table: ProductTable, finish: Callable[[Builder, Rows, Sums, Index], None]
) -> None:
    """Write the loop over nodes of a function of first, second, upstream, d_first and d_second.

    Args:
        w: of the function.
        table: the product.
        finish: stores the sums over a factor's components in the node's row, or adds them to it.
    """
    with w.loop(w.begin, w.end) as n:
        factors, d_factors = factor_rows(w, n), factor_rows(w, n, "d_")
        upstream = w.rows("upstream", n)
        with w.channels() as k:
            sums = no_sums(table)
            add_factor_gradients(w, table, factors, upstream, sums, k)
            for row, totals in zip(d_factors, sums, strict=True):
                finish(w, row, totals, k)


def factor_arguments(
    table: ProductTable, settings: KernelSettings, prefix: str = "", access: Access = READ
) -> list[Argument]:
    """Arguments that are both factors, or have their shape and names that begin with a prefix."""
    has = Operands(table, settings)
    return [*has.first(f"{prefix}first", "nodes", access), *has.second(f"{prefix}second", "nodes", access)]


def factor_rows(w: Builder, n: Index, prefix: str = "") -> tuple[Rows, Rows]:
    """Rows of a node in both factors, or in what has their shape."""
    return w.rows(f"{prefix}first", n), w.rows(f"{prefix}second", n)


def load_factors(w: Builder, factors: tuple[Rows, Rows], k: Index) -> tuple[list[Vector], list[Vector]]:
    """All components of a node in both factors, for the channels from k on."""
    return load_components(w, factors[0], k), load_components(w, factors[1], k)


def no_sums(table: ProductTable) -> tuple[Sums, Sums]:
    """Sums over the components of both factors before anything is added."""
    return dict.fromkeys(range(table.n_first)), dict.fromkeys(range(table.n_second))


def store_sums(w: Builder, row: Rows, sums: Sums, k: Index) -> None:
    """Store a vector of channels in each component of a node, zeros where nothing was added."""
    for component, total in sums.items():
        w.store(total or w.zero(), w.at(row, component, k))


def add_factor_gradients(
    w: Builder, table: ProductTable, factors: tuple[Rows, Rows], upstream: Rows, sums: tuple[Sums, Sums], k: Index
) -> None:
    """Add the gradients with respect to both factors to sums, which may be the same for both."""
    left, right = load_factors(w, factors, k)
    d_left, d_right = sums
    for a, b, (pulled,) in pulled_pairs(w, table, (upstream,), k):
        d_left[a] = w.fused(pulled, right[b], d_left[a])
        d_right[b] = w.fused(pulled, left[a], d_right[b])


def pulled_pairs(
    w: Builder, table: ProductTable, upstreams: Sequence[Rows], k: Index
) -> Iterator[tuple[int, int, list[Vector]]]:
    """Upstream gradients pulled back to each product of a component a and a component b of the factors.

    Yields:
        a, b and the sum over the outputs of each upstream gradient, which is written when its turn comes.
    """
    outputs = _by_output(table)
    cotangents = [load_some(w, row, outputs, k) for row in upstreams]
    pairs: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for terms in outputs.values():
        for entry in terms:
            pairs[entry.a, entry.b].append(entry)
    for (a, b), terms in pairs.items():
        yield (
            a,
            b,
            [weighted_sum(w, ((cotangent[entry.o], entry.value) for entry in terms)) for cotangent in cotangents],
        )


def _store_products(w: Builder, table: ProductTable, row: Rows, k: Index, pair: Callable[[int, int], Vector]) -> None:
    """Store every output component as a sum of coefficients times products of pairs, each pair written once."""
    written = cache(pair)
    for output, terms in _by_output(table).items():
        total = weighted_sum(w, ((written(entry.a, entry.b), entry.value) for entry in terms))
        w.store(total, w.at(row, output, k))


def _by_output(table: ProductTable) -> dict[int, list[Entry]]:
    """The entries of each output component."""
    outputs: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries(table):
        outputs[entry.o].append(entry)
    return outputs
