"""What a step writes its code with: pointers to states of a block of atoms, and which of them hold something yet."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.phases import PhaseWriter, State
from ase_nbody.compiler.values import Pointer, ScalarPointer
from ase_nbody.kernels import node_code
from ase_nbody.math.splines import Grid
from ase_nbody.steps.state_irreps import StateIrreps


@dataclass
class Progress:
    """What all phases of a program share.

    Attributes:
        irreps_of: of states.
        n_types: elements of the network.
        kept: states and cotangents ("d_" before the name) in arrays of all atoms; others last for one phase.
        grid: of the radial tables.
        written: blocks of states that hold something.
    """

    irreps_of: Mapping[str, StateIrreps]
    n_types: int
    kept: frozenset[str]
    grid: Grid
    written: set[tuple[str, int]] = field(default_factory=set)


class StepWriter:
    """Writes steps into one phase. States go by their names, their cotangents by "d_" and the name.

    Args:
        phase: that is written.
        progress: of the program.
    """

    def __init__(self, phase: PhaseWriter, progress: Progress) -> None:
        self.phase = phase
        self.grid = progress.grid
        self.n_types = progress.n_types
        self._progress = progress
        self._states: dict[str, State] = {}

    def irreps(self, name: str) -> StateIrreps:
        """Of a state or its cotangent."""
        return self._progress.irreps_of[name.removeprefix("d_")]

    def settings(self, channels: int) -> KernelSettings:
        """For kernels on so many channels."""
        return replace(self.phase.settings, channels=channels)

    def blocks(self, name: str) -> list[ScalarPointer]:
        """Pointers to the rows of the phase's first atom in the blocks of a state."""
        if name not in self._states:
            if name in self._progress.kept:
                self._states[name] = self.phase.state(f"{name}_")
            else:
                self._states[name] = self.phase.temporary(name, [block.length for block in self.irreps(name)])
        return self._states[name].pointers

    def block(self, name: str, number: int) -> ScalarPointer:
        """Pointer to one block of a state."""
        return self.blocks(name)[number]

    def whole_blocks(self, name: str) -> Sequence[Pointer]:
        """Pointers to the rows of atom 0, for functions that run over numbers of atoms."""
        if name in self._progress.kept:
            return self.phase.whole_state(f"{name}_")
        self.blocks(name)
        return self.phase.from_node_zero(self._states[name])

    def is_written(self, name: str, number: int) -> bool:
        """Whether a block of a state holds something; it counts as zero until then."""
        return (name, number) in self._progress.written

    def first_write(self, name: str, number: int) -> bool:
        """Note that a block is written to, and say whether that is the first time: then store, else add."""
        first = not self.is_written(name, number)
        self._progress.written.add((name, number))
        return first

    def begin(self, name: str) -> None:
        """Note that all blocks are about to be stored.

        Raises:
            ValueError: one holds something.
        """
        if not all([self.first_write(name, number) for number in range(len(self.irreps(name)))]):
            raise ValueError(f"{self.phase.name}: state '{name}' has several sources, of which one cannot add: mix it")

    def require(self, name: str) -> None:
        """Check that all blocks of a state hold something, where it is too late to store zeros.

        Raises:
            ValueError: one does not.
        """
        empty = [str(b.irrep) for n, b in enumerate(self.irreps(name)) if not self.is_written(name, n)]
        if empty:
            raise ValueError(
                f"{self.phase.name}: state '{name}' holds no {', '.join(empty)}: leave it out of its irreps"
            )

    def complete(self, name: str) -> None:
        """Store zeros in the blocks that hold nothing."""
        for number, block in enumerate(self.irreps(name)):
            if self.first_write(name, number):
                settings = self.settings(block.length)
                function = self.function(
                    "zeros", block.length, partial(node_code.zeros, settings=settings, length=block.length)
                )
                self.call(function, out=self.block(name, number))

    def complete_or_begin(self, name: str) -> bool:
        """Make a state ready to be added to if any block holds something (True), or to be stored (False)."""
        if any(self.is_written(name, number) for number in range(len(self.irreps(name)))):
            self.complete(name)
            return True
        self.begin(name)
        return False

    def function(self, kind: str, key: Hashable, write: Callable[[str], Builder]) -> Builder:
        """The function of a kind for a key, which is written the first time."""
        return self.phase.module.function(kind, key, write)

    def call(self, function: Builder, **given: Pointer | Sequence[Pointer]) -> None:
        """Call a function on the block's atoms, counted from its first one."""
        self.phase.call(function, 0, self.phase.count, **given)

    def call_on_nodes(self, function: Builder, **given: Pointer | Sequence[Pointer]) -> None:
        """Call a function on the block's atoms, counted from atom 0."""
        self.phase.call(function, self.phase.first, self.phase.last, **given)

    def vectors(self, name: str) -> Pointer:
        """Pointer to the vectors of the elements."""
        return self.phase.whole(f"{name}_vectors")

    def add_rows_of_types(self, weights: str, name: str, number: int) -> None:
        """Add the vector of each atom's element to a block of a state."""
        length = self.irreps(name)[number].length
        add = not self.first_write(name, number)
        settings = self.settings(length)
        function = self.function(
            "rows_of_types", (length, add), lambda n: node_code.rows_of_types(n, settings, length, accumulate=add)
        )
        types, vectors = self.phase.block_of("types"), self.vectors(weights)
        self.call(function, types=types, vectors=vectors, out=self.block(name, number))
