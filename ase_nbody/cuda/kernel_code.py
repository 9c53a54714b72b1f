"""The cuda back end's kernels as Triton source, written out for one product table and number of channels.

One program runs over one node and a block of channels. The edge kernels loop over the edges of a receiver, whose row of
the output stays in registers: the messages are summed there, or their upstream gradient is loaded once. Coefficients of
an edge are summed over its harmonics first, coupling[a, o] = sum_b c[a, b, o] Y[b], once for all channels of a thread.
Gradients of states are written per edge and summed by `sums` in the order of the senders: no atomics, and a
fixed order of addition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from ase_nbody.algebra.tables import Entry, ProductTable, entries
from ase_nbody.cuda.triton_writer import Layout, Writer
from ase_nbody.cuda.weights import READ, Weights

Key = TypeVar("Key", bound=Hashable)
Coupled = tuple[int, list[tuple[int, list[Entry]]]]  # a component of the first factor; its outputs, each with entries

_PLAIN = "states harmonics"
_TANGENTS = "t_states t_harmonics t_radial"
_GRADIENTS = "d_states d_harmonics"


@dataclass(frozen=True)
class Part:
    """The paths of one launch: a table whose outputs do not fit in registers takes several launches in turn.

    Attributes:
        paths: their numbers.
        first: sums over all paths are written; later parts add to them.
    """

    paths: tuple[int, ...]
    first: bool = True


def messages(table: ProductTable, part: Part, layout: Layout, weights: Weights = READ) -> str:
    """dS/dG: messages summed over the children of each receiver."""
    w = Writer("messages", f"offsets senders {_PLAIN} {weights.arrays} summed", layout)
    for a, couplings in _message_components(w, table, part, ("",), weights):
        w.line(f"wx = w * x{a}")
        for o, terms in couplings:
            w.add(f"s{o}", f"({_coupling(terms, 'y')}) * wx")
    return w.text()


def tangent_messages(table: ProductTable, part: Part, layout: Layout) -> str:
    """Tangents of `messages` for tangents of states, harmonics and radial weights."""
    w = Writer("tangent_messages", f"offsets senders {_PLAIN} radial {_TANGENTS} summed", layout)
    for a, couplings in _message_components(w, table, part, ("", "t_"), READ):
        w.line(f"wx = w * x{a}")
        w.line(f"t_wx = w * t_x{a} + t_w * x{a}")
        for o, terms in couplings:
            w.add(f"s{o}", f"({_coupling(terms, 'y')}) * t_wx + ({_coupling(terms, 't_y')}) * wx")
    return w.text()


def gradients(table: ProductTable, part: Part, layout: Layout, weights: Weights = READ) -> str:
    """dS/dpsi of each edge, dS/dY of each edge and block of channels, and dS/dR or the gradient by spline places."""
    arrays = f"offsets senders {_PLAIN} {weights.arrays} upstream {_GRADIENTS} {weights.gradient}"
    w = Writer("gradients", arrays, layout)
    for a, couplings in _gradient_components(w, table, part, ("",), weights):
        w.line(f"pulled = {_pulled(couplings, 'y')}")
        w.add(f"dx{a}", "pulled * w")
        w.add("dw", f"pulled * x{a}")
        w.line(f"wx{a} = w * x{a}")
    return w.text()


def tangent_gradients(table: ProductTable, part: Part, layout: Layout) -> str:
    """Tangents of `gradients` for tangents of states, harmonics and radial weights."""
    arrays = f"offsets senders {_PLAIN} radial upstream {_TANGENTS} {_GRADIENTS} d_radial"
    w = Writer("tangent_gradients", arrays, layout)
    for a, couplings in _gradient_components(w, table, part, ("", "t_"), READ):
        w.line(f"pulled = {_pulled(couplings, 'y')}")
        w.line(f"t_pulled = {_pulled(couplings, 't_y')}")
        w.add(f"dx{a}", "t_pulled * w + pulled * t_w")
        w.add("dw", f"t_pulled * x{a} + pulled * t_x{a}")
        w.line(f"wx{a} = w * t_x{a} + t_w * x{a}")
    return w.text()


def _message_components(
    w: Writer, table: ProductTable, part: Part, prefixes: Sequence[str], weights: Weights
) -> Iterator[Coupled]:
    """Write what stands around the components of an edge's state, where sums s0, s1, ... are added to.

    Yields:
        for each path and component its number and its couplings, see `_couplings`, when its lines are to be written.
    """
    outputs = _outputs(table, part)
    for o in outputs:
        w.zero(f"s{o}", "states")
    with w.loop("e"):
        for prefix in prefixes:
            _load_edge(w, table, prefix)
            weights.begin(w, table, prefix)
        for path in part.paths:
            for prefix in prefixes:
                weights.load(w, path, prefix)
            yield from _couplings(table, path)
    w.row("summed", "n", table.n_output)
    for o in outputs:
        w.store(f"s{o}", "summed", o)


def _gradient_components(
    w: Writer, table: ProductTable, part: Part, prefixes: Sequence[str], weights: Weights
) -> Iterator[Coupled]:
    """As `_message_components`, for gradients dx0, dx1, ..., dw of the path, and weighted states wx0, wx1, ..."""
    w.row("upstream", "n", table.n_output)
    for o in _outputs(table, part):
        w.load(f"g{o}", "upstream", o)
    with w.loop("e"):
        for prefix in prefixes:
            _load_edge(w, table, prefix)
            weights.begin(w, table, prefix)
        weights.begin_gradient(w, table)
        _begin_gradients(w, table, part)
        for path in part.paths:
            for prefix in prefixes:
                weights.load(w, path, prefix)
            w.begin("dw")
            yield from _couplings(table, path)
            _pull_harmonics(w, table, path)
            weights.accumulate_gradient(w, path)
        weights.store_gradient(w, part.first)
        _store_gradients(w, table, part)


def _load_edge(w: Writer, table: ProductTable, prefix: str) -> None:
    """Name the sender's state x0, x1, ... and the harmonics y0, y1, ... of edge e."""
    w.row(f"{prefix}states", "tl.load(senders + e)", table.n_first)
    for b in range(table.n_second):
        w.line(f"{prefix}y{b} = tl.load({prefix}harmonics + e * {table.n_second} + {b})")
    for a in range(table.n_first):
        w.load(f"{prefix}x{a}", f"{prefix}states", a)


def _begin_gradients(w: Writer, table: ProductTable, part: Part) -> None:
    """Begin dx0, dx1, ... at what earlier parts left, or at zero, and dy0, dy1, ... at zero."""
    w.row("d_states", "e", table.n_first)
    w.line(f"d_harmonics_row = d_harmonics + (e * {w.layout.blocks} + tl.program_id(1)) * {table.n_second}")
    for a in range(table.n_first):
        w.zero(f"dx{a}", "states")
        if not part.first:
            w.load(f"dx{a}", "d_states", a)
    for b in range(table.n_second):
        w.zero(f"dy{b}", "states")


def _store_gradients(w: Writer, table: ProductTable, part: Part) -> None:
    for a in range(table.n_first):
        w.store(f"dx{a}", "d_states", a)
    for b in range(table.n_second):
        before = "" if part.first else f" + tl.load(d_harmonics_row + {b})"
        w.line(f"tl.store(d_harmonics_row + {b}, tl.sum(dy{b}, axis=0){before})")


def _coupling(terms: Iterable[Entry], harmonics: str) -> str:
    return " + ".join(f"{t.value!r} * {harmonics}{t.b}" for t in terms)


def _pulled(couplings: Iterable[tuple[int, list[Entry]]], harmonics: str) -> str:
    """Upstream gradient pulled back through the couplings of one component."""
    return " + ".join(f"({_coupling(terms, harmonics)}) * g{o}" for o, terms in couplings)


def _pull_harmonics(w: Writer, table: ProductTable, path: int) -> None:
    """Add to dy the upstream gradient times the weighted states wx.

    The sum over components of the state is the inner one: sums over components of the upstream gradient are the same
    for all edges, so the compiler would make every one of them before the loop and run out of registers.
    """
    for (b, o), terms in _grouped(_of_path(table, path), lambda entry: (entry.b, entry.o)):
        w.add(f"dy{b}", f"({' + '.join(f'{t.value!r} * wx{t.a}' for t in terms)}) * g{o}")


def sums(layout: Layout) -> str:
    """Rows of one number per channel and edge, summed over the edges of each node."""
    w = Writer("sums", "offsets order rows summed", layout)
    w.zero("total", "rows")
    with w.loop("i"):
        w.row("rows", "tl.load(order + i)", 1)
        w.load("row", "rows", 0)
        w.add("total", "row")
    w.row("summed", "n", 1)
    w.store("total", "summed", 0)
    return w.text()


def products(table: ProductTable, layout: Layout) -> str:
    """Channel-wise product of the states of each node."""
    w = Writer("products", "first second product", layout)
    _load_factors(w, table, "")
    _store_products(w, table, lambda a, b: f"x{a} * y{b}")
    return w.text()


def product_tangents(table: ProductTable, layout: Layout) -> str:
    """Tangents of `products` for tangents of both factors."""
    w = Writer("product_tangents", "first second t_first t_second product", layout)
    _load_factors(w, table, "")
    _load_factors(w, table, "t_")
    _store_products(w, table, lambda a, b: f"t_x{a} * y{b} + x{a} * t_y{b}")
    return w.text()


def product_gradients(table: ProductTable, layout: Layout) -> str:
    """Gradients of `products` with respect to both factors."""
    w = Writer("product_gradients", "first second upstream d_first d_second", layout)
    _load_factors(w, table, "")
    w.row("upstream", "n", table.n_output)
    for name, count in (("dx", table.n_first), ("dy", table.n_second)):
        for component in range(count):
            w.zero(f"{name}{component}", "first")
    for _, block in _grouped(entries(table), lambda entry: _irreps(table, entry)):
        for o in sorted({entry.o for entry in block}):
            w.load(f"g{o}", "upstream", o)
        for (a, b), terms in _grouped(block, lambda entry: (entry.a, entry.b)):
            w.line(f"pulled = {' + '.join(f'{t.value!r} * g{t.o}' for t in terms)}")
            w.add(f"dx{a}", f"pulled * y{b}")
            w.add(f"dy{b}", f"pulled * x{a}")
    for name, array, count in (("dx", "d_first", table.n_first), ("dy", "d_second", table.n_second)):
        w.row(array, "n", count)
        for component in range(count):
            w.store(f"{name}{component}", array, component)
    return w.text()


def _load_factors(w: Writer, table: ProductTable, prefix: str) -> None:
    """Name the components of the factors x0, x1, ... and y0, y1, ..."""
    for name, array, count in (("x", "first", table.n_first), ("y", "second", table.n_second)):
        w.row(prefix + array, "n", count)
        for component in range(count):
            w.load(f"{prefix}{name}{component}", prefix + array, component)


def _store_products(w: Writer, table: ProductTable, pair: Callable[[int, int], str]) -> None:
    """Store every output as a sum of coefficients times pairs, one pair of irreps after another.

    Each pair is made once, for all outputs of its irreps, and only these outputs are held meanwhile.
    """
    w.row("product", "n", table.n_output)
    for _, block in _grouped(entries(table), lambda entry: _irreps(table, entry)):
        for (a, b), terms in _grouped(block, lambda entry: (entry.a, entry.b)):
            w.line(f"pair = {pair(a, b)}")
            for t in terms:
                w.add(f"p{t.o}", f"{t.value!r} * pair")
        for o in sorted({entry.o for entry in block}):
            w.store(f"p{o}", "product", o)


def _irreps(table: ProductTable, entry: Entry) -> tuple[int, int]:
    return table.paths[entry.path].first, table.paths[entry.path].second


def _outputs(table: ProductTable, part: Part) -> list[int]:
    return [o for path in part.paths for o in table.paths[path].outputs]


@cache
def _by_path(table: ProductTable) -> dict[int, list[Entry]]:
    return dict(_grouped(entries(table), lambda entry: entry.path))


def _of_path(table: ProductTable, path: int) -> list[Entry]:
    return _by_path(table)[path]


def _couplings(table: ProductTable, path: int) -> list[Coupled]:
    """For each component a of the first factor its outputs o, each with the entries of coupling (a, o)."""
    by_first = _grouped(_of_path(table, path), lambda entry: entry.a)
    return [(a, _grouped(found, lambda entry: entry.o)) for a, found in by_first]


def _grouped(found: Iterable[Entry], key: Callable[[Entry], Key]) -> list[tuple[Key, list[Entry]]]:
    groups: dict[Key, list[Entry]] = defaultdict(list)
    for entry in found:
        groups[key(entry)].append(entry)
    return list(groups.items())
