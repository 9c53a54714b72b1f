"""Signatures: what arguments a kernel takes, declared once beside it and checked wherever it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, NamedTuple

from ase_nbody.compiler.values import IndexPointer, Pointer, PointerPointer, ScalarPointer, Value

Counted = Literal[
    "nodes",
    "node bounds",
    "senders",
    "sender bounds",
    "receivers",
    "receiver bounds",
    "edges",
    "radial rows",
    "structures",
    "types",
    "type bounds",
    "type pairs",
    "table rows",
    "matrix rows",
    "one",
    "rows",
]
"""What rows of arrays are of. CSR offsets have one row more than there are nodes: bounds. "rows" are of any kind."""


Source = Literal["graph", "weights", "workspace", "result", "sum", "scratch"]


class Access(Enum):
    """What a kernel does with an argument."""

    READ = "reads"
    WRITE = "writes"
    ADD = "adds to"


READ, WRITE, ADD = Access


class ArrayType(NamedTuple):
    """What an array holds.

    Attributes:
        pointer: to numbers of the program's dtype, or to int64.
        rows: what its rows are of.
        length: numbers in each row.
    """

    pointer: type[ScalarPointer] | type[IndexPointer] | type[PointerPointer]
    rows: Counted
    length: int = 1

    def __str__(self) -> str:
        return f"{'numbers' if self.pointer is ScalarPointer else 'indices'} ({self.rows}, {self.length})"

    def takes(self, other: ArrayType) -> bool:
        """Whether an array of another type serves: it is the same, or its rows hold rows of any kind."""
        if self.rows == "rows":
            return self.pointer is other.pointer and other.length % self.length == 0
        return self == other


class Array(NamedTuple):
    """An array of a program.

    Attributes:
        name: by which phases know it.
        type: what it holds.
        source: who provides it: the graph, the weights, the workspace (what phases hand to each other), or nobody, as
            a result, as a sum, which is a result that begins as zeros, or as scratch space of one block in one phase.
    """

    name: str
    type: ArrayType
    source: Source


class Argument(NamedTuple):
    """An argument of a kernel: one pointer, or one to each block of a state.

    Attributes:
        name: of the argument.
        types: of its arrays.
        access: what the kernel does with them.
        blocked: its pointers are called name0, name1, ...
    """

    name: str
    types: tuple[ArrayType, ...]
    access: Access
    blocked: bool = False

    @property
    def pointers(self) -> list[str]:
        """Names of its pointers."""
        return [f"{self.name}{n}" for n in range(len(self.types))] if self.blocked else [self.name]


def indices(names: str, rows: Counted, access: Access = READ) -> list[Argument]:
    """Arguments of int64, one for each row, by their names with blanks between."""
    return [Argument(name, (ArrayType(IndexPointer, rows),), access) for name in names.split()]


def numbers(names: str, rows: Counted, length: int = 1, access: Access = READ) -> list[Argument]:
    """Arguments of floating-point numbers, so many in each row, likewise."""
    return [Argument(name, (ArrayType(ScalarPointer, rows, length),), access) for name in names.split()]


def blocks(names: str, rows: Counted, lengths: Iterable[int], access: Access = READ) -> list[Argument]:
    """Arguments that are states of one array per irrep, with so many numbers in each row."""
    types = tuple(ArrayType(ScalarPointer, rows, length) for length in lengths)
    return [Argument(name, types, access, blocked=True) for name in names.split()]


class Signature:
    """Arguments of a kernel after begin and end, in the order of its LLVM function.

    Args:
        groups: from `indices`, `numbers` and `blocks`.

    Attributes:
        arguments: by their names.

    Example:
        >>> signature = Signature(indices("types", "nodes"), numbers("out", "nodes", 3, WRITE))
        >>> signature.bound("zeros", {"out": "a", "types": "b"})
        ['b', 'a']
        >>> signature.bound("zeros", {"out": "a", "type": "b"})
        Traceback (most recent call last):
        ValueError: zeros lacks its argument 'types' and has no argument 'type'; it takes types, out: call it with these
    """

    def __init__(self, *groups: Sequence[Argument]) -> None:
        self.arguments = {argument.name: argument for group in groups for argument in group}
        assert len(self.arguments) == sum(len(group) for group in groups)
        self._counts = [(argument.name, len(argument.types)) for argument in self]
        self.flat = [(a, name, kind) for a in self for name, kind in zip(a.pointers, a.types, strict=True)]

    def __iter__(self) -> Iterator[Argument]:
        return iter(self.arguments.values())

    def bound(self, kernel: str, given: Mapping[str, object]) -> list[Any]:
        """What is given for each pointer, in order.

        Args:
            kernel: name for messages.
            given: by the names of arguments; a list where an argument has several blocks.

        Raises:
            ValueError: an argument is missing, there is one too many, or a state has another number of blocks.
        """
        ordered: list[Any] = []
        for name, count in self._counts:
            value = given.get(name)
            several = type(value) is list
            if value is None or (len(value) if several else 1) != count:  # type: ignore[arg-type]
                raise ValueError(self._difference(kernel, given))
            if several:
                ordered += value  # type: ignore[arg-type]
            else:
                ordered.append(value)
        if len(given) != len(self.arguments):
            raise ValueError(self._difference(kernel, given))
        return ordered

    def pointers(
        self, kernel: str, given: Mapping[str, Pointer | Sequence[Pointer]], arrays: Mapping[Pointer, Array]
    ) -> list[Pointer]:
        """The same for pointers of a calling function, whose types are checked too.

        Args:
            kernel: name for messages.
            given: by the names of arguments.
            arrays: that pointers point at.

        Raises:
            ValueError: as `bound`, or a value is no such pointer, or points at no array or at one of another type.
        """
        ordered = self.bound(kernel, given)
        for (_, name, wanted), value in zip(self.flat, ordered, strict=True):
            if type(value) is not wanted.pointer:
                raise ValueError(
                    f"{kernel}: argument '{name}' is {described(value)}, but a {wanted.pointer.kind} is wanted"
                )
            array = arrays.get(value)
            if array is None or not wanted.takes(array.type):
                came = f"array '{array.name}' of {array.type}" if array else f"{described(value)} of no array"
                raise ValueError(f"{kernel}: argument '{name}' is {came}, but {wanted} are wanted")
        return ordered

    def _difference(self, kernel: str, given: Mapping[str, object]) -> str:
        missing = [f"'{name}'" for name in self.arguments if name not in given]
        unknown = [f"'{name}'" for name in given if name not in self.arguments]
        if missing or unknown:
            parts = [f"lacks its argument {', '.join(missing)}"] * bool(missing)
            parts += [f"has no argument {', '.join(unknown)}"] * bool(unknown)
            return f"{kernel} {' and '.join(parts)}; it takes {', '.join(self.arguments)}: call it with these"
        counts = {name: len(value) if isinstance(value, list) else 1 for name, value in given.items()}
        name, count = next((name, count) for name, count in self._counts if counts[name] != count)
        wanted = f"{count} are wanted: give one for each irrep of the state"
        return f"{kernel}: argument '{name}' has {counts[name]} arrays, but {wanted}"


def described(value: object) -> str:
    """A value in words, for messages."""
    return f"the {value.kind} {value}" if isinstance(value, Value) else f"the {type(value).__name__} {value!r}"
