"""Programs: compiled modules whose phases run over blocks of nodes, in threads, on arrays known by name."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ase_nbody.compiler.lifetimes import LiveRange, hosts
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.phases import Module
from ase_nbody.compiler.signature import Source
from ase_nbody.compiler.team_code import WHOLE, control
from ase_nbody.compiler.thread_pool import borrowed_threads, own
from ase_nbody.timings import Timings

SMALLEST_SHARE = 500_000
"""Multiply-adds in float32 that are worth a share of their own: about 15 us."""

SMALLEST_WORK = 15_000_000
"""Multiply-adds in float32 of all phases from which on another thread is worth its while: about 0.4 ms."""

SHARES_PER_THREAD = 4  # so that a thread that is held up does not hold up the others
_LEAST_PER_EDGE = 30  # multiply-adds, which take as long as the reading and writing that every edge needs


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
        arrays: that they use.
        hosts: of each array of nodes in the workspace, the one whose memory it takes.

    Raises:
        ValueError: an array is declared that no phase uses.
    """

    def __init__(self, module: Module) -> None:
        self.dtype = torch.float32 if module.settings.bits == 32 else torch.float64
        self.phases = {
            name: PhaseWork(w.multiplications[1], _per_edge(w.multiplications), frozenset(w.arrays))
            for name, w in module.phases.items()
        }
        module.arrays.check()
        self.arrays = module.arrays
        self.hosts = hosts(self._live_ranges())
        self._matrices = dict(module.matrices)
        self._scratch_size = module.scratch
        shared = {name: f"shared_{name}" for name in module.phases}
        self._texts = module.texts()
        functions = compiled(module.text(self._texts), [*shared.values(), WHOLE], 3)
        self._functions = {name: functions[function] for name, function in shared.items()}
        self._whole = ctypes.cast(functions[WHOLE], ctypes.c_void_p).value or 0  # type: ignore[arg-type]

    def _live_ranges(self) -> dict[str, LiveRange]:
        """Of the arrays of nodes in the workspace: a phase begins when all nodes have been through the one before."""
        used = [(name, number) for number, does in enumerate(self.phases.values()) for name in does.arrays]
        ranges = {}
        for name, length in self.arrays.sizes({"nodes": 1}, "workspace").items():
            if self.dtype_of(name) is self.dtype:
                numbers = [number for user, number in used if user == name]
                ranges[name] = LiveRange(min(numbers), max(numbers), length)
        return ranges

    def text(self, phase: str | None = None) -> str:
        """LLVM code of a phase and of the functions that it calls, or of all phases.

        Raises:
            ValueError: there is no such phase.
        """
        if phase is None:
            return "\n".join(self._texts.values())
        if phase not in self.phases:
            raise ValueError(f"there is no phase '{phase}': choose one of {', '.join(self.phases)}")
        called = dict.fromkeys(re.findall(r"call void @(\w+)", self._texts[phase]))
        return "\n".join(self._texts[name] for name in (*called, phase))

    def dtype_of(self, array: str) -> torch.dtype:
        """Dtype of an array."""
        return self.arrays.dtype(array, self.dtype)

    def results(self, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """New arrays for results, with zeros in those that are sums."""
        empty = self.arrays.sizes(counts, "result")
        results = {name: torch.empty(size, dtype=self.dtype) for name, size in empty.items()}
        return results | {
            name: torch.zeros(size, dtype=self.dtype) for name, size in self.arrays.sizes(counts, "sum").items()
        }

    def check(self, tensors: Mapping[str, Tensor], source: Source, counts: Mapping[str, int]) -> None:
        """Check that tensors can be used as the arrays of one source, see `ArrayTable.check_tensors`."""
        self.arrays.check_tensors(tensors, source, counts, self.dtype)

    def addresses(self, tensors: Mapping[str, Tensor]) -> NDArray[np.int64]:
        """Table of pointers to arrays, which must outlive its use.

        Args:
            tensors: by the names of the arrays, as `check` wants them or from `results` and `Workspace`.

        Raises:
            ValueError: an array is missing.
        """
        missing = self.arrays.numbers.keys() - tensors.keys()
        if missing:
            raise ValueError(f"arrays {', '.join(sorted(missing))} are missing: provide them")
        return np.array([tensors[name].data_ptr() for name in self.arrays.numbers], dtype=np.int64)

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
        """The array "weights" of matrices by their names.

        Raises:
            ValueError: one is missing, or has another size.
        """
        for name, place in self._matrices.items():
            if name not in matrices or matrices[name].numel() != len(place):
                came = f"with {matrices[name].numel()} numbers came" if name in matrices else "is missing"
                raise ValueError(f"matrix '{name}' {came}, but the program reads one of {len(place)}: provide it")
        return torch.cat([matrices[name].to(self.dtype).flatten() for name in self._matrices] or [torch.empty(0)])

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
        with borrowed_threads(count) as others:
            for other in others:  # nobody waits for them: when the last phase is finished, they have nothing to do
                other.call(self._whole, addresses, size, state)
            pointers = addresses.ctypes.data, own.scratch.address(size), state.ctypes.data
            for phase in self.phases:
                with timings.measure(phase):
                    self._functions[phase](0, 0, *pointers)


def _per_edge(multiplications: Mapping[int, float]) -> float:
    """Those within two loops of unknown length, over nodes and edges, or three, where edges go in groups."""
    return sum(count for loops, count in multiplications.items() if loops >= 2)


def shares_of(offsets: Tensor, count: int) -> NDArray[np.int64]:
    """Bounds of ranges of nodes of about equal work, from the CSR offsets of their edges, (count + 1,)."""
    work = offsets.numpy() + _EDGES_LIKE_A_NODE * np.arange(len(offsets))
    inner = np.searchsorted(work, work[-1] * np.arange(1, count) / count)
    return np.array([0, *inner, len(offsets) - 1], dtype=np.int64)


_EDGES_LIKE_A_NODE = 20
"""Edges that take as long as the products and mixing of a node."""
