"""LLVM code of gate nonlinearities on the states of atoms, and of their gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ase_nbody.kernels.activations import ActivationName, activation
from ase_nbody.kernels.irreps import Irrep
from ase_nbody.kernels.kernel_settings import KernelSettings
from ase_nbody.kernels.llvm_writer import Builder
from ase_nbody.kernels.signature import READ, WRITE, Access, Argument, Signature, blocks
from ase_nbody.kernels.values import Index, ScalarPointer, Vector


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


Functions = Sequence[tuple[ActivationName, float]]
"""Name and factor of the function of each block."""


@dataclass(frozen=True)
class _Place:
    """Where one block stands in the arguments of a kernel: its number, components, columns and first gate."""

    number: int
    components: int
    columns: int
    gate: int | None


def gates(name: str, settings: KernelSettings, shape: Sequence[GatedBlock], functions: Functions) -> Builder:
    """Store in `out` f(x) of the blocks of degree zero, f(g) x of the others, for nodes begin..end.

    Args:
        name: of the function.
        settings: dtype.
        shape: of the state.
        functions: of its blocks.
    """
    places = _places(shape)
    given = [*_state("rows", places), *_gates("gates", places)]
    w = Builder(name, _common(settings, places), Signature(given, _state("out", places, WRITE)))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            rows, out = w.rows("rows", n).pointers[place.number], w.rows("out", n).pointers[place.number]
            with _columns(w, place) as k:
                argument = rows if place.gate is None else w.offset(w.rows("gates", n).pointers[0], place.gate)
                value = w.multiply(activation(w, function, w.load(w.offset(argument, k)))[0], w.vector(gain))
                for row, target in _component_pointers(w, place, k, rows, out):
                    w.store(value if place.gate is None else w.multiply(w.load(row), value), target)
    return w


def gate_gradients(name: str, settings: KernelSettings, shape: Sequence[GatedBlock], functions: Functions) -> Builder:
    """Gradients of `gates` by the state and by the gates, for nodes begin..end."""
    places = _places(shape)
    given = [*_state("rows", places), *_gates("gates", places), *_state("upstream", places)]
    results = [*_state("d_rows", places, WRITE), *_gates("d_gates", places, WRITE)]
    w = Builder(name, _common(settings, places), Signature(given, results))
    with w.loop(w.begin, w.end) as n:
        for place, (function, gain) in zip(places, functions, strict=True):
            rows, upstream, d_rows = (w.rows(a, n).pointers[place.number] for a in ("rows", "upstream", "d_rows"))
            with _columns(w, place) as k:
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
                for row, above, target in _component_pointers(w, place, k, rows, upstream, d_rows):
                    cotangent = w.load(above)
                    total = w.fused(cotangent, w.load(row), total)
                    w.store(w.multiply(cotangent, value), target)
                assert total is not None
                w.store(w.multiply(total, slope), d_gate)
    return w


def _places(shape: Sequence[GatedBlock]) -> list[_Place]:
    places, gate = [], 0
    for number, block in enumerate(shape):
        is_gated = block.irrep.degree > 0
        places.append(_Place(number, block.irrep.dimension, block.columns, gate if is_gated else None))
        gate += block.columns * is_gated
    return places


def _common(settings: KernelSettings, places: Sequence[_Place]) -> KernelSettings:
    """Settings whose vectors fit the columns of all blocks."""
    widths = [replace(settings, channels=place.columns).width for place in places]
    return replace(settings, channels=min(widths))


def _state(name: str, places: Sequence[_Place], access: Access = READ) -> list[Argument]:
    return blocks(name, "nodes", [place.components * place.columns for place in places], access)


def _gates(name: str, places: Sequence[_Place], access: Access = READ) -> list[Argument]:
    columns = sum(place.columns for place in places if place.gate is not None)
    return blocks(name, "nodes", [columns], access) if columns else []


@contextmanager
def _columns(w: Builder, place: _Place) -> Iterator[Index]:
    """Loop over vectors of columns, giving the first column of each."""
    with w.loop(0, place.columns, step=w.settings.width) as k:
        yield k


def _component_pointers(w: Builder, place: _Place, k: Index, *rows: ScalarPointer) -> Iterator[list[ScalarPointer]]:
    """Pointers to the vectors of each component in some rows."""
    for component in range(place.components):
        yield [w.offset(w.offset(row, k), component * place.columns) for row in rows]
