"""What steps work on when they are done with tangents, for gradients of losses on energies and forces.

A block of a state is an array (2, N (2l + 1), columns) of values and tangents, and of its gradient one of the same
shape, of cotangents and their tangents: see `kernels.dual`. Steps are done four times: values in their order,
cotangents from the end, tangents in their order, and tangents of the cotangents from the end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ase_nbody.edges import EdgeList
from ase_nbody.kernels.dual import Batch, Dual, DualArray
from ase_nbody.nn.dual_edges import DualDirections
from ase_nbody.nn.element_mixing import ElementGroups, element_groups
from ase_nbody.steps.memory import Arena
from ase_nbody.steps.radial import ParameterGradients, RadialEdges, RadialWeights, SharedHidden, shared_rows
from ase_nbody.steps.state_irreps import StateIrreps
from ase_nbody.steps.weights import StepWeights


class Accumulator:
    """A block that a step adds to, of which nothing has been read yet.

    Args:
        out: of N (2l + 1) rows.
        before: what is added to, the same array where it is added in place; None: nothing, so it is stored.
    """

    def __init__(self, out: DualArray, before: DualArray | None) -> None:
        self._out = out.parts
        self._before = None if before is None else before.parts

    def add_product(self, part: int, rows: Tensor, matrix: Tensor) -> None:
        """Add rows @ matrix."""
        if self._before is None:
            torch.mm(rows, matrix, out=self._out[part])
        else:
            torch.addmm(self._before[part], rows, matrix, out=self._out[part])

    def add(self, part: int, rows: Tensor) -> None:
        """Add rows."""
        if self._before is None:
            self._out[part].copy_(rows)
        else:
            torch.add(self._before[part], rows, out=self._out[part])

    def begun(self, part: int) -> Tensor:
        """The array, for what adds to it in its own way."""
        out = self._out[part]
        if self._before is None:
            out.zero_()
        elif self._before is not self._out:
            out.copy_(self._before[part])
        return out


class DualStates:
    """States by their names, or their gradients. A block of which no step has made anything counts as zero.

    What has been read is not changed any more: a step that adds to it makes another array.

    Args:
        irreps_of: of states.
        n_atoms: N.
        like: a tensor of their dtype.
    """

    def __init__(self, irreps_of: Mapping[str, StateIrreps], n_atoms: int, like: Tensor) -> None:
        self.irreps_of = irreps_of
        self._n_atoms, self._like = n_atoms, like
        self._blocks: dict[tuple[str, int], DualArray] = {}
        self._read: set[tuple[str, int]] = set()

    def find(self, name: str, number: int) -> DualArray | None:
        """A block to read, if a step has made it."""
        self._read.add((name, number))
        return self._blocks.get((name, number))

    def accumulator(self, name: str, number: int) -> Accumulator:
        """A block to add to."""
        key = name, number
        before = self._blocks.get(key)
        if before is not None and key not in self._read:
            return Accumulator(before, before)
        block = self._blocks[key] = self._empty(name, number)
        self._read.discard(key)
        return Accumulator(block, before)

    def offer(self, name: str, state: Dual) -> list[tuple[Accumulator, DualArray]]:
        """Take arrays, filled in later, as blocks of a state; of blocks that are there already, what to add to them."""
        added = []
        for number, block in enumerate(state.arrays):
            if (name, number) in self._blocks:
                added.append((self.accumulator(name, number), block))
            else:
                self._blocks[name, number] = block
                self._read.discard((name, number))
        return added

    def complete(self, name: str) -> Dual:
        """All blocks to read."""
        return Dual([self.full(name, number) for number in range(len(self.irreps_of[name]))])

    def full(self, name: str, number: int) -> DualArray:
        """A block to read, zeros if nothing was made."""
        block = self.find(name, number)
        if block is None:
            block = self._blocks[name, number] = self._empty(name, number)
            block.both.zero_()
        return block

    def _empty(self, name: str, number: int) -> DualArray:
        block = self.irreps_of[name][number]
        return DualArray(self._like.new_empty(2, self._n_atoms * block.irrep.dimension, block.columns))


@dataclass
class DualAtoms:
    """Atoms of a batch while steps are done.

    Attributes:
        weights: of the steps.
        types: numbers of the elements, (N,) int64.
        one_hot: the same, 1 at the element, (N, T).
        pairs: edges within the cutoff.
        shifts: whole cells by which senders are moved, (E, 3).
        directions: harmonics and distances of these.
        kinds: of these, (E,) int64.
        states: values and tangents.
        gradients: tangents of cotangents, and cotangents.
        energies: (N,).
        d_energies: gradient by them of a scalar, (N,).
        d_harmonics: cotangents of the harmonics, (E, M).
        memory: for large arrays.
    """

    weights: StepWeights
    types: Tensor
    one_hot: Tensor
    pairs: EdgeList
    shifts: Tensor
    directions: DualDirections
    kinds: Tensor
    states: DualStates
    gradients: DualStates
    energies: Tensor
    d_energies: Tensor
    d_harmonics: Tensor
    memory: Arena

    def __post_init__(self) -> None:
        self._edges: dict[bool, RadialEdges] = {}
        self._scratch = self.energies.new_empty(0)
        self.hidden: dict[tuple[int, bool], SharedHidden] = {}
        """Hidden layers that contractions have asked for."""

    def radial(self, name: str, *, by_kind: bool) -> RadialWeights:
        """Radial weights of all edges."""
        network = self.weights.radial[name].network
        assert network is not None
        if by_kind not in self._edges:
            kinds = self.kinds if by_kind else torch.zeros_like(self.kinds)
            shared = shared_rows(self.pairs, self.shifts, kinds)
            distances = self.directions.distances[shared.first]
            self._edges[by_kind] = RadialEdges(distances, kinds[shared.first], shared, self.memory)
        key = id(network.layers), by_kind
        if key not in self.hidden:
            self.hidden[key] = SharedHidden(network, self._edges[by_kind])
        return RadialWeights(network.matrix, self.hidden[key])

    @cached_property
    def groups(self) -> ElementGroups:
        """Atoms by element."""
        return element_groups(self.types, self.one_hot.shape[1])

    def scratch(self, *shape: int) -> Tensor:
        """An array that lasts until the next call."""
        size = math.prod(shape)
        if len(self._scratch) < size:
            self._scratch = self.memory.empty(self.energies, size)
        return self._scratch[:size].view(shape)

    def batch(self, channels: int) -> Batch:
        """Nodes and edges of kernels on so many channels."""
        return Batch(len(self.energies), self.pairs, self.energies.new_empty(0, 0, channels))


class DualStep(ABC):
    """A step of one batch with tangents. Made where the step's turn comes, before its values."""

    @abstractmethod
    def forward(self, part: int) -> None:
        """Make values or tangents of what it adds."""

    @abstractmethod
    def begin_backward(self) -> None:
        """Find the gradients by what it made, and begin those by what it reads; once, from the last step on."""

    @abstractmethod
    def backward(self, part: int) -> None:
        """Add to cotangents, or their tangents, of what it reads."""

    @abstractmethod
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        """Add the gradients by its weights to `gradients`."""


def add_offered(offered: Sequence[tuple[Accumulator, DualArray]], part: int) -> None:
    """Add what `DualStates.offer` says."""
    for accumulator, block in offered:
        accumulator.add(part, block.parts[part])
