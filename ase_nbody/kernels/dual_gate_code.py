"""LLVM code of gate nonlinearities along tangents, and of the gradients of scalars of values and tangents."""

from __future__ import annotations

from ase_nbody.compiler.activations import activation, curvature
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import WRITE, Signature
from ase_nbody.compiler.values import Index, ScalarPointer, Vector
from ase_nbody.kernels.gate_code import (
    Functions,
    GatedShape,
    Place,
    common_settings,
    component_pointers,
    gate_arguments,
    places_of,
    state_arguments,
    vectors_of_columns,
)


def gate_tangents(name: str, settings: KernelSettings, shape: GatedShape, functions: Functions) -> Builder:
    """Tangents of `gate_code.gates` for tangents of state and gates, for nodes begin..end."""
    places = places_of(shape)
    given = [*state_arguments("rows", places), *gate_arguments("gates", places)]
    given += [*state_arguments("t_rows", places), *gate_arguments("t_gates", places)]
    w = Builder(name, common_settings(settings, places), Signature(given, state_arguments("out", places, WRITE)))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            rows, t_rows, out = (w.rows(a, n).pointers[place.number] for a in ("rows", "t_rows", "out"))
            with vectors_of_columns(w, place) as k:
                x, t_x = (w.load(_argument(w, n, place, k, prefix)) for prefix in ("", "t_"))
                value, slope = (w.multiply(v, w.vector(gain)) for v in activation(w, function, x))
                t_value = w.multiply(slope, t_x)
                for row, t_row, target in component_pointers(w, place, k, rows, t_rows, out):
                    t_out = t_value
                    if place.gate is not None:
                        t_out = w.fused(w.load(t_row), value, w.multiply(w.load(row), t_value))
                    w.store(t_out, target)
    return w


def gate_gradient_tangents(name: str, settings: KernelSettings, shape: GatedShape, functions: Functions) -> Builder:
    """Tangents of `gate_code.gate_gradients` for tangents of state, gates and upstream gradient."""
    places = places_of(shape)
    given = [*state_arguments("rows", places), *gate_arguments("gates", places), *state_arguments("upstream", places)]
    given += [*state_arguments("t_rows", places), *gate_arguments("t_gates", places)]
    given += state_arguments("t_upstream", places)
    results = [*state_arguments("d_rows", places, WRITE), *gate_arguments("d_gates", places, WRITE)]
    w = Builder(name, common_settings(settings, places), Signature(given, results))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            with vectors_of_columns(w, place) as k:
                x, t_x = (w.load(_argument(w, n, place, k, prefix)) for prefix in ("", "t_"))
                value, slope = (w.multiply(v, w.vector(gain)) for v in activation(w, function, x))
                curved = w.multiply(w.multiply(curvature(w, function, x), w.vector(gain)), t_x)
                if place.gate is not None:
                    _gated_gradient_tangents(w, n, place, k, (value, slope, curved, w.multiply(slope, t_x)))
                    continue
                upstream, t_upstream = (
                    w.load(w.offset(w.rows(a, n).pointers[place.number], k)) for a in ("upstream", "t_upstream")
                )
                target = w.offset(w.rows("d_rows", n).pointers[place.number], k)
                w.store(w.fused(t_upstream, slope, w.multiply(upstream, curved)), target)
    return w


def _argument(w: Builder, n: Index, place: Place, k: Index, prefix: str) -> ScalarPointer:
    """Where the argument of a block's function stands, or its tangent or gradient: the block itself, or its gate."""
    if place.gate is None:
        return w.offset(w.rows(f"{prefix}rows", n).pointers[place.number], k)
    return w.offset(w.offset(w.rows(f"{prefix}gates", n).pointers[0], place.gate), k)


def _gated_gradient_tangents(
    w: Builder, n: Index, place: Place, k: Index, function: tuple[Vector, Vector, Vector, Vector]
) -> None:
    """Of a block with gates, whose function has a value, a slope, and tangents of slope and value."""
    value, slope, t_slope, t_value = function
    names = "rows", "t_rows", "upstream", "t_upstream", "d_rows"
    pointers = [w.rows(a, n).pointers[place.number] for a in names]
    cotangent: Vector | None = None  # of the function's value
    t_cotangent: Vector | None = None
    for *given, target in component_pointers(w, place, k, *pointers):
        row, t_row, upstream, t_upstream = (w.load(pointer) for pointer in given)
        w.store(w.fused(t_upstream, value, w.multiply(upstream, t_value)), target)
        t_cotangent = w.fused(t_upstream, row, w.fused(upstream, t_row, t_cotangent))
        cotangent = w.fused(upstream, row, cotangent)
    assert cotangent is not None and t_cotangent is not None
    w.store(w.fused(t_cotangent, slope, w.multiply(cotangent, t_slope)), _argument(w, n, place, k, "d_"))
