"""What this machine can do at most: its rate of multiply-adds and its bandwidth of memory, by kernels of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import llvmlite.binding as llvm
import torch
from torch import Tensor

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.signature import ADD, WRITE, Signature, numbers
from ase_nbody.compiler.thread_pool import run_ranges
from ase_nbody.thread_count import thread_count

VECTOR_BYTES = 64

SUMS = (6, 12, 24)
"""Vectors that are added to in turn. Enough hide the latency of an addition, more than there are registers spill: which
number is best differs between processors, and the best rate counts."""

UNROLLED = 768
"""Multiply-adds of such vectors between loads and stores of the sums; a multiple of all of SUMS."""

REPEATS = 50_000
"""Runs of the unrolled part: about 10 ms in all."""

COPIED_BYTES = 256 * 2**20
"""Bytes of the array that is copied: far more than caches hold."""

ROW_BYTES = 1024


@dataclass(frozen=True)
class Machine:
    """Highest rates measured, by as many threads as torch uses.

    Attributes:
        threads: their number.
        multiply_adds_per_s: fused multiply-adds of numbers in registers, 1/s.
        copy_bytes_per_s: bytes read and written while an array in memory is copied, 1/s.
    """

    threads: int
    multiply_adds_per_s: float
    copy_bytes_per_s: float


def measured_machine(dtype: torch.dtype, seconds: float) -> Machine:
    """The machine's rates for a dtype.

    Args:
        dtype: float32 or float64; of the multiply-adds.
        seconds: time for measuring, about; each kernel runs at least twice.
    """
    share = seconds / (len(SUMS) + 1)
    rates = [_multiply_add_rate(dtype, sums, share) for sums in SUMS]
    return Machine(thread_count(), max(rates), _copy_rate(share))


def processor() -> str:
    """LLVM's name of the processor, such as "znver4"."""
    return str(llvm.get_host_cpu_name())


def add_repeatedly(sums: Tensor, factor: float, addend: float) -> None:
    """Replace each number x by factor * x + addend, UNROLLED / n * REPEATS times, as one thread does for each row.

    Args:
        sums: n vectors of VECTOR_BYTES for each thread, (threads, n, numbers), contiguous, changed in place.
        factor: of the numbers.
        addend: of the products.
    """
    threads, n_sums, width = sums.shape
    constants = sums.new_tensor([factor, addend])
    kernel = _kernel(_repeated_multiply_adds, KernelSettings(8 * sums.itemsize, n_sums * width))
    _run(kernel, threads, threads, [sums, constants])


def copy_past_caches(source: Tensor, target: Tensor) -> None:
    """Copy rows of ROW_BYTES; what is written goes to memory and is not read before, as it would be through caches.

    Args:
        source: contiguous, (rows, numbers).
        target: of the same shape; its memory begins at a multiple of 64 bytes, as torch's does.
    """
    kernel = _kernel(_streaming_copy, KernelSettings(8 * source.itemsize, source.shape[1]))
    _run(kernel, len(source), thread_count(), [source, target])


def _multiply_add_rate(dtype: torch.dtype, n_sums: int, seconds: float) -> float:
    threads, width = thread_count(), VECTOR_BYTES // dtype.itemsize
    sums = torch.zeros(threads, n_sums, width, dtype=dtype)
    return _best_rate(threads * UNROLLED * REPEATS * width, lambda: add_repeatedly(sums, 0.5, 0.25), seconds)


def _copy_rate(seconds: float) -> float:
    source = torch.ones(COPIED_BYTES // ROW_BYTES, ROW_BYTES // 4, dtype=torch.float32)
    target = torch.zeros_like(source)
    return _best_rate(2 * COPIED_BYTES, lambda: copy_past_caches(source, target), seconds)


def _best_rate(amount: int, action: Callable[[], None], seconds: float) -> float:
    """Amount of work by the shortest time of several runs, after one that compiles."""
    action()
    shortest, started = float("inf"), perf_counter()
    while True:
        before = perf_counter()
        action()
        now = perf_counter()
        shortest = min(shortest, now - before)
        if now - started > seconds:
            return amount / shortest


@cache
def _kernel(code: Callable[[KernelSettings], str], settings: KernelSettings) -> Callable[..., None]:
    return compiled(code(settings), ["kernel"], 2)["kernel"]


def _run(kernel: Callable[..., None], rows: int, threads: int, arrays: list[Tensor]) -> None:
    """Run a kernel over rows, in as many threads as given."""
    bounds = [rows * i // threads for i in range(threads + 1)]
    run_ranges(kernel, bounds, [array.data_ptr() for array in arrays])


def _repeated_multiply_adds(settings: KernelSettings) -> str:
    """All channels of a row are kept in registers through the unrolled part."""
    rounds = UNROLLED * VECTOR_BYTES * 8 // (settings.channels * settings.bits)
    signature = Signature(numbers("sums", "rows", settings.channels, ADD), numbers("constants", "one", 2))
    w = Builder("kernel", settings, signature)
    factor, addend = (w.broadcast(w.load_scalar(w.offset(w.numbers("constants"), i))) for i in range(2))
    with w.loop(w.begin, w.end) as thread:
        row = w.row("sums", thread)
        with w.loop(0, REPEATS):
            places = [w.vector_at(row, i) for i in range(settings.channels // settings.width)]
            sums = [w.load(place) for place in places]
            for _ in range(rounds):
                sums = [w.fused(x, factor, addend) for x in sums]
            for x, place in zip(sums, places, strict=True):
                w.store(x, place)
    return w.text()


def _streaming_copy(settings: KernelSettings) -> str:
    source, target = numbers("source", "rows", settings.channels), numbers("target", "rows", settings.channels, WRITE)
    w = Builder("kernel", settings, Signature(source, target))
    alignment = settings.width * settings.bits // 8
    with w.loop(w.begin, w.end) as n:
        row, copy = w.row("source", n), w.row("target", n)
        for number in range(settings.channels // settings.width):
            value, place = w.load(w.vector_at(row, number)), w.vector_at(copy, number)
            w.lines.append(f"  store {settings.vector} {value}, ptr {place}, align {alignment}, !nontemporal !0")
    return w.text() + "!0 = !{i32 1}\n"
