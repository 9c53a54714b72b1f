"""LLVM code of gate nonlinearities on the states of atoms, and of their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ase_nbody.algebra.irreps import Irrep
from ase_nbody.compiler.activations import ActivationName, activation
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import READ, WRITE, Access, Argument, Signature, blocks
from ase_nbody.compiler.values import Index, ScalarPointer, Vector


class GatedBlock(Protocol):
    """Part of a state of one irrep."""

    @property
    def irrep(self) -> Irrep:
        """By which it turns."""
        ...

    @property
    def columns(self) -> int:
        """Numbers of each component."""
        ...


GatedShape = Sequence[GatedBlock]
"""Blocks of a state."""

Functions = Sequence[tuple[ActivationName, float]]
"""Name and factor of the function of each block."""


@dataclass(frozen=True)
class Place:
    """Where one block stands in the arguments of a kernel: its number, components, columns and first gate."""

    number: int
    components: int
    columns: int
    gate: int | None


def gates(name: str, settings: KernelSettings, shape: GatedShape, functions: Functions) -> Builder:
    """Store in `out` f(x) of the blocks of degree zero, f(g) x of the others, for nodes begin..end.

    Args:
        name: of the function.
        settings: dtype.
        shape: of the state.
        functions: of its blocks.
    """
    places = places_of(shape)
    given = [*state_arguments("rows", places), *gate_arguments("gates", places)]
    w = Builder(name, common_settings(settings, places), Signature(given, state_arguments("out", places, WRITE)))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            rows, out = w.rows("rows", n).pointers[place.number], w.rows("out", n).pointers[place.number]
            with vectors_of_columns(w, place) as k:
                argument = rows if place.gate is None else w.offset(w.rows("gates", n).pointers[0], place.gate)
                value = w.multiply(activation(w, function, w.load(w.offset(argument, k)))[0], w.vector(gain))
                for row, target in component_pointers(w, place, k, rows, out):
                    w.store(value if place.gate is None else w.multiply(w.load(row), value), target)
    return w


def gate_gradients(name: str, settings: KernelSettings, shape: GatedShape, functions: Functions) -> Builder:
    """Gradients of `gates` by the state and by the gates, for nodes begin..end."""
    places = places_of(shape)
    given = [*state_arguments("rows", places), *gate_arguments("gates", places), *state_arguments("upstream", places)]
    results = [*state_arguments("d_rows", places, WRITE), *gate_arguments("d_gates", places, WRITE)]
    w = Builder(name, common_settings(settings, places), Signature(given, results))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            rows, upstream, d_rows = (w.rows(a, n).pointers[place.number] for a in ("rows", "upstream", "d_rows"))
            with vectors_of_columns(w, place) as k:
                if place.gate is None:
                    _, slope = activation(w, function, w.load(w.offset(rows, k)))
                    pulled = w.multiply(w.load(w.offset(upstream, k)), slope)
                    w.store(w.multiply(pulled, w.vector(gain)), w.offset(d_rows, k))
                    continue
                gate, d_gate = (
                    w.offset(w.offset(w.rows(a, n).pointers[0], place.gate), k) for a in ("gates", "d_gates")
                )
                value, slope = (w.multiply(v, w.vector(gain)) for v in activation(w, function, w.load(gate)))
                total: Vector | None = None
                for row, above, target in component_pointers(w, place, k, rows, upstream, d_rows):
                    cotangent = w.load(above)
                    total = w.fused(cotangent, w.load(row), total)
                    w.store(w.multiply(cotangent, value), target)
                assert total is not None
                w.store(w.multiply(total, slope), d_gate)
    return w


def places_of(shape: GatedShape) -> list[Place]:
    """Where the blocks of a state stand."""
    places, gate = [], 0
    for number, block in enumerate(shape):
        is_gated = block.irrep.degree > 0
        places.append(Place(number, block.irrep.dimension, block.columns, gate if is_gated else None))
        gate += block.columns * is_gated
    return places


def common_settings(settings: KernelSettings, places: Sequence[Place]) -> KernelSettings:
    """Settings whose vectors fit the columns of all blocks."""
    widths = [replace(settings, channels=place.columns).width for place in places]
    return replace(settings, channels=min(widths))


def state_arguments(name: str, places: Sequence[Place], access: Access = READ) -> list[Argument]:
    """A state of these blocks."""
    return blocks(name, "nodes", [place.components * place.columns for place in places], access)


def gate_arguments(name: str, places: Sequence[Place], access: Access = READ) -> list[Argument]:
    """Their gates in one block; none where no block has one."""
    columns = sum(place.columns for place in places if place.gate is not None)
    return blocks(name, "nodes", [columns], access) if columns else []


@contextmanager
def vectors_of_columns(w: Builder, place: Place) -> Iterator[Index]:
    """Loop over vectors of columns, giving the first column of each."""
    with w.loop(0, place.columns, step=w.settings.width) as k:
        yield k


def component_pointers(w: Builder, place: Place, k: Index, *rows: ScalarPointer) -> Iterator[list[ScalarPointer]]:
    """Pointers to the vectors of each component in some rows."""
    for component in range(place.components):
        yield [w.offset(w.offset(row, k), component * place.columns) for row in rows]
