"""Phases as they are written: functions that run over blocks of nodes and call kernels on arrays known by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ase_nbody.compiler.arrays import ArrayTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.matmul_code import matmul
from ase_nbody.compiler.signature import READ, Argument, Array, ArrayType, Signature, numbers
from ase_nbody.compiler.team_code import team
from ase_nbody.compiler.values import AnyPointer, Index, IndexPointer, Pointer, PointerPointer, ScalarPointer

BLOCK = 12
"""Nodes whose states stay in the cache from one operation to the next; their rows of any degree fill whole tiles."""


class Module:
    """Functions written so far, the arrays that phases use, and the sizes of their scratch space.

    Args:
        settings: dtype, channels and vectors of all states.
        arrays: that phases may use; the matrices are parts of one called "weights".
    """

    def __init__(self, settings: KernelSettings, arrays: Iterable[Array]) -> None:
        self.settings = settings
        self.arrays = ArrayTable(arrays)
        self.matrices: dict[str, range] = {}
        self.phases: dict[str, PhaseWriter] = {}
        self.scratch = 0
        self._written: dict[tuple[str, Hashable], Builder] = {}
        self._functions: dict[str, Builder] = {}

    def function(self, kind: str, key: Hashable, write: Callable[[str], Builder]) -> Builder:
        """The function of a kind for a key, which is written the first time."""
        if (kind, key) not in self._written:
            w = self._written[kind, key] = write(f"{kind}_{len(self._written)}")
            self._functions[w.name] = w
        return self._written[kind, key]

    def matrix(self, name: str, size: int) -> int:
        """Where a matrix of so many numbers begins among the weights.

        Raises:
            ValueError: a matrix of this name has another size.
        """
        start = next(reversed(self.matrices.values())).stop if self.matrices else 0
        place = self.matrices.setdefault(name, range(start, start + size))
        if len(place) != size:
            raise ValueError(f"matrix '{name}' has {size} numbers here, but {len(place)} before: use another name")
        return place.start

    @contextmanager
    def phase(self, name: str) -> Iterator[PhaseWriter]:
        """Write one phase: a function of begin, end, the arrays' pointers and scratch space."""
        w = PhaseWriter(self, name)
        with w.loop_over_blocks():
            yield w
        self._functions[name] = self.phases[name] = w
        self.scratch = max(self.scratch, w.scratch_size)

    def texts(self) -> dict[str, str]:
        """Functions by their names."""
        texts = {}
        for name, w in self._functions.items():
            body = "\n".join([*w.lines, "  ret void", "}"])
            texts[name] = body if name in self.phases else body.replace("define void", "define internal void")
        return texts

    def text(self, functions: Mapping[str, str]) -> str:
        """The whole module of these functions."""
        declarations = dict.fromkeys(d for w in self._functions.values() for d in w.declarations)
        return "\n".join([*functions.values(), team(list(self.phases)), *declarations, ""])


@dataclass(frozen=True)
class State:
    """One array per irrep, of a block of nodes.

    Attributes:
        pointers: to the rows of the block's first node.
        lengths: numbers per node of each array.
    """

    pointers: list[ScalarPointer]
    lengths: list[int]


class PhaseWriter(Builder):
    """Writes a phase block by block: `first` to `last` are its nodes, `count` of them.

    Args:
        module: that the phase belongs to.
        name: of the phase.
    """

    def __init__(self, module: Module, name: str) -> None:
        arrays = [Argument("arrays", (ArrayType(PointerPointer, "rows"),), READ)]
        super().__init__(name, module.settings, Signature(arrays, numbers("scratch", "rows")))
        self.module = module
        self.scratch_size = 0  # numbers
        self.arrays: set[str] = set()
        self._array_at: dict[Pointer, Array] = {}
        self.first = self.last = self.count = Index("")

    @contextmanager
    def loop_over_blocks(self) -> Iterator[None]:
        """Loop over the blocks of nodes from begin to end."""
        with self.loop(self.begin, self.end, step=BLOCK) as first:
            self.first = first
            self.last = self.smaller(self.plus(first, BLOCK), self.end)
            self.count = self.minus(self.last, first)
            yield

    def whole(self, name: str) -> Pointer:
        """Pointer to an array from node 0 on."""
        array = self.module.arrays.find(name, self.name)
        self.arrays.add(name)
        return self._of(array, self.pointer("arrays", self.module.arrays.numbers[name], array.type.pointer))

    def wholes(self, *names: str, **arguments: str) -> dict[str, Pointer]:
        """Pointers to arrays for arguments of their names, and for arguments of the names given."""
        named = {name: name for name in names} | arguments
        return {argument: self.whole(name) for argument, name in named.items()}

    def block_of(self, name: str) -> Pointer:
        """Pointer to the block's first row of an array of nodes."""
        kind = self.module.arrays.find(name, self.name).type
        start = self.times(self.first, kind.length)
        whole = self.whole(name)
        unit = "i64" if kind.pointer is IndexPointer else self.settings.scalar
        return self._of(
            self._array_at[whole], self.expression(kind.pointer, f"getelementptr {unit}, ptr {whole}, i64 {start}")
        )

    def weights(self, name: str, rows: int, columns: int) -> ScalarPointer:
        """Pointer to a matrix."""
        whole = self.whole("weights")
        assert isinstance(whole, ScalarPointer)
        array = Array(name, ArrayType(ScalarPointer, "matrix rows", columns), "weights")
        return self._of(array, self.offset(whole, self.module.matrix(name, rows * columns)))

    def weights_of_types(self, name: str, n_types: int, rows: int, columns: int) -> ScalarPointer:
        """Pointer to the matrices of all types, the first one's before the others."""
        first = self.weights(name, n_types * rows, columns)
        array = Array(name, ArrayType(ScalarPointer, "types", rows * columns), "weights")
        return self._of(array, self.offset(first, 0))

    def state(self, name: str) -> State:
        """A state kept in arrays name0, name1, ..."""
        return self._state([self.block_of(array.name) for array in self.module.arrays.state(name, self.name)])

    def whole_state(self, name: str) -> list[Pointer]:
        """Pointers to these arrays from node 0 on."""
        return [self.whole(array.name) for array in self.module.arrays.state(name, self.name)]

    def temporary(self, name: str, lengths: Sequence[int]) -> State:
        """A state of the block in scratch space, of so many numbers for each node in each of its arrays."""
        pointers: list[Pointer] = []
        for i, length in enumerate(lengths):
            array = Array(f"{name}{i} of {self.name}", ArrayType(ScalarPointer, "nodes", length), "scratch")
            pointers.append(self._of(array, self.offset(self.numbers("scratch"), self.scratch_size)))
            self.scratch_size += length * BLOCK
        return self._state(pointers)

    def _state(self, pointers: Sequence[Pointer]) -> State:
        rows = [pointer for pointer in pointers if isinstance(pointer, ScalarPointer)]
        return State(rows, [self._array_at[pointer].type.length for pointer in rows])

    def from_node_zero(self, state: State) -> list[ScalarPointer]:
        """Pointers to where node 0 of a state of the block would stand, for functions that count from there."""
        back = self.minus(0, self.first)
        return [
            self._of(self._array_at[p], self.offset(p, self.times(back, n)))
            for p, n in zip(state.pointers, state.lengths, strict=True)
        ]

    def multiply_matrix(
        self,
        left: ScalarPointer,
        right: ScalarPointer,
        out: ScalarPointer,
        sizes: tuple[int, int, int],
        *,
        accumulate: bool,
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
        settings = replace(self.settings, channels=columns)
        function = self.module.function(
            "matmul",
            (inner, columns, accumulate),
            lambda n: matmul(n, settings, inner, columns, accumulate=accumulate),
        )
        self._call(function, 0, self.times(self.count, rows), {"left": left, "right": right, "out": out})
        self.multiplications[1] += rows * inner * columns

    def call(
        self, function: Builder, begin: Index | int, end: Index | int, /, **given: Pointer | Sequence[Pointer]
    ) -> None:
        """Call another function of the module, note what it does with arrays, and count its work.

        Args:
            function: to call.
            begin: first node.
            end: one past the last.
            given: pointers, or lists of them for states, by the names of the function's signature.

        Raises:
            ValueError: they are not what the signature wants, or the program comes in a wrong order.
        """
        self._call(function, begin, end, given)
        for loops, count in function.multiplications.items():
            self.multiplications[loops] += count

    def _call(
        self,
        function: Builder,
        begin: Index | int,
        end: Index | int,
        given: Mapping[str, Pointer | Sequence[Pointer]],
    ) -> None:
        pointers = function.signature.pointers(function.name, given, self._array_at)
        for (argument, _, _), pointer in zip(function.signature.flat, pointers, strict=True):
            self.module.arrays.note(self._array_at[pointer], self.name, function.name, argument.access)
        arguments = "".join(f", ptr {p}" for p in pointers)
        self.lines.append(f"  call void @{function.name}(i64 {begin}, i64 {end}{arguments})")

    def _of(self, array: Array, pointer: AnyPointer) -> AnyPointer:
        self._array_at[pointer] = array
        return pointer
