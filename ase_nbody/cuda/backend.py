"""The cuda back end: kernels written out as Triton source, compiled on first use for the GPU at hand.

Triton comes with torch's CUDA builds and is imported when a kernel is first needed; its machine code is kept in
Triton's own cache on disk. Results do not change from run to run: no atomics, every sum in one fixed order.
"""

from __future__ import annotations

import linecache
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from math import prod
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.cuda import kernel_code
from ase_nbody.cuda.kernel_code import Part
from ase_nbody.cuda.triton_writer import Layout
from ase_nbody.cuda.weights import Splined, Weights
from ase_nbody.edges import EdgeList

OLDEST_TRITON = (3, 3)
"""Older ones round constants to float32 in float64 arithmetic (seen in the PTX of 3.1)."""

THREADS = 32
"""Threads of a program."""

VECTOR_BYTES = 8
"""Bytes that each thread reads at once in the kernels that only stream."""

PREFERRED_REGISTERS, MOST_REGISTERS = 168, 208
"""32-bit registers of a thread, of 255, that the values kept over an edge may fill; addresses and temporaries take the
rest. Two channels per thread below the first, so that enough programs share a multiprocessor; several launches above
the second. With ptxas for sm_80 and sm_90 no float32 kernel of the presets spills then, and float64 ones at most 32
bytes."""

OPTIONS = {"num_warps": 1, "enable_fp_fusion": True}
"""One warp per program: sums over channels are then exchanges between its threads, without shared memory."""

_compiling = Lock()
_numbers = count()


class Held(NamedTuple):
    """What an edge kernel keeps in registers beside a row of the output.

    Attributes:
        first: rows like a state, per channel.
        second: rows like the harmonics, per channel.
        harmonics: rows like the harmonics, for all channels.
        edge: other numbers of an edge, for all channels.
    """

    first: int
    second: int
    harmonics: int
    edge: int = 0


def serves(tensor: Tensor) -> bool:
    """Whether the kernels run on a tensor: it is on a GPU, and there is a Triton that is new enough."""
    return tensor.device.type == "cuda" and has_triton()


@cache
def has_triton() -> bool:
    """Whether Triton is installed, in a version that compiles the kernels as they are written."""
    if find_spec("triton") is None:
        return False
    numbers = import_module("triton").__version__.split(".")[:2]
    return tuple(int(n) for n in numbers) >= OLDEST_TRITON


def messages(plain: Sequence[Tensor], edges: EdgeList, table: ProductTable) -> Tensor:
    """dS/dG, (n_receivers, table.n_output, C), from contiguous states, harmonics and radial weights."""
    states = plain[0]
    summed = states.new_empty(edges.n_receivers, table.n_output, states.shape[2])
    tensors = [edges.receiver_offsets, edges.senders, *plain, summed]
    _run_parts(kernel_code.messages, Held(first=1, second=0, harmonics=1), table, edges, states, tensors)
    return summed


def tangent_messages(
    plain: Sequence[Tensor], tangents: Sequence[Tensor], edges: EdgeList, table: ProductTable
) -> Tensor:
    """Tangents of dS/dG for tangents of states, harmonics and radial weights, all contiguous."""
    states = plain[0]
    summed = states.new_empty(edges.n_receivers, table.n_output, states.shape[2])
    tensors = [edges.receiver_offsets, edges.senders, *plain, *tangents, summed]
    _run_parts(kernel_code.tangent_messages, Held(first=2, second=0, harmonics=2), table, edges, states, tensors)
    return summed


def gradients(
    plain: Sequence[Tensor], upstream: Tensor, edges: EdgeList, table: ProductTable
) -> tuple[Tensor, Tensor, Tensor]:
    """dS/dpsi, dS/dY and dS/dR from contiguous states, harmonics, radial weights and G."""
    held = Held(first=2, second=1, harmonics=1)
    return _gradients(kernel_code.gradients, held, [*plain, upstream], edges, table)


def tangent_gradients(
    plain: Sequence[Tensor], upstream: Tensor, tangents: Sequence[Tensor], edges: EdgeList, table: ProductTable
) -> tuple[Tensor, Tensor, Tensor]:
    """Tangents of `gradients` for tangents of states, harmonics and radial weights, all contiguous."""
    held = Held(first=3, second=1, harmonics=2)
    return _gradients(kernel_code.tangent_gradients, held, [*plain, upstream, *tangents], edges, table)


def spline_messages(
    plain: Sequence[Tensor], place: Sequence[Tensor], degree: int, edges: EdgeList, table: ProductTable
) -> Tensor:
    """As `messages`, with radial weights made of splines.

    Args:
        plain: states and harmonics, contiguous.
        place: in the intervals, (E,), the first row of each edge, (E,) int64, and coefficients, (rows, paths C).
        degree: of the splines.
        edges: who is whose child.
        table: the product.
    """
    states = plain[0]
    summed = states.new_empty(edges.n_receivers, table.n_output, states.shape[2])
    tensors = [edges.receiver_offsets, edges.senders, *plain, *place, summed]
    held = Held(first=1, second=0, harmonics=1, edge=degree + 1)
    _run_parts(kernel_code.messages, held, table, edges, states, tensors, Splined(degree))
    return summed


def spline_gradients(
    plain: Sequence[Tensor],
    place: Sequence[Tensor],
    upstream: Tensor,
    degree: int,
    edges: EdgeList,
    table: ProductTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of S by states, harmonics and places; arguments as of `spline_messages`, and a contiguous G."""
    states, harmonics = plain
    held = Held(first=2, second=1, harmonics=1, edge=2 * (degree + 1))
    layout, _ = plan(held, table, states.dtype, states.shape[2])
    of_edges = states.new_empty(edges.n_edges, *states.shape[1:])
    d_harmonics = states.new_empty(edges.n_edges, layout.blocks, harmonics.shape[1])
    d_places = states.new_empty(edges.n_edges, layout.blocks)
    results = [of_edges, d_harmonics, d_places]
    tensors = [edges.receiver_offsets, edges.senders, *plain, *place, upstream, *results]
    _run_parts(kernel_code.gradients, held, table, edges, states, tensors, Splined(degree))
    d_states = sums(of_edges, edges.sender_offsets, edges.sender_order)
    return d_states, d_harmonics.sum(dim=1), d_places.sum(dim=1)


def sums(rows: Tensor, offsets: Tensor, order: Tensor) -> Tensor:
    """Contiguous rows (R, ...) summed over nodes; rows order[offsets[n]:offsets[n + 1]] are those of node n."""
    summed = rows.new_empty(len(offsets) - 1, *rows.shape[1:])
    layout = _streaming(prod(rows.shape[1:]), rows.dtype)
    _launch(compiled(kernel_code.sums, layout), len(summed), layout, [offsets, order, rows, summed])
    return summed


def products(factors: Sequence[Tensor], table: ProductTable) -> Tensor:
    """The node product of two contiguous factors, (N, table.n_output, C)."""
    product = factors[0].new_empty(factors[0].shape[0], table.n_output, factors[0].shape[2])
    _run_nodes(kernel_code.products, table, [*factors, product])
    return product


def product_gradients(factors: Sequence[Tensor], upstream: Tensor, table: ProductTable) -> tuple[Tensor, Tensor]:
    """Gradients of the node product with respect to its factors, all contiguous."""
    first, second = (torch.empty_like(factor) for factor in factors)
    _run_nodes(kernel_code.product_gradients, table, [*factors, upstream, first, second])
    return first, second


def product_tangents(factors: Sequence[Tensor], tangents: Sequence[Tensor], table: ProductTable) -> Tensor:
    """Tangents of the node product for tangents of its factors, all contiguous."""
    product = factors[0].new_empty(factors[0].shape[0], table.n_output, factors[0].shape[2])
    _run_nodes(kernel_code.product_tangents, table, [*factors, *tangents, product])
    return product


def _gradients(
    code: Callable[..., str], held: Held, arguments: Sequence[Tensor], edges: EdgeList, table: ProductTable
) -> tuple[Tensor, Tensor, Tensor]:
    states, harmonics, radial = arguments[:3]
    layout, _ = plan(held, table, states.dtype, states.shape[2])
    of_edges = states.new_empty(edges.n_edges, *states.shape[1:])
    d_harmonics = states.new_empty(edges.n_edges, layout.blocks, harmonics.shape[1])
    d_radial = torch.empty_like(radial)
    tensors = [edges.receiver_offsets, edges.senders, *arguments, of_edges, d_harmonics, d_radial]
    _run_parts(code, held, table, edges, states, tensors)
    d_states = sums(of_edges, edges.sender_offsets, edges.sender_order)
    return d_states, d_harmonics.sum(dim=1), d_radial


def _run_parts(
    code: Callable[..., str],
    held: Held,
    table: ProductTable,
    edges: EdgeList,
    states: Tensor,
    tensors: Sequence[Tensor],
    *more: Weights,
) -> None:
    layout, parts = plan(held, table, states.dtype, states.shape[2])
    for part in parts:
        _launch(compiled(code, table, part, layout, *more), edges.n_receivers, layout, tensors)


def _run_nodes(code: Callable[..., str], table: ProductTable, tensors: Sequence[Tensor]) -> None:
    nodes, _, channels = tensors[0].shape
    layout = _streaming(channels, tensors[0].dtype)
    _launch(compiled(code, table, layout), nodes, layout, tensors)


def _launch(kernel: Any, nodes: int, layout: Layout, tensors: Sequence[Tensor]) -> None:
    if nodes and layout.blocks:
        with torch.cuda.device_of(tensors[-1]):  # type: ignore[no-untyped-call]
            kernel[(nodes, layout.blocks)](*tensors, **OPTIONS)


@cache
def plan(held: Held, table: ProductTable, dtype: torch.dtype, channels: int) -> tuple[Layout, tuple[Part, ...]]:
    """Channels of a program and parts of the table for an edge kernel.

    Two channels per thread share the couplings of an edge, which are otherwise made for each of them; one where two
    take too many registers, with as many parts as the outputs then need.
    """
    words = torch.finfo(dtype).bits // 32
    per_channel = held.first * table.n_first + held.second * table.n_second
    shared = held.harmonics * table.n_second + held.edge
    if words * (2 * (table.n_output + per_channel) + shared) <= PREFERRED_REGISTERS:
        return Layout(channels, _block(channels, 2 * THREADS)), _parts(table, 1)
    room = max(MOST_REGISTERS // words - per_channel - shared, 1)
    return Layout(channels, _block(channels, THREADS)), _parts(table, -(-table.n_output // room))


def _parts(table: ProductTable, number: int) -> tuple[Part, ...]:
    """Consecutive paths in at most `number` parts of about equal numbers of outputs."""
    parts: dict[int, list[int]] = defaultdict(list)
    before = 0
    for n, path in enumerate(table.paths):
        parts[before * number // table.n_output].append(n)
        before += len(path.outputs)
    return tuple(Part(tuple(paths), first=n == 0) for n, paths in enumerate(parts.values()))


def _streaming(channels: int, dtype: torch.dtype) -> Layout:
    return Layout(channels, _block(channels, THREADS * VECTOR_BYTES // dtype.itemsize))


def _block(channels: int, largest: int) -> int:
    return min(largest, 1 << max(channels - 1, 0).bit_length())


@cache
def compiled(code: Callable[..., str], *arguments: Any) -> Any:
    """The Triton function that `code` writes for some arguments, compiled when it is first launched."""
    text = code(*arguments)
    name = text[len("def ") : text.index("(")]
    with _compiling:
        file = f"<ase_nbody kernel {name} {next(_numbers)}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # where Triton reads source
        namespace = {"tl": import_module("triton.language"), "__name__": __name__}
        exec(compile(text, file, "exec"), namespace)
    return import_module("triton").jit(namespace[name])
