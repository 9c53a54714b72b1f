"""Functions of vectors of numbers in LLVM code: silu, tanh, mish and the sigmoid with their slopes."""

from __future__ import annotations

from typing import Literal

from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.values import Value, Vector

ActivationName = Literal["silu", "tanh", "mish", "sigmoid"]

_LN2 = {32: (0.693359375, -2.12194440e-4), 64: (6.93145751953125e-1, 1.42860682030941723212e-6)}  # Cephes: high, low
_TERMS = {32: 8, 64: 14}  # of the Taylor series of exp, |x| <= ln(2) / 2
_LARGEST = {32: 80.0, 64: 700.0}
_MANTISSA = {32: (23, 127), 64: (52, 1023)}


def activation(w: Builder, name: ActivationName, x: Vector) -> tuple[Vector, Vector]:
    """Value and slope of a function."""
    return {"silu": silu, "tanh": _tanh, "mish": _mish, "sigmoid": _sigmoid}[name](w, x)


def silu(w: Builder, x: Vector) -> tuple[Vector, Vector]:
    """The function x s(x), s the sigmoid, and its slope s + x s (1 - s)."""
    gate = sigmoid(w, x)
    value = w.multiply(x, gate)
    return value, w.fused(value, one_minus(w, gate), gate)


def curvature(w: Builder, name: ActivationName, x: Vector) -> Vector:
    """Second derivative of a function."""
    return {"silu": silu_curvature, "tanh": _tanh_curvature, "mish": _mish_curvature}[name](w, x)


def silu_curvature(w: Builder, x: Vector) -> Vector:
    """(1 - s) (2 s + x s (1 - 2 s))."""
    gate = sigmoid(w, x)
    twice = w.multiply(gate, w.vector(2.0))
    return w.multiply(one_minus(w, gate), w.fused(w.multiply(x, gate), one_minus(w, twice), twice))


def _tanh(w: Builder, x: Vector) -> tuple[Vector, Vector]:
    """2 s(2 x) - 1 and its slope 1 - tanh^2."""
    twice = w.multiply(sigmoid(w, w.multiply(x, w.vector(2.0))), w.vector(2.0))
    value = w.add(twice, w.vector(-1.0))
    return value, one_minus(w, w.multiply(value, value))


def _tanh_curvature(w: Builder, x: Vector) -> Vector:
    """-2 tanh (1 - tanh^2)."""
    value, slope = _tanh(w, x)
    return w.multiply(w.multiply(value, w.vector(-2.0)), slope)


def _mish(w: Builder, x: Vector) -> tuple[Vector, Vector]:
    """The function x tanh(ln(1 + e^x)) = x t and its slope t + x s (1 - t^2)."""
    t = _tanh_of_softplus(w, x)
    curved = w.multiply(w.multiply(x, sigmoid(w, x)), one_minus(w, w.multiply(t, t)))
    return w.multiply(x, t), w.add(t, curved)


def _mish_curvature(w: Builder, x: Vector) -> Vector:
    """With the letters of `_mish`: s (1 - t^2) (2 + x (1 - s - 2 t s))."""
    t, gate = _tanh_of_softplus(w, x), sigmoid(w, x)
    inner = w.fused(w.multiply(t, gate), w.vector(-2.0), one_minus(w, gate))
    slope = w.multiply(gate, one_minus(w, w.multiply(t, t)))
    return w.multiply(slope, w.fused(x, inner, w.vector(2.0)))


def _tanh_of_softplus(w: Builder, x: Vector) -> Vector:
    """tanh(ln(1 + e^x)) = (q^2 - 1) / (q^2 + 1), q = 1 + e^x.

    Written with e^-|x|, since e^2x has no place among single-precision numbers from x = 44 on.
    """
    small = exponential(w, w.multiply(w.intrinsic("fabs", x), w.vector(-1.0)))  # e^-|x|
    above = w.add(w.multiply(small, w.vector(2.0)), w.vector(1.0))  # for x > 0: t = above / (above + 2 small^2)
    t_above = w.divide(above, w.fused(w.multiply(small, small), w.vector(2.0), above))
    below = w.multiply(small, w.add(small, w.vector(2.0)))  # for x < 0: t = below / (below + 2)
    t_below = w.divide(below, w.add(below, w.vector(2.0)))
    return w.positive_or(x, t_above, t_below)


def _sigmoid(w: Builder, x: Vector) -> tuple[Vector, Vector]:
    """The sigmoid s and its slope s (1 - s)."""
    value = sigmoid(w, x)
    return value, w.multiply(value, one_minus(w, value))


def one_minus(w: Builder, value: Vector) -> Vector:
    """1 - value."""
    return w.fused(value, w.vector(-1.0), w.vector(1.0))


def sigmoid(w: Builder, x: Vector) -> Vector:
    """1 / (1 + exp(-x))."""
    return w.divide(w.vector(1.0), w.add(exponential(w, w.multiply(x, w.vector(-1.0))), w.vector(1.0)))


def exponential(w: Builder, x: Vector) -> Vector:
    """exp(x) as 2^n exp(f) with |f| <= ln(2) / 2; beyond the largest number it stays at that number's."""
    bits, kind = w.settings.bits, w.settings.vector
    x = w.intrinsic("minnum", x, w.vector(_LARGEST[bits]))
    x = w.intrinsic("maxnum", x, w.vector(-_LARGEST[bits]))
    n = w.intrinsic("floor", w.fused(x, w.vector(1.4426950408889634), w.vector(0.5)))
    for part in _LN2[bits]:  # in two steps, which must not be taken together
        x = w.intrinsic("fma", n, w.vector(-part), x)
    total = w.vector(1.0)
    for k in range(_TERMS[bits] - 1, 0, -1):
        total = w.fused(w.multiply(total, x), w.vector(1.0 / k), w.vector(1.0))
    whole = f"<{w.settings.width} x i{bits}>"
    mantissa, bias = (f"<{', '.join([f'i{bits} {c}'] * w.settings.width)}>" for c in _MANTISSA[bits])
    exponent = w.expression(Value, f"fptosi {kind} {n} to {whole}")
    shifted = w.expression(Value, f"shl {whole} {w.expression(Value, f'add {whole} {exponent}, {bias}')}, {mantissa}")
    return w.multiply(total, w.expression(Vector, f"bitcast {whole} {shifted} to {kind}"))
