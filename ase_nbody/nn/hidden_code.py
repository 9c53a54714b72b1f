"""The hidden layers of radial networks with slopes and their gradients, as LLVM code for one edge after another.

Each quantity comes with its slope by the distance, and its gradient with that by the slope. Rows have the width H of
the layers, which stands in the place of channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from ase_nbody.kernels.cpu import Code
from ase_nbody.kernels.llvm_writer import Shape, Writer
from ase_nbody.kernels.tables import ProductTable

_LN2 = {32: (0.693359375, -2.12194440e-4), 64: (6.93145751953125e-1, 1.42860682030941723212e-6)}  # Cephes: high, low
_TERMS = {32: 8, 64: 14}  # of the Taylor series of exp, |x| <= ln(2) / 2
_LARGEST = {32: 80.0, 64: 700.0}
_MANTISSA = {32: (23, 127), 64: (52, 1023)}

Pair = tuple[list[str], list[str]]  # vectors of a row, and of its slopes


@cache
def hidden_layers(n_bessel: int) -> Code:
    """Kernel: rows of the last hidden layer times the envelope, with slopes; what `hidden_gradients` needs is kept."""

    def write(table: ProductTable, shape: Shape) -> str:
        names = "types bessel d_bessel envelope d_envelope first first_bias second second_bias"
        names += " inputs d_inputs layer d_layer inner d_inner hidden d_hidden"
        w = Writer("kernel", shape, dict.fromkeys(names.split(), 0))
        width = shape.channels
        with w.loop("%begin", "%end") as e:
            kind = w.integer("%types", e)
            values, slopes = _vectors(w, w.scalars("%first_bias", kind, width)), [w.zero()] * _count(shape)
            matrix = w.scalars("%first", kind, n_bessel * width)
            factors = [w.scalars(name, e, n_bessel) for name in ("%bessel", "%d_bessel")]
            for n in range(n_bessel):
                row = _vectors(w, w.scalar_at(matrix, n * width))
                value, slope = (w.broadcast(w.load_scalar(w.scalar_at(f, n))) for f in factors)
                values = [w.fused(value, r, v) for r, v in zip(row, values, strict=True)]
                slopes = [w.fused(slope, r, s) for r, s in zip(row, slopes, strict=True)]
            _store(w, e, ("%inputs", "%d_inputs"), (values, slopes))
            _store(w, e, ("%layer", "%d_layer"), _silu(w, (values, slopes)))
            start = _vectors(w, "%second_bias"), [w.zero()] * _count(shape)
            inner = _times(w, e, ("%layer", "%d_layer"), "%second", start)
            _store(w, e, ("%inner", "%d_inner"), inner)
            values, slopes = _silu(w, inner)
            envelope, d_envelope = (
                w.broadcast(w.load_scalar(w.scalars(n, e, 1))) for n in ("%envelope", "%d_envelope")
            )
            hidden = [w.multiply(v, envelope) for v in values]
            d_hidden = [w.fused(s, envelope, w.multiply(v, d_envelope)) for v, s in zip(values, slopes, strict=True)]
            _store(w, e, ("%hidden", "%d_hidden"), (hidden, d_hidden))
        return w.text()

    return write


def hidden_gradients(table: ProductTable, shape: Shape) -> str:
    """Kernel: gradients by the inputs of both layers.

    They come from the changes of the hidden layer, and from its pulls, which times the tangent of the distance are the
    gradients by its slopes. The matrix of the second layer comes transposed.
    """
    names = "envelope d_envelope t_distances changes pulls inputs d_inputs inner d_inner second"
    w = Writer(
        "kernel", shape, dict.fromkeys([*names.split(), "to_inner", "to_d_inner", "to_inputs", "to_d_inputs"], 0)
    )
    with w.loop("%begin", "%end") as e:
        envelope, d_envelope, tangent = _by_edge(w, e, ("%envelope", "%d_envelope", "%t_distances"))
        changes, pulls = _load(w, e, ("%changes", "%pulls"))
        by_slope = [w.multiply(p, tangent) for p in pulls]
        upstream = (
            [w.fused(c, envelope, w.multiply(q, d_envelope)) for c, q in zip(changes, by_slope, strict=True)],
            [w.multiply(q, envelope) for q in by_slope],
        )
        upstream = _silu_gradients(w, _load(w, e, ("%inner", "%d_inner")), upstream)
        _store(w, e, ("%to_inner", "%to_d_inner"), upstream)
        zeros = [w.zero()] * _count(shape)
        upstream = _times(w, e, ("%to_inner", "%to_d_inner"), "%second", (zeros, zeros))
        upstream = _silu_gradients(w, _load(w, e, ("%inputs", "%d_inputs")), upstream)
        _store(w, e, ("%to_inputs", "%to_d_inputs"), upstream)
    return w.text()


@cache
def first_layer_gradients(n_bessel: int) -> Code:
    """Kernel: gradients by the first layer's matrix and bias of each type, from those by its inputs."""

    def write(table: ProductTable, shape: Shape) -> str:
        names = "offsets order bessel d_bessel to_inputs to_d_inputs d_first d_bias"
        w = Writer("kernel", shape, dict.fromkeys(names.split(), 0))
        width = shape.channels
        with w.loop("%begin", "%end") as kind:
            matrix, bias = w.scalars("%d_first", kind, n_bessel * width), w.scalars("%d_bias", kind, width)
            rows = [bias, *(w.scalar_at(matrix, n * width) for n in range(n_bessel))]
            for row in rows:
                _store_vectors(w, row, [w.zero()] * _count(shape))
            with w.edges("%offsets", kind) as place:
                e = w.integer("%order", place)
                values, slopes = _load(w, e, ("%to_inputs", "%to_d_inputs"))
                _store_vectors(w, bias, [w.add(v, b) for v, b in zip(values, _vectors(w, bias), strict=True)])
                factors = [w.scalars(name, e, n_bessel) for name in ("%bessel", "%d_bessel")]
                for n, row in enumerate(rows[1:]):
                    value, slope = (w.broadcast(w.load_scalar(w.scalar_at(f, n))) for f in factors)
                    terms = zip(values, slopes, _vectors(w, row), strict=True)
                    _store_vectors(w, row, [w.fused(v, value, w.fused(s, slope, r)) for v, s, r in terms])
        return w.text()

    return write


def _count(shape: Shape) -> int:
    return shape.channels // shape.width


def _vectors(w: Writer, row: str) -> list[str]:
    return [w.load(w.scalar_at(row, n * w.shape.width)) for n in range(_count(w.shape))]


def _by_edge(w: Writer, e: str, names: Sequence[str]) -> list[str]:
    """One number of an edge from each array, for the whole row."""
    return [w.broadcast(w.load_scalar(w.scalars(name, e, 1))) for name in names]


def _store_vectors(w: Writer, row: str, values: Sequence[str]) -> None:
    for n, value in enumerate(values):
        w.store(value, w.scalar_at(row, n * w.shape.width))


def _load(w: Writer, e: str, names: tuple[str, str]) -> Pair:
    values, slopes = (_vectors(w, w.scalars(name, e, w.shape.channels)) for name in names)
    return values, slopes


def _store(w: Writer, e: str, names: tuple[str, str], pair: Pair) -> None:
    for name, values in zip(names, pair, strict=True):
        _store_vectors(w, w.scalars(name, e, w.shape.channels), values)


def _times(w: Writer, e: str, names: tuple[str, str], matrix: str, start: Pair) -> Pair:
    """Rows of both arrays times a matrix (H, H), added to a start."""
    count, width = _count(w.shape), w.shape.channels
    factors = [w.scalars(name, e, width) for name in names]
    initial = [(w.shape.vector, value) for part in start for value in part]
    with w.carrying("0", str(width), initial) as loop:
        row = _vectors(w, w.scalars(matrix, loop.index, width))
        for number, factor in enumerate(factors):
            value = w.broadcast(w.load_scalar(w.offset(factor, loop.index)))
            sums = loop.values[number * count : (number + 1) * count]
            loop.next += [w.fused(value, r, s) for r, s in zip(row, sums, strict=True)]
    return loop.values[:count], loop.values[count:]


def _silu(w: Writer, inputs: Pair) -> Pair:
    """The function x s(x), s the sigmoid, without its gain, and its slope s + x s (1 - s) times that of the input."""
    values, slopes = [], []
    for x, d_x in zip(*inputs, strict=True):
        gate = _sigmoid(w, x)
        value = w.multiply(x, gate)
        values.append(value)
        slopes.append(w.multiply(w.fused(value, _one_minus(w, gate), gate), d_x))
    return values, slopes


def _silu_gradients(w: Writer, inputs: Pair, upstream: Pair) -> Pair:
    """Gradients by the inputs and their slopes from those by the results of `_silu`."""
    values, slopes = [], []
    for x, d_x, by_value, by_slope in zip(*inputs, *upstream, strict=True):
        gate = _sigmoid(w, x)
        value, rest = w.multiply(x, gate), _one_minus(w, gate)
        slope = w.fused(value, rest, gate)
        # (1 - s) (2 s + x s (1 - 2 s))
        twice = w.multiply(gate, w.literal(2.0))
        curvature = w.multiply(rest, w.fused(value, _one_minus(w, twice), twice))
        values.append(w.fused(by_value, slope, w.multiply(w.multiply(curvature, d_x), by_slope)))
        slopes.append(w.multiply(by_slope, slope))
    return values, slopes


def _one_minus(w: Writer, value: str) -> str:
    return w.fused(value, w.literal(-1.0), w.literal(1.0))


def _sigmoid(w: Writer, x: str) -> str:
    kind = w.shape.vector
    return w.fresh(
        f"fdiv {kind} {w.literal(1.0)}, {w.add(_exponential(w, w.multiply(x, w.literal(-1.0))), w.literal(1.0))}"
    )


def _exponential(w: Writer, x: str) -> str:
    """exp(x) as 2^n exp(f) with |f| <= ln(2) / 2; beyond the largest number it stays at that number's."""
    bits, kind = w.shape.bits, w.shape.vector
    x = _call(w, "minnum", x, w.literal(_LARGEST[bits]))
    x = _call(w, "maxnum", x, w.literal(-_LARGEST[bits]))
    n = _call(w, "floor", w.fused(x, w.literal(1.4426950408889634), w.literal(0.5)))
    for part in _LN2[bits]:  # in two steps, which must not be taken together
        x = _call(w, "fma", n, w.literal(-part), x)
    total = w.literal(1.0)
    for k in range(_TERMS[bits] - 1, 0, -1):
        total = w.fused(w.multiply(total, x), w.literal(1.0 / k), w.literal(1.0))
    whole = f"<{w.shape.width} x i{bits}>"
    mantissa, bias = (f"<{', '.join([f'i{bits} {c}'] * w.shape.width)}>" for c in _MANTISSA[bits])
    shifted = w.fresh(f"add {whole} {w.fresh(f'fptosi {kind} {n} to {whole}')}, {bias}")
    power = w.fresh(f"bitcast {whole} {w.fresh(f'shl {whole} {shifted}, {mantissa}')} to {kind}")
    return w.multiply(total, power)


def _call(w: Writer, function: str, *arguments: str) -> str:
    kind, name = w.shape.vector, f"llvm.{function}.v{w.shape.width}f{w.shape.bits}"
    declaration = f"declare {kind} @{name}({', '.join([kind] * len(arguments))})"
    if declaration not in w.declarations:
        w.declarations.append(declaration)
    return w.fresh(f"call {kind} @{name}({', '.join(f'{kind} {a}' for a in arguments)})")
