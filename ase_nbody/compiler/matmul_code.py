"""Matrix products of states with mixing matrices as LLVM code, for the few rows that a block of nodes has.

A tile of rows by columns is summed in registers over the whole inner dimension, so a state is read once per panel of
columns, and a panel of the matrix stays in the cache for all rows.
"""

from __future__ import annotations

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import ADD, WRITE, Signature, indices, numbers
from ase_nbody.compiler.values import ScalarPointer, Vector

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
                numbers_of = [w.plus(row, i) for i in range(rows)]
                left, outs = ([w.row(argument, n) for n in numbers_of] for argument in ("left", "out"))
                pointers = left, w.offset(w.numbers("right"), column), [w.offset(out, column) for out in outs]
                _tile(w, pointers, (inner, panel, columns), accumulate)
            first = row
    return w


def matmul_of_types(name: str, settings: KernelSettings, sizes: tuple[int, int, int], *, accumulate: bool) -> Builder:
    """The same with a matrix for each type of nodes, for nodes begin..end.

    Args:
        name: of the function.
        settings: dtype and vectors; `channels` is a divisor of the columns.
        sizes: rows of a node, length of the sums, columns.
        accumulate: add to what is there.
    """
    rows, inner, columns = sizes
    out = numbers("out", "nodes", rows * columns, ADD if accumulate else WRITE)
    given = [*indices("types", "nodes"), *numbers("left", "nodes", rows * inner)]
    w = Builder(name, settings, Signature(given, numbers("right", "types", inner * columns), out))
    panel = _panel_vectors(settings, columns)
    most = TILE_ROWS if settings.registers > 16 else 4
    with w.loop(w.begin, w.end) as node:
        matrix = w.row("right", w.integer("types", node))
        left, made = w.row("left", node), w.row("out", node)
        with w.loop(0, columns // (panel * settings.width)) as number:
            column = w.times(number, panel * settings.width)
            for first in range(0, rows, most):
                tile = range(first, min(first + most, rows))
                lefts = [w.offset(left, i * inner) for i in tile]
                outs = [w.offset(w.offset(made, i * columns), column) for i in tile]
                _tile(w, (lefts, w.offset(matrix, column), outs), (inner, panel, columns), accumulate)
    return w


def _panel_vectors(settings: KernelSettings, columns: int) -> int:
    most = 4 if settings.registers > 16 else 2
    vectors = columns // settings.width
    return next(n for n in range(most, 0, -1) if vectors % n == 0)


def _tile(
    w: Builder,
    pointers: tuple[list[ScalarPointer], ScalarPointer, list[ScalarPointer]],
    sizes: tuple[int, int, int],
    accumulate: bool,
) -> None:
    """Sums of one tile of rows by vectors of columns.

    Args:
        w: of the function.
        pointers: to the rows of left, to the tile's first column of right, and to it in the rows of out.
        sizes: length of the sums, vectors of columns in the tile, columns of right.
        accumulate: add to what is there.
    """
    left, right, rows = pointers
    inner, panel, columns = sizes
    outs = [w.offset(row, j * w.settings.width) for row in rows for j in range(panel)]
    start = [w.load(p) if accumulate else w.zero() for p in outs]
    unroll = next(n for n in (4, 2, 1) if inner % n == 0)
    with w.carrying(0, inner, start, step=unroll) as loop:
        sums = loop.values
        for u in range(unroll):
            k = w.plus(loop.index, u)
            base = w.scalars(right, k, columns)
            vectors = [w.load(w.offset(base, j * w.settings.width)) for j in range(panel)]
            added: list[Vector] = []
            for i in range(len(rows)):
                factor = w.broadcast(w.load_scalar(w.offset(left[i], k)))
                added += [w.fused(factor, v, sums[i * panel + j]) for j, v in enumerate(vectors)]
            sums = added
        loop.next = sums
    for pointer, total in zip(outs, loop.values, strict=True):
        w.store(total, pointer)
