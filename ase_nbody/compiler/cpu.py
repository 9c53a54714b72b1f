"""The cpu back end: kernels written out as LLVM code, compiled on first use, split over threads by whole nodes.

Loops over the same tables in numba (commit 5486b8f) were slower: their inner loops over channels are short, and numba
must assume that arrays overlap.

Kernels release the GIL and are run by `thread_pool`; their results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.signature import Signature
from ase_nbody.compiler.thread_pool import run_ranges
from ase_nbody.compiler.values import ScalarPointer
from ase_nbody.edges import EdgeList
from ase_nbody.thread_count import threads_worth

Code = Callable[[ProductTable, KernelSettings], Builder]
Arguments = Mapping[str, Tensor | list[Tensor]]

SMALLEST_SHARE = 1_000_000
"""Multiply-adds per thread below which another thread costs more than it gives: waking one takes about 30 us."""


def run(
    code: Code,
    table: ProductTable,
    nodes: Nodes,
    work: float,
    like: Tensor,
    arguments: Arguments,
    *,
    blocked: bool = False,
) -> None:
    """Run a kernel over nodes, in as many threads as there may be where the work is worth it.

    Args:
        code: function of `cpu_code` that writes the kernel.
        table: its product table.
        nodes: which receivers, senders or nodes to run over.
        work: multiply-adds in all.
        like: a state with the dtype and channels of all real arguments, (N, components, C).
        arguments: contiguous tensors by the names of the kernel's signature, whose shapes are not checked here: see
            `check_shapes`.
        blocked: states come as lists of one tensor per irrep.

    Raises:
        ValueError: an argument is missing, superfluous, not contiguous or of another dtype.
    """
    kernel = _compiled(code, table, like.dtype, like.shape[2], blocked)
    bounds = nodes.shares(threads_worth(work, SMALLEST_SHARE, nodes.end - nodes.begin))
    run_ranges(kernel.function, bounds, kernel.addresses(arguments))


@dataclass(frozen=True)
class Nodes:
    """A range of nodes, with the CSR offsets of their edges where these decide the work.

    Attributes:
        begin: first node.
        end: one past the last node.
        offsets: of all nodes, (nodes + 1,) int64, or None for equal work per node.
    """

    begin: int
    end: int
    offsets: Tensor | None = None

    def shares(self, count: int) -> list[int]:
        """Bounds of `count` ranges of about equal work."""
        if self.offsets is None or count == 1:
            return [self.begin + (self.end - self.begin) * i // count for i in range(count + 1)]
        first, last = int(self.offsets[self.begin]), int(self.offsets[self.end])
        wanted = torch.tensor([first + (last - first) * i // count for i in range(1, count)])
        inner = torch.searchsorted(self.offsets[self.begin : self.end], wanted) + self.begin
        return [self.begin, *inner.tolist(), self.end]


def receivers(edges: EdgeList) -> tuple[Nodes, dict[str, Tensor]]:
    """What kernels over the edges of receivers run over, and their arguments `operands.RECEIVING`."""
    lists = {"offsets": edges.receiver_offsets, "senders": edges.senders}
    return Nodes(0, edges.n_receivers, edges.receiver_offsets), lists


def senders(edges: EdgeList) -> tuple[Nodes, dict[str, Tensor]]:
    """The same of senders, and `operands.SENDING`."""
    lists = {"offsets": edges.sender_offsets, "order": edges.sender_order, "receivers": edges.receivers}
    return Nodes(0, edges.n_senders, edges.sender_offsets), lists


@dataclass(frozen=True)
class Kernel:
    """Machine code of a kernel.

    Attributes:
        name: for messages.
        signature: its arguments.
        dtypes: of the tensors, in the order of the signature's pointers.
        function: of begin, end and the addresses of the arguments.
    """

    name: str
    signature: Signature
    dtypes: list[torch.dtype]
    function: Callable[..., None]

    def addresses(self, arguments: Arguments) -> list[int]:
        """Of tensors by the names of arguments.

        Raises:
            ValueError: an argument is missing, superfluous, not contiguous or of another dtype.
        """
        tensors: list[Tensor] = self.signature.bound(self.name, arguments)
        if [t.dtype for t in tensors] != self.dtypes or not all(map(Tensor.is_contiguous, tensors)):
            self._refuse(tensors)
        return list(map(Tensor.data_ptr, tensors))

    def _refuse(self, tensors: Sequence[Tensor]) -> None:
        """Say which tensor is wrong."""
        for (_, name, _), tensor, dtype in zip(self.signature.flat, tensors, self.dtypes, strict=True):
            if tensor.dtype != dtype or not tensor.is_contiguous():
                came = f"{tensor.dtype} and {'' if tensor.is_contiguous() else 'not '}contiguous"
                raise ValueError(f"{self.name}: argument '{name}' is {came}, but contiguous {dtype} is wanted")


def check_shapes(kernel: str, signature: Signature, arguments: Arguments) -> None:
    """Check that tensors have as many rows as those of other arguments of the same nodes or edges.

    `run` does not: it would take as long as a small kernel. Tests run the training passes with it.

    Args:
        kernel: name for messages.
        signature: its arguments.
        arguments: by their names.

    Raises:
        ValueError: a tensor has no whole number of rows, or not as many as another.
    """
    tensors: list[Tensor] = signature.bound(kernel, arguments)
    first: dict[str, tuple[int, str]] = {}
    for (_, name, kind), tensor in zip(signature.flat, tensors, strict=True):
        rows, rest = divmod(tensor.numel(), kind.length)
        if rest:
            raise ValueError(f"{kernel}: argument '{name}' has {tensor.numel()} numbers, but {kind} are wanted")
        of, bounds = kind.rows.removesuffix(" bounds"), kind.rows.endswith(" bounds")
        of += "s" * bounds
        expected, other = first.setdefault(of, (rows - bounds, name))
        if rows - bounds != expected and kind.rows != "rows":
            raise ValueError(
                f"{kernel}: argument '{name}' has {rows} rows, but '{other}' is of {expected} {of}: {kind} are wanted"
            )


@cache
def _compiled(code: Code, table: ProductTable, dtype: torch.dtype, channels: int, blocked: bool) -> Kernel:
    w = code(table, KernelSettings(torch.finfo(dtype).bits, channels, blocked))
    functions = compiled(w.text(), [w.name], len(w.signature.flat))
    dtypes = [dtype if kind.pointer is ScalarPointer else torch.int64 for _, _, kind in w.signature.flat]
    return Kernel(w.name, w.signature, dtypes, functions[w.name])
