"""The cpu back end: kernels written out as LLVM code, compiled on first use, split over threads by whole nodes.

llvmlite, the compiler under numba, turns each kernel into machine code in 10 to 70 ms, so nothing is cached on disk.
Written as numba loops over the same tables the kernels were two to four times slower: their inner loops over channels
are short, and numba must assume that arrays overlap.

Kernels release the GIL and are run by a thread pool of ours: it may be called from several Python threads, survives a
fork, and its results do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any

import llvmlite.binding as llvm
import torch
from torch import Tensor

from ase_nbody.kernels.llvm_writer import Shape
from ase_nbody.kernels.tables import ProductTable

Code = Callable[[ProductTable, Shape], str]

SMALLEST_SHARE = 1_000_000
"""Multiply-adds per thread below which another thread costs more than it gives: waking one takes about 30 us."""

_compiling = Lock()
_engines: list[Any] = []  # own the machine code for as long as the process lives


def run(
    code: Code,
    table: ProductTable,
    offsets: Tensor | None,
    n_nodes: int,
    work: float,
    tensors: list[Tensor],
    *,
    blocked: bool = False,
) -> None:
    """Run a kernel over all nodes, in as many threads as torch uses where the work is worth it.

    Args:
        code: function of `cpu_code` that writes the kernel.
        table: its product table.
        offsets: CSR offsets of the nodes' edges, so that threads get equal shares; None for equal counts of nodes.
        n_nodes: number of nodes.
        work: multiply-adds in all.
        tensors: its arguments, contiguous; the last one or ones are written. All real ones have one dtype.
        blocked: states come as one tensor per irrep.
    """
    kernel = _compiled(code, table, tensors[-1].dtype, _channels(tensors), blocked)
    pointers = [t.data_ptr() for t in tensors]
    threads = min(torch.get_num_threads(), int(work / SMALLEST_SHARE) or 1, max(n_nodes, 1))
    if threads == 1:
        kernel(0, n_nodes, *pointers)
        return
    bounds = _bounds(offsets, n_nodes, threads)
    pool = _pool(os.getpid(), threads - 1)
    others = [pool.submit(kernel, bounds[i], bounds[i + 1], *pointers) for i in range(1, threads)]
    kernel(bounds[0], bounds[1], *pointers)
    for other in others:
        other.result()


def _channels(tensors: list[Tensor]) -> int:
    return next(t.shape[2] for t in tensors if t.dim() == 3)


def _bounds(offsets: Tensor | None, n_nodes: int, threads: int) -> list[int]:
    if offsets is None:
        return [n_nodes * i // threads for i in range(threads + 1)]
    n_edges = int(offsets[-1])
    shares = torch.tensor([n_edges * i // threads for i in range(1, threads)])
    return [0, *torch.searchsorted(offsets, shares).tolist(), n_nodes]


@cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """One pool per process: a forked child does not inherit its parent's threads."""
    return ThreadPoolExecutor(workers, thread_name_prefix=f"ase_nbody-{process}")


@cache
def _compiled(code: Code, table: ProductTable, dtype: torch.dtype, channels: int, blocked: bool) -> Callable[..., None]:
    text = code(table, Shape(torch.finfo(dtype).bits, channels, blocked))
    with _compiling:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target)
        engine.finalize_object()
        _engines.append(engine)
    n_pointers = text[: text.index(")")].count("ptr ")
    signature = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * n_pointers)
    function: Callable[..., None] = signature(engine.get_function_address("kernel"))
    return function
