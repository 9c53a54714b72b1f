"""Matrix products of states with mixing matrices as LLVM code, for the few rows that a block of nodes has.

A tile of rows by columns is summed in registers over the whole inner dimension, so a state is read once per panel of
columns, and a panel of the matrix stays in the cache for all rows.
"""

from __future__ import annotations

from ase_nbody.kernels.llvm_writer import Shape, Writer

TILE_ROWS = 6
"""Rows of the largest tile: with 4 vectors of columns 24 sums, 4 columns and a factor fill 32 registers."""


def matmul(name: str, shape: Shape, inner: int, columns: int, *, accumulate: bool) -> Writer:
    """Rows begin..end of left (rows, inner) @ right (inner, columns), stored in or added to out (rows, columns).

    Args:
        name: of the function, of arguments left, right and out.
        shape: dtype and vectors; `channels` is a divisor of the columns.
        inner: length of the sums.
        columns: of right and out.
        accumulate: add to what is there.
    """
    w = Writer(name, shape, {"left": 0, "right": 0, "out": 0})
    panel = _panel_vectors(shape, columns)
    with w.loop("0", str(columns // (panel * shape.width))) as number:
        column = w.fresh(f"mul i64 {number}, {panel * shape.width}")
        first = "%begin"
        for rows in (TILE_ROWS, 2, 1) if shape.registers > 16 else (4, 1):
            # the last row that begins a whole tile of so many
            last = w.fresh(f"sub i64 %end, {rows - 1}")
            with w.carrying(first, last, [], step=rows) as loop:
                _tile(w, loop.index, column, (rows, panel), (inner, columns), accumulate)
            first = loop.index
    return w


def _panel_vectors(shape: Shape, columns: int) -> int:
    most = 4 if shape.registers > 16 else 2
    vectors = columns // shape.width
    return next(n for n in range(most, 0, -1) if vectors % n == 0)


def _tile(w: Writer, row: str, column: str, tile: tuple[int, int], sizes: tuple[int, int], accumulate: bool) -> None:
    """Sums of one tile of rows by vectors of columns."""
    (rows, panel), (inner, columns) = tile, sizes
    scalar, vector = w.shape.scalar, w.shape.vector
    left = [w.scalars("%left", w.fresh(f"add i64 {row}, {i}"), inner) for i in range(rows)]
    outs = []
    for i in range(rows):
        out = w.offset(w.scalars("%out", w.fresh(f"add i64 {row}, {i}"), columns), column)
        outs += [w.scalar_at(out, j * w.shape.width) for j in range(panel)]
    right = w.offset("%right", column)
    start = [w.load(p) if accumulate else w.zero() for p in outs]
    unroll = next(n for n in (4, 2, 1) if inner % n == 0)
    with w.carrying("0", str(inner), [(vector, s) for s in start], step=unroll) as loop:
        sums = loop.values
        for u in range(unroll):
            k = w.fresh(f"add i64 {loop.index}, {u}")
            base = w.scalars(right, k, columns)
            vectors = [w.load(w.scalar_at(base, j * w.shape.width)) for j in range(panel)]
            made = []
            for i in range(rows):
                factor = w.broadcast(w.fresh(f"load {scalar}, ptr {w.offset(left[i], k)}"))
                made += [w.fused(factor, v, sums[i * panel + j]) for j, v in enumerate(vectors)]
            sums = made
        loop.next = sums
    for pointer, total in zip(outs, loop.values, strict=True):
        w.store(total, pointer)
