"""Matrix products of states with mixing matrices as LLVM code, for the few rows that a block of nodes has.

A tile of rows by columns is summed in registers over the whole inner dimension, so a state is read once per panel of
columns, and a panel of the matrix stays in the cache for all rows.
"""

from __future__ import annotations

from ase_nbody.kernels.kernel_settings import KernelSettings
from ase_nbody.kernels.llvm_writer import Builder
from ase_nbody.kernels.signature import ADD, WRITE, Signature, numbers
from ase_nbody.kernels.values import Index, Vector

TILE_ROWS = 6
"""Rows of the largest tile: with 4 vectors of columns 24 sums, 4 columns and a factor fill 32 registers."""


def matmul(name: str, settings: KernelSettings, inner: int, columns: int, *, accumulate: bool) -> Builder:
    """Rows begin..end of left (rows, inner) @ right (inner, columns), stored in or added to out (rows, columns).

    Args:
        name: of the function.
        settings: dtype and vectors; `channels` is a divisor of the columns.
        inner: length of the sums.
        columns: of right and out.
        accumulate: add to what is there.
    """
    out = numbers("out", "rows", columns, ADD if accumulate else WRITE)
    signature = Signature(numbers("left", "rows", inner), numbers("right", "matrix rows", columns), out)
    w = Builder(name, settings, signature)
    panel = _panel_vectors(settings, columns)
    with w.loop(0, columns // (panel * settings.width)) as number:
        column = w.times(number, panel * settings.width)
        first = w.begin
        for rows in (TILE_ROWS, 2, 1) if settings.registers > 16 else (4, 1):
            # the last row that begins a whole tile of so many
            last = w.minus(w.end, rows - 1)
            with w.loop(first, last, step=rows) as row:
                _tile(w, row, column, (rows, panel), inner, accumulate)
            first = row
    return w


def _panel_vectors(settings: KernelSettings, columns: int) -> int:
    most = 4 if settings.registers > 16 else 2
    vectors = columns // settings.width
    return next(n for n in range(most, 0, -1) if vectors % n == 0)


def _tile(w: Builder, row: Index, column: Index, tile: tuple[int, int], inner: int, accumulate: bool) -> None:
    """Sums of one tile of rows by vectors of columns."""
    rows, panel = tile
    left = [w.row("left", w.plus(row, i)) for i in range(rows)]
    outs = []
    for i in range(rows):
        out = w.offset(w.row("out", w.plus(row, i)), column)
        outs += [w.offset(out, j * w.settings.width) for j in range(panel)]
    right = w.offset(w.numbers("right"), column)
    columns = w.signature.arguments["out"].types[0].length
    start = [w.load(p) if accumulate else w.zero() for p in outs]
    unroll = next(n for n in (4, 2, 1) if inner % n == 0)
    with w.carrying(0, inner, start, step=unroll) as loop:
        sums = loop.values
        for u in range(unroll):
            k = w.plus(loop.index, u)
            base = w.scalars(right, k, columns)
            vectors = [w.load(w.offset(base, j * w.settings.width)) for j in range(panel)]
            added: list[Vector] = []
            for i in range(rows):
                factor = w.broadcast(w.load_scalar(w.offset(left[i], k)))
                added += [w.fused(factor, v, sums[i * panel + j]) for j, v in enumerate(vectors)]
            sums = added
        loop.next = sums
    for pointer, total in zip(outs, loop.values, strict=True):
        w.store(total, pointer)
