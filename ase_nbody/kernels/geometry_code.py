"""LLVM code of the geometry of edges: what messages need of relative vectors, and forces from their gradients.

Geometry keeps, for each receiver, only the edges within the cutoff, at the front of the receiver's range. Row `e` of
`functions` holds what is known about such an edge, see `EdgeRow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_nbody.kernels.llvm_writer import Shape, Writer
from ase_nbody.kernels.splines import Grid, basis_polynomials


@dataclass(frozen=True)
class EdgeRow:
    """Where in the row of an edge things stand.

    Attributes:
        harmonics: number of harmonics; they come first.
        degree: of the splines.
    """

    harmonics: int
    degree: int

    @property
    def basis(self) -> int:
        """Values of the degree + 1 splines."""
        return self.harmonics

    @property
    def slopes(self) -> int:
        """Slopes of the splines, 1/angstrom."""
        return self.basis + self.degree + 1

    @property
    def unit(self) -> int:
        """Unit vector, then the distance."""
        return self.slopes + self.degree + 1

    @property
    def length(self) -> int:
        """Numbers in all."""
        return self.unit + 4


def geometry(name: str, shape: Shape, grid: Grid, steps: Sequence[NDArray[np.float64]], n_types: int) -> Writer:
    """Distances, harmonics and spline values of the edges of receivers begin..end.

    Args:
        name: of the function, of arguments positions (N, 3), cells (B, 3, 3), structure (N,), types (N,), shifts
            (E, 3), offsets (N + 1,), senders (E,), tables (n_types^2,), and what it writes: ends (N,), slots (E,),
            children (E,), rows (E,), functions (E, row).
        shape: dtype.
        grid: of the splines.
        steps: from harmonics of one degree and a unit vector to the next degree, see math.harmonics.
        n_types: elements of the network.

    `ends` are one past the last kept edge of each receiver, `slots` where each edge is kept, or -1; `children` the
    senders and `rows` the first table rows of kept edges; `tables` the first row of each pair of types.
    """
    names = "positions cells structure types shifts offsets senders tables ends slots children rows functions"
    w = Writer(name, shape, dict.fromkeys(names.split(), 0))
    scalar = shape.scalar
    row = EdgeRow(sum(step.shape[1] for step in steps) + 1, grid.degree)
    with w.loop("%begin", "%end") as n:
        own = w.scalars("%positions", n, 3)
        cell = w.scalars("%cells", w.integer("%structure", n), 9)
        own_type = w.fresh(f"mul i64 {w.integer('%types', n)}, {n_types}")
        place = w.integer("%offsets", n)
        w.store_integer(place, "%ends", n)
        with w.edges("%offsets", n) as e:
            sender = w.integer("%senders", e)
            vector = _edge_vector(w, own, w.scalars("%positions", sender, 3), cell, w.scalars("%shifts", e, 3))
            squared = _dot(w, vector, vector)
            w.store_integer("-1", "%slots", e)
            with w.when(w.fresh(f"fcmp olt {scalar} {squared}, {w.literal(grid.cutoff**2, 'scalar')}")):
                kept = w.integer("%ends", n)
                w.store_integer(w.fresh(f"add i64 {kept}, 1"), "%ends", n)
                w.store_integer(kept, "%slots", e)
                w.store_integer(sender, "%children", kept)
                pair = w.fresh(f"add i64 {own_type}, {w.integer('%types', sender)}")
                out = w.scalars("%functions", kept, row.length)
                interval = _distance_functions(w, grid, squared, vector, row, out)
                w.store_integer(w.fresh(f"add i64 {w.integer('%tables', pair)}, {interval}"), "%rows", kept)
                _harmonics(w, steps, row, out)
    w.declarations.append(f"declare {scalar} @llvm.sqrt.f{shape.bits}({scalar})")
    return w


def _edge_vector(w: Writer, own: str, other: str, cell: str, shift: str) -> list[str]:
    """r_sender - r_receiver + shift @ cell."""
    scalar = w.shape.scalar
    shifts = [w.load_scalar(w.scalar_at(shift, i)) for i in range(3)]
    vector = []
    for x in range(3):
        here, there = (w.load_scalar(w.scalar_at(p, x)) for p in (own, other))
        total = w.fresh(f"fsub {scalar} {there}, {here}")
        for i in range(3):
            total = w.fused(shifts[i], w.load_scalar(w.scalar_at(cell, 3 * i + x)), total, scalar)
        vector.append(total)
    return vector


def _dot(w: Writer, a: Sequence[str], b: Sequence[str]) -> str:
    total = None
    for x, y in zip(a, b, strict=True):
        total = w.fused(x, y, total, w.shape.scalar)
    assert total is not None
    return total


def _distance_functions(w: Writer, grid: Grid, squared: str, vector: list[str], row: EdgeRow, out: str) -> str:
    """Store unit vector, distance and splines of an edge; give its interval."""
    scalar = w.shape.scalar
    distance = w.fresh(f"call {scalar} @llvm.sqrt.f{w.shape.bits}({scalar} {squared})")
    inverse = w.fresh(f"fdiv {scalar} {w.literal(1.0, 'scalar')}, {distance}")
    for axis, component in enumerate(vector):
        w.store_scalar(w.multiply(component, inverse, scalar), w.scalar_at(out, row.unit + axis))
    w.store_scalar(distance, w.scalar_at(out, row.unit + 3))
    x = w.multiply(distance, w.literal(1 / grid.width, "scalar"), scalar)
    whole = w.fresh(f"fptosi {scalar} {x} to i64")
    inside = w.fresh(f"icmp slt i64 {whole}, {grid.intervals}")  # rounding may reach the end
    interval = w.fresh(f"select i1 {inside}, i64 {whole}, i64 {grid.intervals - 1}")
    t = w.fresh(f"fsub {scalar} {x}, {w.fresh(f'sitofp i64 {interval} to {scalar}')}")
    for number, powers in enumerate(basis_polynomials(grid.degree)):
        slopes = [p * k / grid.width for k, p in enumerate(powers)][1:]
        w.store_scalar(_polynomial(w, powers, t), w.scalar_at(out, row.basis + number))
        w.store_scalar(_polynomial(w, slopes, t), w.scalar_at(out, row.slopes + number))
    return interval


def _polynomial(w: Writer, powers: Sequence[float], t: str) -> str:
    """Horner's rule, lowest power first."""
    total = w.literal(powers[-1], "scalar")
    for power in reversed(powers[:-1]):
        total = w.fused(total, t, w.literal(power, "scalar"), w.shape.scalar)
    return total


def _harmonics(w: Writer, steps: Sequence[NDArray[np.float64]], row: EdgeRow, out: str) -> None:
    """Store all harmonics, each degree from the one below."""
    scalar = w.shape.scalar
    units = [w.load_scalar(w.scalar_at(out, row.unit + x)) for x in range(3)]
    below = [w.literal(1.0, "scalar")]
    w.store_scalar(below[0], w.scalar_at(out, 0))
    for degree, step in enumerate(steps, start=1):
        outer = [w.multiply(a, u, scalar) for a in below for u in units]
        below = [_combination(w, column, outer) for column in step.T]
        for m, value in enumerate(below):
            w.store_scalar(value, w.scalar_at(out, degree**2 + m))


def _combination(w: Writer, coefficients: Sequence[float], values: Sequence[str]) -> str:
    total = None
    for coefficient, value in zip(coefficients, values, strict=True):
        if coefficient != 0.0:
            total = w.fused(value, w.literal(coefficient, "scalar"), total, w.shape.scalar)
    return w.literal(0.0, "scalar") if total is None else total


def vector_gradients(name: str, shape: Shape, degree: int, steps: Sequence[NDArray[np.float64]]) -> Writer:
    """Gradients by the vectors of the edges of receivers begin..end, and their sums over each receiver.

    Arguments: offsets, ends, functions, d_functions, and what it writes: d_vectors (E, 3), d_positions (N, 3), minus
    the sums over a receiver's edges, and d_strains (N, 3, 3), the sums of gradient times vector.
    """
    names = "offsets ends functions d_functions d_vectors d_positions d_strains"
    w = Writer(name, shape, dict.fromkeys(names.split(), 0))
    scalar = shape.scalar
    row = EdgeRow(sum(step.shape[1] for step in steps) + 1, degree)
    with w.loop("%begin", "%end") as n:
        start = [(scalar, w.literal(0.0, "scalar"))] * 12
        with w.carrying(w.integer("%offsets", n), w.integer("%ends", n), start) as loop:
            functions = w.scalars("%functions", loop.index, row.length)
            pulled = w.scalars("%d_functions", loop.index, row.harmonics + 1)
            gradient, vector = _vector_gradient(w, steps, row, functions, pulled)
            out = w.scalars("%d_vectors", loop.index, 3)
            for x in range(3):
                w.store_scalar(gradient[x], w.scalar_at(out, x))
            sums = [w.add(s, g, scalar) for s, g in zip(loop.values[:3], gradient, strict=True)]
            outer = [(g, v) for g in gradient for v in vector]
            loop.next = [*sums, *(w.fused(g, v, s, scalar) for (g, v), s in zip(outer, loop.values[3:], strict=True))]
        forces, strains = w.scalars("%d_positions", n, 3), w.scalars("%d_strains", n, 9)
        for x in range(3):
            w.store_scalar(w.fresh(f"fneg {scalar} {loop.values[x]}"), w.scalar_at(forces, x))
        for x in range(9):
            w.store_scalar(loop.values[3 + x], w.scalar_at(strains, x))
    return w


def _vector_gradient(
    w: Writer, steps: Sequence[NDArray[np.float64]], row: EdgeRow, functions: str, pulled: str
) -> tuple[list[str], list[str]]:
    """Gradient by an edge's vector, and the vector."""
    scalar = w.shape.scalar
    values = [w.load_scalar(w.scalar_at(functions, b)) for b in range(row.harmonics)]
    pulls = [w.load_scalar(w.scalar_at(pulled, b)) for b in range(row.harmonics)]
    *units, distance = (w.load_scalar(w.scalar_at(functions, row.unit + x)) for x in range(4))
    d_units: list[str | None] = [None] * 3
    for degree in range(len(steps), 0, -1):
        below, here = (degree - 1) ** 2, degree**2
        outer = [_combination(w, line, pulls[here : here + 2 * degree + 1]) for line in steps[degree - 1]]
        for m in range(2 * degree - 1):
            for x in range(3):
                d_units[x] = w.fused(outer[3 * m + x], values[below + m], d_units[x], scalar)
                pulls[below + m] = w.fused(outer[3 * m + x], units[x], pulls[below + m], scalar)
    d_distance = w.load_scalar(w.scalar_at(pulled, row.harmonics))
    inverse = w.fresh(f"fdiv {scalar} {w.literal(1.0, 'scalar')}, {distance}")
    turning = [d or w.literal(0.0, "scalar") for d in d_units]
    along = _dot(w, turning, units)
    gradient = []
    for x in range(3):
        across = w.multiply(
            w.fresh(f"fsub {scalar} {turning[x]}, {w.multiply(along, units[x], scalar)}"), inverse, scalar
        )
        gradient.append(w.fused(d_distance, units[x], across, scalar))
    return gradient, [w.multiply(u, distance, scalar) for u in units]


def sender_gradients(name: str, shape: Shape) -> Writer:
    """Add the gradients by the vectors of the edges of senders begin..end to those by the senders' positions.

    Arguments: offsets and order of the senders' edges, slots, d_vectors (E, 3), d_positions (N, 3).
    """
    w = Writer(name, shape, dict.fromkeys("offsets order slots d_vectors d_positions".split(), 0))
    scalar = shape.scalar
    with w.loop("%begin", "%end") as s:
        out = w.scalars("%d_positions", s, 3)
        with w.edges("%offsets", s) as i:
            e = w.integer("%slots", w.integer("%order", i))
            with w.when(w.fresh(f"icmp sge i64 {e}, 0")):
                gradient = w.scalars("%d_vectors", e, 3)
                for x in range(3):
                    pointer = w.scalar_at(out, x)
                    sums = w.add(w.load_scalar(pointer), w.load_scalar(w.scalar_at(gradient, x)), scalar)
                    w.store_scalar(sums, pointer)
    return w
