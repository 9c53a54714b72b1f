"""Harmonics of relative vectors with tangents and gradients, as LLVM code for one edge after another."""

from __future__ import annotations

from functools import cache

import torch

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.cpu import Code
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import READ, WRITE, Access, Argument, Signature, numbers
from ase_nbody.compiler.values import Index, Vector
from ase_nbody.math.harmonics import harmonic_steps

Term = tuple[int, int, int, float]  # component below, of the unit vector, of the result, coefficient


@cache
def harmonics(max_degree: int) -> Code:
    """Kernel: harmonics (E, M) and lengths (E,) of vectors (E, 3)."""

    def write(table: ProductTable, settings: KernelSettings) -> Builder:
        results = [*_harmonics("harmonics", max_degree, WRITE), *numbers("distances", "edges", 1, WRITE)]
        w = Builder("harmonics", settings, Signature(numbers("vectors", "edges", 3), results))
        with w.loop(w.begin, w.end) as e:
            units, length, _ = _units(w, e)
            w.store(length, w.row("distances", e))
            _store_row(w, "harmonics", e, [y for block in _blocks(w, units, max_degree) for y in block])
        return w

    return write


@cache
def harmonic_tangents(max_degree: int) -> Code:
    """Kernel: change of harmonics and lengths along tangents of the vectors."""

    def write(table: ProductTable, settings: KernelSettings) -> Builder:
        results = [*_harmonics("t_harmonics", max_degree, WRITE), *numbers("t_distances", "edges", 1, WRITE)]
        w = Builder("harmonic_tangents", settings, Signature(numbers("vectors t_vectors", "edges", 3), results))
        with w.loop(w.begin, w.end) as e:
            units, _, inverse = _units(w, e)
            moved = _row(w, "t_vectors", e)
            along = _sum(w, [w.multiply(u, t) for u, t in zip(units, moved, strict=True)])
            w.store(along, w.row("t_distances", e))
            minus = w.multiply(along, w.vector(-1.0))
            t_units = [w.multiply(w.fused(u, minus, t), inverse) for u, t in zip(units, moved, strict=True)]
            axes = list(zip(units, t_units, strict=True))
            tangents = [[w.vector(0.0)]]
            for terms, block in zip(_terms(max_degree), _blocks(w, units, max_degree), strict=False):
                below = zip(block, tangents[-1], strict=True)
                pairs = [[w.fused(t, u, w.multiply(y, t_u)) for u, t_u in axes] for y, t in below]
                tangents.append(_next_block(w, terms, pairs))
            _store_row(w, "t_harmonics", e, [t for block in tangents for t in block])
        return w

    return write


@cache
def harmonic_gradients(max_degree: int) -> Code:
    """Kernel: gradients by vectors from those by harmonics and lengths."""

    def write(table: ProductTable, settings: KernelSettings) -> Builder:
        upstream = [*_harmonics("d_harmonics", max_degree, READ), *numbers("d_distances", "edges")]
        signature = Signature(numbers("vectors", "edges", 3), upstream, numbers("d_vectors", "edges", 3, WRITE))
        w = Builder("harmonic_gradients", settings, signature)
        with w.loop(w.begin, w.end) as e:
            units, _, inverse = _units(w, e)
            blocks = _blocks(w, units, max_degree)
            flat = _row(w, "d_harmonics", e)
            d_blocks: list[list[Vector]] = [flat[d * d : (d + 1) ** 2] for d in range(max_degree + 1)]
            d_units: list[Vector | None] = [None] * 3
            for degree in range(max_degree, 0, -1):
                for a, x, o, value in _terms(max_degree)[degree - 1]:
                    d_product = w.multiply(d_blocks[degree][o], w.vector(value))
                    d_blocks[degree - 1][a] = w.fused(d_product, units[x], d_blocks[degree - 1][a])
                    d_units[x] = w.fused(d_product, blocks[degree - 1][a], d_units[x])
            by_units = [d or w.vector(0.0) for d in d_units]  # at degree 0 alone nothing depends on directions
            along = _sum(w, [w.multiply(u, d) for u, d in zip(units, by_units, strict=True)])
            minus = w.multiply(along, w.vector(-1.0))
            stretch = w.load(w.row("d_distances", e))
            across = [w.multiply(w.fused(u, minus, d), inverse) for u, d in zip(units, by_units, strict=True)]
            _store_row(w, "d_vectors", e, [w.fused(u, stretch, d) for u, d in zip(units, across, strict=True)])
        return w

    return write


def _harmonics(name: str, max_degree: int, access: Access) -> list[Argument]:
    return numbers(name, "edges", (max_degree + 1) ** 2, access)


@cache
def _terms(max_degree: int) -> list[list[Term]]:
    """Of each degree from 1 on, how it is made of the degree below and the unit vector."""
    terms = []
    for step in harmonic_steps(max_degree, torch.float64, torch.device("cpu")):
        rows = step.tolist()
        terms.append([(n // 3, n % 3, o, v) for n, row in enumerate(rows) for o, v in enumerate(row) if v])
    return terms


def _units(w: Builder, e: Index) -> tuple[list[Vector], Vector, Vector]:
    """Unit vector, length and its inverse."""
    vector = _row(w, "vectors", e)
    square = _sum(w, [w.multiply(x, x) for x in vector])
    length = w.intrinsic("sqrt", square)
    inverse = w.divide(w.vector(1.0), length)
    return [w.multiply(x, inverse) for x in vector], length, inverse


def _blocks(w: Builder, units: list[Vector], max_degree: int) -> list[list[Vector]]:
    blocks = [[w.vector(1.0)]]
    for terms in _terms(max_degree):
        pairs = [[w.multiply(y, u) for u in units] for y in blocks[-1]]
        blocks.append(_next_block(w, terms, pairs))
    return blocks


def _next_block(w: Builder, terms: list[Term], pairs: list[list[Vector]]) -> list[Vector]:
    """Components of a degree from products of those of the degree below and of the unit vector."""
    components: dict[int, Vector | None] = {}
    for a, x, o, value in terms:
        components[o] = w.fused(pairs[a][x], w.vector(value), components.get(o))
    return [_known(components[o]) for o in sorted(components)]


def _row(w: Builder, argument: str, e: Index) -> list[Vector]:
    row = w.row(argument, e)
    return [w.load(w.offset(row, n)) for n in range(w.signature.arguments[argument].types[0].length)]


def _store_row(w: Builder, argument: str, e: Index, values: list[Vector]) -> None:
    row = w.row(argument, e)
    for n, value in enumerate(values):
        w.store(value, w.offset(row, n))


def _sum(w: Builder, values: list[Vector]) -> Vector:
    total = values[0]
    for value in values[1:]:
        total = w.add(total, value)
    return total


def _known(value: Vector | None) -> Vector:
    assert value is not None
    return value
