"""LLVM code of states divided by one plus a number of each node, and of their gradients."""

from __future__ import annotations

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder, Rows
from ase_nbody.compiler.signature import ADD, WRITE, Signature, numbers
from ase_nbody.compiler.values import Index, Vector


def divided(name: str, settings: KernelSettings, components: int) -> Builder:
    """Store in `out` the rows of components over 1 + density, for nodes begin..end."""
    length = components * settings.channels
    given = [*numbers("density", "nodes"), *numbers("rows", "nodes", length)]
    w = Builder(name, settings, Signature(given, numbers("out", "nodes", length, WRITE)))
    with w.loop(w.begin, w.end) as n:
        inverse = _inverse(w, n)
        rows, out = (Rows([w.row(argument, n)], (components,)) for argument in ("rows", "out"))
        with w.channels() as k:
            for component in range(components):
                w.store(w.multiply(w.load(w.at(rows, component, k)), inverse), w.at(out, component, k))
    return w


def divided_gradients(name: str, settings: KernelSettings, components: int, *, accumulate: bool) -> Builder:
    """Gradients of `divided` for nodes begin..end, added to d_density, stored in or added to d_rows."""
    length = components * settings.channels
    given = [*numbers("density", "nodes"), *numbers("rows upstream", "nodes", length)]
    d_rows = numbers("d_rows", "nodes", length, ADD if accumulate else WRITE)
    w = Builder(name, settings, Signature(given, d_rows, numbers("d_density", "nodes", 1, ADD)))
    with w.loop(w.begin, w.end) as n:
        inverse = _inverse(w, n)
        rows, upstream, target = (Rows([w.row(a, n)], (components,)) for a in ("rows", "upstream", "d_rows"))
        with w.carrying(0, settings.channels, [w.zero()], step=settings.width) as loop:
            total = loop.values[0]
            for component in range(components):
                cotangent = w.load(w.at(upstream, component, loop.index))
                total = w.fused(cotangent, w.load(w.at(rows, component, loop.index)), total)
                pointer = w.at(target, component, loop.index)
                w.store(w.fused(cotangent, inverse, w.load(pointer) if accumulate else None), pointer)
            loop.next = [total]
        slope = w.multiply(w.multiply(inverse, inverse), w.vector(-1.0))
        pointer = w.row("d_density", n)
        pulled = w.total(w.multiply(loop.values[0], slope))
        w.store_scalar(w.add(w.load_scalar(pointer), pulled), pointer)
    return w


def _inverse(w: Builder, n: Index) -> Vector:
    """1 / (1 + density) of a node, for all channels."""
    density = w.load_scalar(w.row("density", n))
    return w.broadcast(w.divide(w.scalar(1.0), w.add(density, w.scalar(1.0))))
