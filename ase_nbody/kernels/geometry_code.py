"""LLVM code of the geometry of edges: what messages need of relative vectors, and forces from their gradients.

Geometry keeps, for each receiver, only the edges within the cutoff, at the front of the receiver's range. Row `e` of
`functions` holds what is known about such an edge, see `EdgeRow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import ADD, WRITE, Signature, indices, numbers
from ase_nbody.compiler.values import Index, Scalar, ScalarPointer
from ase_nbody.math.splines import Grid, basis_polynomials


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


def geometry(
    name: str,
    settings: KernelSettings,
    grid: Grid,
    steps: Sequence[NDArray[np.float64]],
    n_types: int,
    *,
    shared: bool,
) -> Builder:
    """Distances, harmonics and spline values of the edges of receivers begin..end.

    Args:
        name: of the function.
        settings: dtype.
        grid: of the splines.
        steps: from harmonics of one degree and a unit vector to the next degree, see math.harmonics.
        n_types: elements of the network.
        shared: some tables are the same for all pairs of types.

    `ends` are one past the last kept edge of each receiver, `slots` where each edge is kept, or -1; `children` the
    senders of kept edges, `rows` the first rows in tables of pairs of types, of which `tables` are the first of each
    pair, and `shared_rows` those in tables that are the same for all pairs.
    """
    row = EdgeRow(sum(step.shape[1] for step in steps) + 1, grid.degree)
    w = Builder(name, settings, _geometry_signature(row, shared=shared))
    with w.loop(w.begin, w.end) as n:
        own = w.row("positions", n)
        cell = w.row("cells", w.integer("structure", n))
        own_type = w.times(w.integer("types", n), n_types)
        place = w.integer("offsets", n)
        w.store_integer(place, "ends", n)
        with w.edges("offsets", n) as e:
            sender = w.integer("senders", e)
            vector = _edge_vector(w, own, w.row("positions", sender), cell, w.row("shifts", e))
            squared = _dot(w, vector, vector)
            w.store_integer(-1, "slots", e)
            with w.when(w.below(squared, w.scalar(grid.cutoff**2))):
                kept = w.integer("ends", n)
                w.store_integer(w.plus(kept, 1), "ends", n)
                w.store_integer(kept, "slots", e)
                w.store_integer(sender, "children", kept)
                pair = w.plus(own_type, w.integer("types", sender))
                out = w.row("functions", kept)
                first = _distance_functions(w, grid, squared, vector, row, out)
                w.store_integer(w.plus(w.integer("tables", pair), first), "rows", kept)
                if shared:
                    w.store_integer(first, "shared_rows", kept)
                _harmonics(w, steps, row, out)
    return w


def _geometry_signature(row: EdgeRow, *, shared: bool) -> Signature:
    atoms = [*numbers("positions", "nodes", 3), *numbers("cells", "structures", 9)]
    atoms += indices("structure types", "nodes")
    edges = [*numbers("shifts", "edges", 3), *indices("offsets", "node bounds"), *indices("senders", "edges")]
    written = [*indices("ends", "nodes", WRITE), *indices(kept_rows(shared=shared), "edges", WRITE)]
    functions = numbers("functions", "edges", row.length, WRITE)
    return Signature(atoms, edges, indices("tables", "type pairs"), written, functions)


def kept_rows(*, shared: bool) -> str:
    """Names of the index arrays of kept edges."""
    return "slots children rows shared_rows" if shared else "slots children rows"


def _edge_vector(
    w: Builder, own: ScalarPointer, other: ScalarPointer, cell: ScalarPointer, shift: ScalarPointer
) -> list[Scalar]:
    """r_sender - r_receiver + shift @ cell."""
    shifts = [w.load_scalar(w.offset(shift, i)) for i in range(3)]
    vector = []
    for x in range(3):
        here, there = (w.load_scalar(w.offset(p, x)) for p in (own, other))
        total = w.subtract(there, here)
        for i in range(3):
            total = w.fused(shifts[i], w.load_scalar(w.offset(cell, 3 * i + x)), total)
        vector.append(total)
    return vector


def _dot(w: Builder, a: Sequence[Scalar], b: Sequence[Scalar]) -> Scalar:
    total: Scalar | None = None
    for x, y in zip(a, b, strict=True):
        total = w.fused(x, y, total)
    assert total is not None
    return total


def _distance_functions(
    w: Builder, grid: Grid, squared: Scalar, vector: list[Scalar], row: EdgeRow, out: ScalarPointer
) -> Index:
    """Store unit vector, distance and splines of an edge; give its first row in a table."""
    distance = w.intrinsic("sqrt", squared)
    inverse = w.divide(w.scalar(1.0), distance)
    for axis, component in enumerate(vector):
        w.store_scalar(w.multiply(component, inverse), w.offset(out, row.unit + axis))
    w.store_scalar(distance, w.offset(out, row.unit + 3))
    x, per_distance, inverse_root = _place(w, grid, distance)
    whole = w.truncated(x)
    inside = w.less(whole, grid.intervals)  # rounding may reach the end
    interval = w.either(inside, whole, grid.intervals - 1)
    t = w.subtract(x, w.number(interval))
    for number, powers in enumerate(basis_polynomials(grid.degree)):
        # The constant is part of the coefficients: another rounding of every slope triples the errors of forces.
        slope = _polynomial(w, [p * k * per_distance for k, p in enumerate(powers)][1:], t)
        if inverse_root is not None:
            slope = w.multiply(slope, inverse_root)
        w.store_scalar(_polynomial(w, powers, t), w.offset(out, row.basis + number))
        w.store_scalar(slope, w.offset(out, row.slopes + number))
    first = interval
    for start in grid.breaks:
        later = w.at_least(interval, start)
        first = w.either(later, w.plus(first, grid.degree), first)
    return first


def _place(w: Builder, grid: Grid, distance: Scalar) -> tuple[Scalar, float, Scalar | None]:
    """Place of a distance on the grid, see `Grid.places`; its slope, 1/angstrom, as a constant times what may vary."""
    scale = grid.intervals**grid.power / grid.cutoff
    x = w.multiply(distance, w.scalar(scale))
    if grid.power == 1:
        return x, scale, None
    root = w.intrinsic("sqrt", x)
    return root, 0.5 * scale, w.divide(w.scalar(1.0), root)


def _polynomial(w: Builder, powers: Sequence[float], t: Scalar) -> Scalar:
    """Horner's rule, lowest power first."""
    total = w.scalar(powers[-1])
    for power in reversed(powers[:-1]):
        total = w.fused(total, t, w.scalar(power))
    return total


def _harmonics(w: Builder, steps: Sequence[NDArray[np.float64]], row: EdgeRow, out: ScalarPointer) -> None:
    """Store all harmonics, each degree from the one below."""
    units = [w.load_scalar(w.offset(out, row.unit + x)) for x in range(3)]
    below = [w.scalar(1.0)]
    w.store_scalar(below[0], w.offset(out, 0))
    for degree, step in enumerate(steps, start=1):
        outer = [w.multiply(a, u) for a in below for u in units]
        below = [_combination(w, column, outer) for column in step.T]
        for m, value in enumerate(below):
            w.store_scalar(value, w.offset(out, degree**2 + m))


def _combination(w: Builder, coefficients: Sequence[float], values: Sequence[Scalar]) -> Scalar:
    total: Scalar | None = None
    for coefficient, value in zip(coefficients, values, strict=True):
        if coefficient != 0.0:
            total = w.fused(value, w.scalar(coefficient), total)
    return w.scalar(0.0) if total is None else total


def vector_gradients(name: str, settings: KernelSettings, degree: int, steps: Sequence[NDArray[np.float64]]) -> Builder:
    """Gradients by the vectors of the edges of receivers begin..end, and their sums over each receiver.

    `d_positions` are minus the sums over a receiver's edges, `d_strains` the sums of gradient times vector.
    """
    row = EdgeRow(sum(step.shape[1] for step in steps) + 1, degree)
    given = [*indices("offsets", "node bounds"), *indices("ends", "nodes"), *numbers("functions", "edges", row.length)]
    d_edges = [*numbers("d_functions", "edges", row.harmonics + 1), *numbers("d_vectors", "edges", 3, WRITE)]
    d_nodes = [*numbers("d_positions", "nodes", 3, WRITE), *numbers("d_strains", "nodes", 9, WRITE)]
    w = Builder(name, settings, Signature(given, d_edges, d_nodes))
    with w.loop(w.begin, w.end) as n:
        start = [w.scalar(0.0)] * 12
        with w.carrying(w.integer("offsets", n), w.integer("ends", n), start) as loop:
            functions = w.row("functions", loop.index)
            cotangents = w.row("d_functions", loop.index)
            gradient, vector = _vector_gradient(w, steps, row, functions, cotangents)
            out = w.row("d_vectors", loop.index)
            for x in range(3):
                w.store_scalar(gradient[x], w.offset(out, x))
            sums = [w.add(s, g) for s, g in zip(loop.values[:3], gradient, strict=True)]
            outer = [(g, v) for g in gradient for v in vector]
            loop.next = [*sums, *(w.fused(g, v, s) for (g, v), s in zip(outer, loop.values[3:], strict=True))]
        forces, strains = w.row("d_positions", n), w.row("d_strains", n)
        for x in range(3):
            w.store_scalar(w.negative(loop.values[x]), w.offset(forces, x))
        for x in range(9):
            w.store_scalar(loop.values[3 + x], w.offset(strains, x))
    return w


def _vector_gradient(
    w: Builder,
    steps: Sequence[NDArray[np.float64]],
    row: EdgeRow,
    functions: ScalarPointer,
    cotangents: ScalarPointer,
) -> tuple[list[Scalar], list[Scalar]]:
    """Gradient by an edge's vector, and the vector."""
    values = [w.load_scalar(w.offset(functions, b)) for b in range(row.harmonics)]
    d_harmonics = [w.load_scalar(w.offset(cotangents, b)) for b in range(row.harmonics)]
    *units, distance = (w.load_scalar(w.offset(functions, row.unit + x)) for x in range(4))
    d_units: list[Scalar | None] = [None] * 3
    for degree in range(len(steps), 0, -1):
        below, here = (degree - 1) ** 2, degree**2
        outer = [_combination(w, line, d_harmonics[here : here + 2 * degree + 1]) for line in steps[degree - 1]]
        for m in range(2 * degree - 1):
            for x in range(3):
                d_units[x] = w.fused(outer[3 * m + x], values[below + m], d_units[x])
                d_harmonics[below + m] = w.fused(outer[3 * m + x], units[x], d_harmonics[below + m])
    d_distance = w.load_scalar(w.offset(cotangents, row.harmonics))
    inverse = w.divide(w.scalar(1.0), distance)
    turning = [d or w.scalar(0.0) for d in d_units]
    along = _dot(w, turning, units)
    gradient = []
    for x in range(3):
        across = w.multiply(w.subtract(turning[x], w.multiply(along, units[x])), inverse)
        gradient.append(w.fused(d_distance, units[x], across))
    return gradient, [w.multiply(u, distance) for u in units]


def sender_gradients(name: str, settings: KernelSettings) -> Builder:
    """Add the gradients by the vectors of the edges of senders begin..end to those by the senders' positions."""
    lists = [*indices("offsets", "node bounds"), *indices("order slots", "edges")]
    d_positions = numbers("d_positions", "nodes", 3, ADD)
    w = Builder(name, settings, Signature(lists, numbers("d_vectors", "edges", 3), d_positions))
    with w.loop(w.begin, w.end) as s:
        out = w.row("d_positions", s)
        with w.edges("offsets", s) as i:
            e = w.integer("slots", w.integer("order", i))
            with w.when(w.at_least(e, 0)):
                gradient = w.row("d_vectors", e)
                for x in range(3):
                    pointer = w.offset(out, x)
                    sums = w.add(w.load_scalar(pointer), w.load_scalar(w.offset(gradient, x)))
                    w.store_scalar(sums, pointer)
    return w
