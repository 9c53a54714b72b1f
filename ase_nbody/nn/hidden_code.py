"""The hidden layers of radial networks with slopes and their gradients, as LLVM code for one edge after another.

Each quantity comes with its slope by the distance, and its gradient with that by the slope. Rows have the width H of
the layers, which stands in the place of channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.activations import silu, silu_curvature
from ase_nbody.compiler.cpu import Code
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import WRITE, Signature, indices, numbers
from ase_nbody.compiler.values import Index, ScalarPointer, Vector

Pair = tuple[list[Vector], list[Vector]]  # vectors of a row, and of its slopes


@cache
def hidden_layers(n_bessel: int) -> Code:
    """Kernel: rows of the last hidden layer times the envelope, with slopes; what `hidden_gradients` needs is kept."""

    def write(table: ProductTable, settings: KernelSettings) -> Builder:
        width = settings.channels
        basis = [*indices("types", "edges"), *numbers("bessel d_bessel", "edges", n_bessel)]
        first = [*numbers("first", "type pairs", n_bessel * width), *numbers("first_bias", "type pairs", width)]
        second = [*numbers("second", "matrix rows", width), *numbers("second_bias", "one", width)]
        layers = numbers("inputs d_inputs layer d_layer inner d_inner hidden d_hidden", "edges", width, WRITE)
        signature = Signature(basis, numbers("envelope d_envelope", "edges"), first, second, layers)
        w = Builder("hidden_layers", settings, signature)
        with w.loop(w.begin, w.end) as e:
            kind = w.integer("types", e)
            values, slopes = _vectors(w, w.row("first_bias", kind)), [w.zero()] * _count(settings)
            matrix = w.row("first", kind)
            factors = [w.row(name, e) for name in ("bessel", "d_bessel")]
            for n in range(n_bessel):
                row = _vectors(w, w.offset(matrix, n * width))
                value, slope = (w.broadcast(w.load_scalar(w.offset(f, n))) for f in factors)
                values = [w.fused(value, r, v) for r, v in zip(row, values, strict=True)]
                slopes = [w.fused(slope, r, s) for r, s in zip(row, slopes, strict=True)]
            _store(w, e, ("inputs", "d_inputs"), (values, slopes))
            _store(w, e, ("layer", "d_layer"), _silu(w, (values, slopes)))
            start = _vectors(w, w.numbers("second_bias")), [w.zero()] * _count(settings)
            inner = _times(w, e, ("layer", "d_layer"), "second", start)
            _store(w, e, ("inner", "d_inner"), inner)
            values, slopes = _silu(w, inner)
            envelope, d_envelope = _by_edge(w, e, ("envelope", "d_envelope"))
            hidden = [w.multiply(v, envelope) for v in values]
            d_hidden = [w.fused(s, envelope, w.multiply(v, d_envelope)) for v, s in zip(values, slopes, strict=True)]
            _store(w, e, ("hidden", "d_hidden"), (hidden, d_hidden))
        return w

    return write


def hidden_gradients(table: ProductTable, settings: KernelSettings) -> Builder:
    """Kernel: gradients by the inputs of both layers.

    They come from the cotangents of the hidden layer and their tangents. Cotangents times the tangent of the distance
    are the gradients by its slopes. The matrix of the second layer comes transposed.
    """
    width = settings.channels
    layers = numbers("t_cotangents cotangents inputs d_inputs inner d_inner", "edges", width)
    results = numbers("to_inner d_to_inner to_inputs d_to_inputs", "edges", width, WRITE)
    given = [*numbers("envelope d_envelope t_distances", "edges"), *layers, *numbers("second", "matrix rows", width)]
    w = Builder("hidden_gradients", settings, Signature(given, results))
    with w.loop(w.begin, w.end) as e:
        envelope, d_envelope, tangent = _by_edge(w, e, ("envelope", "d_envelope", "t_distances"))
        t_cotangents, cotangents = _load(w, e, ("t_cotangents", "cotangents"))
        by_slope = [w.multiply(p, tangent) for p in cotangents]
        upstream = (
            [w.fused(c, envelope, w.multiply(q, d_envelope)) for c, q in zip(t_cotangents, by_slope, strict=True)],
            [w.multiply(q, envelope) for q in by_slope],
        )
        upstream = _silu_gradients(w, _load(w, e, ("inner", "d_inner")), upstream)
        _store(w, e, ("to_inner", "d_to_inner"), upstream)
        zeros = [w.zero()] * _count(settings)
        upstream = _times(w, e, ("to_inner", "d_to_inner"), "second", (zeros, zeros))
        upstream = _silu_gradients(w, _load(w, e, ("inputs", "d_inputs")), upstream)
        _store(w, e, ("to_inputs", "d_to_inputs"), upstream)
    return w


@cache
def first_layer_gradients(n_bessel: int) -> Code:
    """Kernel: gradients by the first layer's matrix and bias of each type, from those by its inputs."""

    def write(table: ProductTable, settings: KernelSettings) -> Builder:
        width = settings.channels
        lists = [*indices("offsets", "type bounds"), *indices("order", "edges")]
        given = [*numbers("bessel d_bessel", "edges", n_bessel), *numbers("to_inputs d_to_inputs", "edges", width)]
        d_first = numbers("d_first", "type pairs", n_bessel * width, WRITE)
        d_bias = numbers("d_bias", "type pairs", width, WRITE)
        w = Builder("first_layer_gradients", settings, Signature(lists, given, d_first, d_bias))
        with w.loop(w.begin, w.end) as kind:
            matrix, bias = w.row("d_first", kind), w.row("d_bias", kind)
            rows = [bias, *(w.offset(matrix, n * width) for n in range(n_bessel))]
            for row in rows:
                _store_vectors(w, row, [w.zero()] * _count(settings))
            with w.edges("offsets", kind) as place:
                e = w.integer("order", place)
                values, slopes = _load(w, e, ("to_inputs", "d_to_inputs"))
                _store_vectors(w, bias, [w.add(v, b) for v, b in zip(values, _vectors(w, bias), strict=True)])
                factors = [w.row(name, e) for name in ("bessel", "d_bessel")]
                for n, row in enumerate(rows[1:]):
                    value, slope = (w.broadcast(w.load_scalar(w.offset(f, n))) for f in factors)
                    terms = zip(values, slopes, _vectors(w, row), strict=True)
                    _store_vectors(w, row, [w.fused(v, value, w.fused(s, slope, r)) for v, s, r in terms])
        return w

    return write


def _count(settings: KernelSettings) -> int:
    return settings.channels // settings.width


def _vectors(w: Builder, row: ScalarPointer) -> list[Vector]:
    return [w.load(w.offset(row, n * w.settings.width)) for n in range(_count(w.settings))]


def _by_edge(w: Builder, e: Index, names: Sequence[str]) -> list[Vector]:
    """One number of an edge from each array, for the whole row."""
    return [w.broadcast(w.load_scalar(w.row(name, e))) for name in names]


def _store_vectors(w: Builder, row: ScalarPointer, values: Sequence[Vector]) -> None:
    for n, value in enumerate(values):
        w.store(value, w.offset(row, n * w.settings.width))


def _load(w: Builder, e: Index, names: tuple[str, str]) -> Pair:
    values, slopes = (_vectors(w, w.row(name, e)) for name in names)
    return values, slopes


def _store(w: Builder, e: Index, names: tuple[str, str], pair: Pair) -> None:
    for name, values in zip(names, pair, strict=True):
        _store_vectors(w, w.row(name, e), values)


def _times(w: Builder, e: Index, names: tuple[str, str], matrix: str, start: Pair) -> Pair:
    """Rows of both arrays times a matrix (H, H), added to a start."""
    count, width = _count(w.settings), w.settings.channels
    factors = [w.row(name, e) for name in names]
    with w.carrying(0, width, [value for vectors in start for value in vectors]) as loop:
        row = _vectors(w, w.row(matrix, loop.index))
        for number, factor in enumerate(factors):
            value = w.broadcast(w.load_scalar(w.offset(factor, loop.index)))
            sums = loop.values[number * count : (number + 1) * count]
            loop.next += [w.fused(value, r, s) for r, s in zip(row, sums, strict=True)]
    return loop.values[:count], loop.values[count:]


def _silu(w: Builder, inputs: Pair) -> Pair:
    """The function x s(x), s the sigmoid, without its gain, and its slope s + x s (1 - s) times that of the input."""
    values, slopes = [], []
    for x, d_x in zip(*inputs, strict=True):
        value, slope = silu(w, x)
        values.append(value)
        slopes.append(w.multiply(slope, d_x))
    return values, slopes


def _silu_gradients(w: Builder, inputs: Pair, upstream: Pair) -> Pair:
    """Gradients by the inputs and their slopes from those by the results of `_silu`."""
    values, slopes = [], []
    for x, d_x, by_value, by_slope in zip(*inputs, *upstream, strict=True):
        _, slope = silu(w, x)
        values.append(w.fused(by_value, slope, w.multiply(w.multiply(silu_curvature(w, x), d_x), by_slope)))
        slopes.append(w.multiply(by_slope, slope))
    return values, slopes
