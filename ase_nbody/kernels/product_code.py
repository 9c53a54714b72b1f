"""LLVM code of the channel-wise product of two states of each node: the cpu back end's kernels, and parts of others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from ase_nbody.kernels.cpu_code import Sizes, Sums, kernel_writer, load_components, load_some, weighted_sum
from ase_nbody.kernels.llvm_writer import Rows, Shape, Writer
from ase_nbody.kernels.tables import Entry, ProductTable, entries


def products(table: ProductTable, shape: Shape) -> str:
    """Channel-wise product of the states of each node."""
    w, sizes = kernel_writer(table, shape, "first second product")
    write_products(w, table, sizes)
    return w.text()


def product_tangents(table: ProductTable, shape: Shape) -> str:
    """Change of `products` along a tangent of both factors."""
    w, sizes = kernel_writer(table, shape, "first second t_first t_second product")
    with w.loop("%begin", "%end") as n:
        factors, t_factors = factor_rows(w, sizes, n), factor_rows(w, sizes, n, "t_")
        product = w.rows("%product", n, sizes.output)
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            t_left, t_right = load_factors(w, t_factors, k)
            _store_products(
                w, table, product, k, lambda a, b: w.fused(t_left[a], right[b], w.multiply(left[a], t_right[b]))
            )
    return w.text()


def product_gradients(table: ProductTable, shape: Shape) -> str:
    """Gradients of `products` with respect to both factors."""
    w, sizes = kernel_writer(table, shape, "first second upstream d_first d_second")
    write_product_gradients(w, table, sizes, store_sums)
    return w.text()


def write_products(w: Writer, table: ProductTable, sizes: Sizes) -> None:
    """Write the loop over nodes of a function of first, second and product."""
    with w.loop("%begin", "%end") as n:
        factors, product = factor_rows(w, sizes, n), w.rows("%product", n, sizes.output)
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            _store_products(w, table, product, k, lambda a, b: w.multiply(left[a], right[b]))


def write_product_gradients(
    w: Writer, table: ProductTable, sizes: Sizes, finish: Callable[[Writer, Rows, Sums, str], None]
) -> None:
    """Write the loop over nodes of a function of first, second, upstream, d_first and d_second.

    Args:
        w: of the function.
        table: the product.
        sizes: of its blocks.
        finish: stores the sums over a factor's components in the node's row, or adds them to it.
    """
    with w.loop("%begin", "%end") as n:
        factors, d_factors = factor_rows(w, sizes, n), factor_rows(w, sizes, n, "d_")
        upstream = w.rows("%upstream", n, sizes.output)
        with w.channels() as k:
            sums = no_sums(table)
            add_factor_gradients(w, table, factors, upstream, sums, k)
            for row, totals in zip(d_factors, sums, strict=True):
                finish(w, row, totals, k)


def factor_rows(w: Writer, sizes: Sizes, n: str, prefix: str = "") -> tuple[Rows, Rows]:
    """Rows of a node in both factors, or in what has their shape and names that begin with a prefix."""
    return w.rows(f"%{prefix}first", n, sizes.first), w.rows(f"%{prefix}second", n, sizes.second)


def load_factors(w: Writer, factors: tuple[Rows, Rows], k: str) -> tuple[list[str], list[str]]:
    """All components of a node in both factors, for the channels from k on."""
    return load_components(w, factors[0], k), load_components(w, factors[1], k)


def no_sums(table: ProductTable) -> tuple[Sums, Sums]:
    """Sums over the components of both factors before anything is added."""
    return dict.fromkeys(range(table.n_first)), dict.fromkeys(range(table.n_second))


def store_sums(w: Writer, row: Rows, sums: Sums, k: str) -> None:
    """Store a vector of channels in each component of a node, zeros where nothing was added."""
    for component, total in sums.items():
        w.store(total or w.zero(), w.at(row, component, k))


def add_factor_gradients(
    w: Writer, table: ProductTable, factors: tuple[Rows, Rows], upstream: Rows, sums: tuple[Sums, Sums], k: str
) -> None:
    """Add the gradients with respect to both factors to sums, which may be the same for both."""
    left, right = load_factors(w, factors, k)
    d_left, d_right = sums
    for a, b, (pull,) in pulled_pairs(w, table, (upstream,), k):
        d_left[a] = w.fused(pull, right[b], d_left[a])
        d_right[b] = w.fused(pull, left[a], d_right[b])


def pulled_pairs(
    w: Writer, table: ProductTable, upstreams: Sequence[Rows], k: str
) -> Iterator[tuple[int, int, list[str]]]:
    """Upstream gradients pulled back to each product of a component a and a component b of the factors.

    Yields:
        a, b and the sum over the outputs of each upstream gradient, which is written when its turn comes.
    """
    outputs = _by_output(table)
    pulls = [load_some(w, row, outputs, k) for row in upstreams]
    pairs: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for terms in outputs.values():
        for entry in terms:
            pairs[entry.a, entry.b].append(entry)
    for (a, b), terms in pairs.items():
        yield a, b, [weighted_sum(w, ((pull[entry.o], entry.value) for entry in terms)) for pull in pulls]


def _store_products(w: Writer, table: ProductTable, row: Rows, k: str, pair: Callable[[int, int], str]) -> None:
    """Store every output component as a sum of coefficients times products of pairs, each pair made once."""
    made = cache(pair)
    for output, terms in _by_output(table).items():
        total = weighted_sum(w, ((made(entry.a, entry.b), entry.value) for entry in terms))
        w.store(total, w.at(row, output, k))


def _by_output(table: ProductTable) -> dict[int, list[Entry]]:
    """The entries of each output component."""
    found: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries(table):
        found[entry.o].append(entry)
    return found
