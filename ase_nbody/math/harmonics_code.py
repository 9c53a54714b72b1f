"""Harmonics of relative vectors with tangents and pulls, as LLVM code for one edge after another."""

from __future__ import annotations

from functools import cache

import torch

from ase_nbody.kernels.cpu import Code
from ase_nbody.kernels.llvm_writer import Shape, Writer
from ase_nbody.kernels.tables import ProductTable
from ase_nbody.math.harmonics import harmonic_steps

Term = tuple[int, int, int, float]  # component below, of the unit vector, of the result, coefficient


@cache
def harmonics(max_degree: int) -> Code:
    """Kernel: harmonics (E, M) and lengths (E,) of vectors (E, 3)."""

    def write(table: ProductTable, shape: Shape) -> str:
        w = Writer("kernel", shape, dict.fromkeys(("vectors", "harmonics", "distances"), 0))
        with w.loop("%begin", "%end") as e:
            units, length, _ = _units(w, e)
            w.store(length, w.scalars("%distances", e, 1))
            _store_row(w, "%harmonics", e, [y for block in _blocks(w, units, max_degree) for y in block])
        return w.text()

    return write


@cache
def harmonic_tangents(max_degree: int) -> Code:
    """Kernel: change of harmonics and lengths along tangents of the vectors."""

    def write(table: ProductTable, shape: Shape) -> str:
        names = ("vectors", "t_vectors", "t_harmonics", "t_distances")
        w = Writer("kernel", shape, dict.fromkeys(names, 0))
        with w.loop("%begin", "%end") as e:
            units, _, inverse = _units(w, e)
            moved = _row(w, "%t_vectors", e, 3)
            along = _sum(w, [w.multiply(u, t) for u, t in zip(units, moved, strict=True)])
            w.store(along, w.scalars("%t_distances", e, 1))
            minus = w.multiply(along, w.literal(-1.0))
            t_units = [w.multiply(w.fused(u, minus, t), inverse) for u, t in zip(units, moved, strict=True)]
            axes = list(zip(units, t_units, strict=True))
            tangents = [[w.literal(0.0)]]
            for terms, block in zip(_terms(max_degree), _blocks(w, units, max_degree), strict=False):
                below = zip(block, tangents[-1], strict=True)
                pairs = [[w.fused(t, u, w.multiply(y, t_u)) for u, t_u in axes] for y, t in below]
                tangents.append(_next_block(w, terms, pairs))
            _store_row(w, "%t_harmonics", e, [t for block in tangents for t in block])
        return w.text()

    return write


@cache
def harmonic_pulls(max_degree: int) -> Code:
    """Kernel: gradients by vectors from those by harmonics and lengths."""

    def write(table: ProductTable, shape: Shape) -> str:
        names = ("vectors", "d_harmonics", "d_distances", "d_vectors")
        w = Writer("kernel", shape, dict.fromkeys(names, 0))
        with w.loop("%begin", "%end") as e:
            units, _, inverse = _units(w, e)
            blocks = _blocks(w, units, max_degree)
            flat = _row(w, "%d_harmonics", e, (max_degree + 1) ** 2)
            pulls: list[list[str]] = [flat[d * d : (d + 1) ** 2] for d in range(max_degree + 1)]
            d_units: list[str | None] = [None] * 3
            for degree in range(max_degree, 0, -1):
                for a, x, o, value in _terms(max_degree)[degree - 1]:
                    pull = w.multiply(pulls[degree][o], w.literal(value))
                    pulls[degree - 1][a] = w.fused(pull, units[x], pulls[degree - 1][a])
                    d_units[x] = w.fused(pull, blocks[degree - 1][a], d_units[x])
            found = [_known(d) for d in d_units]
            along = _sum(w, [w.multiply(u, d) for u, d in zip(units, found, strict=True)])
            minus = w.multiply(along, w.literal(-1.0))
            stretch = w.load(w.scalars("%d_distances", e, 1))
            across = [w.multiply(w.fused(u, minus, d), inverse) for u, d in zip(units, found, strict=True)]
            _store_row(w, "%d_vectors", e, [w.fused(u, stretch, d) for u, d in zip(units, across, strict=True)])
        return w.text()

    return write


@cache
def _terms(max_degree: int) -> list[list[Term]]:
    """Of each degree from 1 on, how it is made of the degree below and the unit vector."""
    found = []
    for step in harmonic_steps(max_degree, torch.float64, torch.device("cpu")):
        rows = step.tolist()
        found.append([(n // 3, n % 3, o, v) for n, row in enumerate(rows) for o, v in enumerate(row) if v])
    return found


def _units(w: Writer, e: str) -> tuple[list[str], str, str]:
    """Unit vector, length and its inverse."""
    vector = _row(w, "%vectors", e, 3)
    kind, suffix = w.shape.vector, f"v{w.shape.width}f{w.shape.bits}"
    square = _sum(w, [w.multiply(x, x) for x in vector])
    w.declarations.append(f"declare {kind} @llvm.sqrt.{suffix}({kind})")
    length = w.fresh(f"call {kind} @llvm.sqrt.{suffix}({kind} {square})")
    inverse = w.fresh(f"fdiv {kind} {w.literal(1.0)}, {length}")
    return [w.multiply(x, inverse) for x in vector], length, inverse


def _blocks(w: Writer, units: list[str], max_degree: int) -> list[list[str]]:
    blocks = [[w.literal(1.0)]]
    for terms in _terms(max_degree):
        pairs = [[w.multiply(y, u) for u in units] for y in blocks[-1]]
        blocks.append(_next_block(w, terms, pairs))
    return blocks


def _next_block(w: Writer, terms: list[Term], pairs: list[list[str]]) -> list[str]:
    """Components of a degree from products of those of the degree below and of the unit vector."""
    made: dict[int, str | None] = {}
    for a, x, o, value in terms:
        made[o] = w.fused(pairs[a][x], w.literal(value), made.get(o))
    return [_known(made[o]) for o in sorted(made)]


def _row(w: Writer, array: str, e: str, length: int) -> list[str]:
    row = w.scalars(array, e, length)
    return [w.load(w.scalar_at(row, n)) for n in range(length)]


def _store_row(w: Writer, array: str, e: str, values: list[str]) -> None:
    row = w.scalars(array, e, len(values))
    for n, value in enumerate(values):
        w.store(value, w.scalar_at(row, n))


def _sum(w: Writer, values: list[str]) -> str:
    total = values[0]
    for value in values[1:]:
        total = w.add(total, value)
    return total


def _known(value: str | None) -> str:
    assert value is not None
    return value
