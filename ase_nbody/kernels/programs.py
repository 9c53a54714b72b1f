"""Programs: LLVM modules whose phases run over blocks of nodes, in threads, on arrays known by name."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.kernels.cpu import compiled
from ase_nbody.kernels.llvm_writer import Shape, Writer
from ase_nbody.kernels.matmul_code import matmul
from ase_nbody.kernels.team import helpers, own
from ase_nbody.kernels.team_code import WHOLE, control, team
from ase_nbody.timings import Timings

BLOCK = 12
"""Nodes whose states stay in the cache from one operation to the next; their rows of any degree fill whole tiles."""

SMALLEST_SHARE = 500_000
"""Multiply-adds in float32 that are worth a share of their own: about 15 us."""

SMALLEST_WORK = 15_000_000
"""Multiply-adds in float32 of all phases from which on another thread is worth its while: about 0.4 ms."""

SHARES_PER_THREAD = 4  # so that a thread that is held up does not hold up the others
_LEAST_PER_EDGE = 30  # multiply-adds, which take as long as the reading and writing that every edge needs


class Module:
    """Functions written so far, the names of the arrays that phases use, and the sizes of their scratch space.

    Args:
        shape: dtype, channels and vectors of all states.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.arrays: dict[str, int] = {}
        self.states: dict[str, int] = {}
        self.matrices: dict[str, int] = {}
        self.weights = 0
        self.phases: dict[str, PhaseWriter] = {}
        self.scratch = 0
        self._names: dict[tuple[str, Hashable], str] = {}
        self._functions: dict[str, Writer] = {}

    def function(self, kind: str, key: Hashable, write: Callable[[str], Writer]) -> str:
        """Name of the function of a kind for a key, which is written the first time."""
        if (kind, key) not in self._names:
            name = self._names[kind, key] = f"{kind}_{len(self._names)}"
            self._functions[name] = write(name)
        return self._names[kind, key]

    def multiplications(self, name: str) -> Mapping[int, float]:
        """Of a function, see `Writer`."""
        return self._functions[name].multiplications

    def array(self, name: str) -> int:
        """Number of an array."""
        return self.arrays.setdefault(name, len(self.arrays))

    def matrix(self, name: str, size: int) -> int:
        """Where a matrix of so many numbers begins among the weights."""
        if name not in self.matrices:
            self.matrices[name] = self.weights
            self.weights += size
        return self.matrices[name]

    @contextmanager
    def phase(self, name: str) -> Iterator[PhaseWriter]:
        """Write one phase: a function of begin, end, the arrays' pointers and scratch space."""
        w = PhaseWriter(self, name)
        with w.loop_over_blocks():
            yield w
        self._functions[name] = self.phases[name] = w
        self.scratch = max(self.scratch, w.scratch_size)

    def text(self) -> str:
        """All functions."""
        declarations = dict.fromkeys(d for w in self._functions.values() for d in w.declarations)
        bodies = ["\n".join([*w.lines, "  ret void", "}"]) for w in self._functions.values()]
        internal = [b.replace("define void", "define internal void") for b in bodies]
        public = [b if name in self.phases else i for name, b, i in zip(self._functions, bodies, internal, strict=True)]
        return "\n".join([*public, team(list(self.phases)), *declarations, ""])


@dataclass(frozen=True)
class State:
    """One array per irrep, of a block of nodes.

    Attributes:
        pointers: to the rows of the block's first node.
        lengths: numbers per node of each array.
    """

    pointers: list[str]
    lengths: list[int]


class PhaseWriter(Writer):
    """Writes a phase block by block: `first` to `last` are its nodes, `count` of them.

    Args:
        module: that the phase belongs to.
        name: of the phase.
    """

    def __init__(self, module: Module, name: str) -> None:
        super().__init__(name, module.shape, {"arrays": 0, "scratch": 0})
        self.module = module
        self.scratch_size = 0  # numbers
        self.arrays: set[str] = set()
        self.first = self.last = self.count = ""

    @contextmanager
    def loop_over_blocks(self) -> Iterator[None]:
        """Loop over the blocks of nodes from begin to end."""
        with self.carrying("%begin", "%end", [], step=BLOCK) as loop:
            self.first = loop.index
            self.last = self.smaller(self.fresh(f"add i64 {loop.index}, {BLOCK}"), "%end")
            self.count = self.fresh(f"sub i64 {self.last}, {self.first}")
            yield

    def whole(self, name: str) -> str:
        """Pointer to an array from node 0 on."""
        self.arrays.add(name)
        return self.pointer("%arrays", self.module.array(name))

    def block_of(self, name: str, length: int, kind: str | None = None) -> str:
        """Pointer to the block's first row of an array with `length` numbers per node."""
        start = self.fresh(f"mul i64 {self.first}, {length}")
        return self.fresh(f"getelementptr {kind or self.shape.scalar}, ptr {self.whole(name)}, i64 {start}")

    def weights(self, name: str, size: int) -> str:
        """Pointer to a matrix."""
        return self.scalar_at(self.whole("weights"), self.module.matrix(name, size))

    def state(self, name: str, components: Sequence[int]) -> State:
        """A state kept in arrays name0, name1, ..., with so many components in each."""
        lengths = [c * self.shape.channels for c in components]
        self.module.states |= {f"{name}{i}": n for i, n in enumerate(lengths)}
        return State([self.block_of(f"{name}{i}", n) for i, n in enumerate(lengths)], lengths)

    def temporary(self, components: Sequence[int]) -> State:
        """A state of the block in scratch space."""
        pointers, lengths = [], [c * self.shape.channels for c in components]
        for length in lengths:
            pointers.append(self.scalar_at("%scratch", self.scratch_size))
            self.scratch_size += length * BLOCK
        return State(pointers, lengths)

    def from_node_zero(self, state: State) -> list[str]:
        """Pointers to where node 0 of a state of the block would stand, for functions that count from there."""
        back = self.fresh(f"sub i64 0, {self.first}")
        return [
            self.offset(p, self.fresh(f"mul i64 {back}, {n}"))
            for p, n in zip(state.pointers, state.lengths, strict=True)
        ]

    def multiply_matrix(
        self, left: str, right: str, out: str, sizes: tuple[int, int, int], *, accumulate: bool
    ) -> None:
        """Left (count rows, inner) @ right (inner, columns), stored in or added to out.

        Args:
            left: pointer.
            right: pointer.
            out: pointer.
            sizes: rows per node, inner, columns.
            accumulate: add.
        """
        rows, inner, columns = sizes
        name = self.module.function(
            "matmul",
            (inner, columns, accumulate),
            lambda n: matmul(n, self.shape, inner, columns, accumulate=accumulate),
        )
        super().call(name, "0", self.fresh(f"mul i64 {self.count}, {rows}"), [left, right, out])
        self.multiplications[1] += rows * inner * columns

    def call(self, function: str, first: str, last: str, pointers: Sequence[str]) -> None:
        """Call another function of the module and count its work."""
        super().call(function, first, last, pointers)
        for loops, count in self.module.multiplications(function).items():
            self.multiplications[loops] += count


@dataclass(frozen=True)
class PhaseWork:
    """What a phase does.

    Attributes:
        per_node: multiplications for each node.
        per_edge: multiplications for each edge within the cutoff.
        arrays: names of the arrays that it reads or writes.
    """

    per_node: float
    per_edge: float
    arrays: frozenset[str]


class Program:
    """Compiled phases.

    Args:
        module: finished.

    Attributes:
        phases: by name, in order, what they do.
        arrays: names of the arrays that they use.
        states: of these, the ones with rows of so many numbers per node that phases hand to each other.
        matrices: where each begins in the array "weights".
    """

    def __init__(self, module: Module) -> None:
        self.dtype = torch.float32 if module.shape.bits == 32 else torch.float64
        self.phases = {
            name: PhaseWork(w.multiplications[1], w.multiplications[2], frozenset(w.arrays))
            for name, w in module.phases.items()
        }
        self.arrays = tuple(module.arrays)
        self.states = dict(module.states)
        self.matrices = dict(module.matrices)
        self._scratch_size = module.scratch
        shared = {name: f"shared_{name}" for name in module.phases}
        functions = compiled(module.text(), [*shared.values(), WHOLE], 3)
        self._functions = {name: functions[function] for name, function in shared.items()}
        self._whole = ctypes.cast(functions[WHOLE], ctypes.c_void_p).value or 0  # type: ignore[arg-type]

    def addresses(self, arrays: Mapping[str, Tensor]) -> NDArray[np.int64]:
        """Table of pointers to arrays, which must be contiguous and outlive its use."""
        return np.array([arrays[name].data_ptr() for name in self.arrays], dtype=np.int64)

    def shares(self, offsets: Tensor, threads: int) -> dict[str, NDArray[np.int64]]:
        """Bounds of the ranges of nodes of each phase that threads take one after another.

        Args:
            offsets: CSR offsets of the edges of the nodes, (nodes + 1,) int64.
            threads: how many there are.
        """
        nodes, edges = len(offsets) - 1, int(offsets[-1])
        work = {
            name: (does.per_node * nodes + max(does.per_edge, _LEAST_PER_EDGE) * edges) * self.dtype.itemsize / 4
            for name, does in self.phases.items()
        }
        most = min(threads * SHARES_PER_THREAD, nodes) if threads > 1 and sum(work.values()) > SMALLEST_WORK else 1
        counts = {name: max(1, min(int(amount / SMALLEST_SHARE), most)) for name, amount in work.items()}
        bounds = {count: shares_of(offsets, count) for count in set(counts.values())}
        return {name: bounds[count] for name, count in counts.items()}

    def weights(self, matrices: Mapping[str, Tensor]) -> Tensor:
        """The array "weights" of matrices by their names."""
        return torch.cat([matrices[name].to(self.dtype).flatten() for name in self.matrices] or [torch.empty(0)])

    def run(
        self, addresses: NDArray[np.int64], shares: Mapping[str, NDArray[np.int64]], threads: int, timings: Timings
    ) -> None:
        """Run all phases over all nodes.

        Args:
            addresses: from `addresses`.
            shares: bounds of ranges of nodes for each phase, from `shares`.
            threads: how many do the work, the caller's included.
            timings: where to add the time of the phases.
        """
        state = control(shares)
        size = self._scratch_size * self.dtype.itemsize
        count = min(threads, max(len(bounds) - 1 for bounds in shares.values())) - 1
        with helpers(count) as others:
            for other in others:  # nobody waits for them: when the last phase is finished, they have nothing to do
                other.call(self._whole, addresses, size, state)
            pointers = addresses.ctypes.data, own.scratch.address(size), state.ctypes.data
            for phase in self.phases:
                with timings.measure(phase):
                    self._functions[phase](0, 0, *pointers)


def shares_of(offsets: Tensor, count: int) -> NDArray[np.int64]:
    """Bounds of ranges of nodes of about equal work, from the CSR offsets of their edges, (count + 1,)."""
    work = offsets.numpy() + _EDGES_LIKE_A_NODE * np.arange(len(offsets))
    inner = np.searchsorted(work, work[-1] * np.arange(1, count) / count)
    return np.array([0, *inner, len(offsets) - 1], dtype=np.int64)


_EDGES_LIKE_A_NODE = 20
"""Edges that take as long as the products and mixing of a node."""
