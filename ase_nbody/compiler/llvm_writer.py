"""Builder: the text of an LLVM function, with vectors of channels and counted loops."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_lines import Lines
from ase_nbody.compiler.signature import Argument, Signature, described
from ase_nbody.compiler.values import (
    AnyValue,
    Flag,
    Index,
    IndexPointer,
    Number,
    Pointer,
    PointerPointer,
    Scalar,
    ScalarPointer,
    Value,
    Vector,
)

_FAST = "contract reassoc nsz"


@dataclass(frozen=True)
class Rows:
    """Pointers to one node's row in each block of a state, and the components of each block."""

    pointers: list[ScalarPointer]
    sizes: tuple[int, ...]

    def find(self, component: int) -> tuple[ScalarPointer, int]:
        """Pointer to the block of a component, and the component's number within it."""
        for pointer, size in zip(self.pointers, self.sizes, strict=True):
            if component < size:
                return pointer, component
            component -= size
        raise IndexError(component)


class Builder(Lines):
    """Lines of one LLVM function, with fresh names and counted loops.

    Args:
        name: of the function.
        settings: its numbers.
        signature: its arguments after begin and end.

    Attributes:
        begin: first of the nodes that the function runs over.
        end: one past the last.
        multiplications: of numbers, by how many loops of unknown length are around them.
    """

    begin = Index("%begin")
    end = Index("%end")

    def __init__(self, name: str, settings: KernelSettings, signature: Signature) -> None:
        super().__init__(name, {Scalar: settings.scalar, Vector: settings.vector})
        self.settings, self.signature = settings, signature
        self._pointers = {name: kind.pointer(f"%{name}") for _, name, kind in signature.flat}
        reduction = f"declare {settings.scalar} @{settings.reduction}({settings.scalar}, {settings.vector})"
        self.lines = [
            f"define void @{name}(i64 %begin, i64 %end, {', '.join(f'ptr {p}' for p in self._pointers.values())}) {{",
            "entry:",
        ]
        self.declarations = [reduction]
        self.multiplications: dict[int, float] = defaultdict(float)
        self._scalar, self._vector, self._align = settings.scalar, settings.vector, settings.bits // 8
        self._width, self._channels = settings.width, settings.channels

    def text(self) -> str:
        """The finished function."""
        return "\n".join([*self.lines, "  ret void", "}", *self.declarations, ""])

    def numbers(self, argument: str) -> ScalarPointer:
        """The argument of numbers of this name."""
        return self._argument(argument, ScalarPointer)

    def row(self, argument: str, index: Index) -> ScalarPointer:
        """Pointer to row `index` of an argument of numbers."""
        return self.scalars(self.numbers(argument), index, self.signature.arguments[argument].types[0].length)

    def rows(self, argument: str, index: Index) -> Rows:
        """Pointers to row `index` of each block of a state."""
        declared = self._declared(argument)
        pointers = [
            self.scalars(self._argument(name, ScalarPointer), index, kind.length)
            for name, kind in zip(declared.pointers, declared.types, strict=True)
        ]
        return Rows(pointers, tuple(kind.length // self.settings.channels for kind in declared.types))

    def integer(self, argument: str, index: Index) -> Index:
        """Element of an argument of indices."""
        array = self._argument(argument, IndexPointer)
        place = self._new(IndexPointer, f"getelementptr i64, ptr {array!s}, i64 {index!s}")
        return self._new(Index, f"load i64, ptr {place!s}")

    def store_integer(self, value: Index | int, argument: str, index: Index) -> None:
        """Write an element of an argument of indices."""
        array = self._argument(argument, IndexPointer)
        place = self._new(IndexPointer, f"getelementptr i64, ptr {array!s}, i64 {index!s}")
        self.lines.append(f"  store i64 {value!s}, ptr {place!s}")

    def pointer(self, argument: str, number: int, kind: type[Pointer]) -> Pointer:
        """Element of an argument of pointers, which points at what it is said to."""
        array = self._argument(argument, PointerPointer)
        place = self._new(PointerPointer, f"getelementptr ptr, ptr {array!s}, i64 {number}")
        return self._new(kind, f"load ptr, ptr {place!s}")

    def _declared(self, argument: str) -> Argument:
        if argument not in self.signature.arguments:
            known = ", ".join(self.signature.arguments)
            raise ValueError(f"{self.name} has no argument '{argument}': declare it, or use one of {known}")
        return self.signature.arguments[argument]

    def _argument(self, name: str, kind: type[AnyValue]) -> AnyValue:
        pointer = self._pointers.get(name)
        if pointer is None:
            self._declared(name)
        if type(pointer) is not kind:
            raise ValueError(f"{self.name}: argument '{name}' is {described(pointer)}, not a {kind.kind}")
        return pointer

    @contextmanager
    def channels(self) -> Iterator[Index]:
        """Loop over vectors of channels, giving the first channel of each."""
        with self.loop(0, self.settings.channels // self._width) as number:
            yield self.times(number, self._width)

    @contextmanager
    def edges(self, offsets: str, node: Index) -> Iterator[Index]:
        """Loop over the places of one node's edges in CSR order."""
        first, last = self.integer(offsets, node), self.integer(offsets, self.plus(node, 1))
        with self.loop(first, last) as place:
            yield place

    def scalars(self, array: ScalarPointer, index: Index, length: int) -> ScalarPointer:
        """Pointer to row `index` of an array of rows of `length` numbers."""
        return self.offset(array, self.times(index, length))

    def at(self, rows: Rows, component: int, channel: Index) -> ScalarPointer:
        """Pointer to the vector of a component that begins at a channel."""
        pointer, within = rows.find(component)
        return self.offset(self.offset(pointer, channel), within * self._channels)

    def offset(self, pointer: ScalarPointer, index: Index | int) -> ScalarPointer:
        """Pointer to the number `index` places on."""
        if type(pointer) is not ScalarPointer:
            raise self._refused(pointer, ScalarPointer)
        return self._new(ScalarPointer, f"getelementptr {self._scalar}, ptr {pointer!s}, i64 {index!s}")

    def vector_at(self, slots: ScalarPointer, number: int) -> ScalarPointer:
        """Pointer to a vector in scratch space."""
        if type(slots) is not ScalarPointer:
            raise self._refused(slots, ScalarPointer)
        return self._new(ScalarPointer, f"getelementptr {self._vector}, ptr {slots!s}, i64 {number}")

    def load(self, pointer: ScalarPointer) -> Vector:
        """Vector at a pointer."""
        if type(pointer) is not ScalarPointer:
            raise self._refused(pointer, ScalarPointer)
        return self._new(Vector, f"load {self._vector}, ptr {pointer!s}, align {self._align}")

    def store(self, value: Vector, pointer: ScalarPointer) -> None:
        """Write a vector."""
        if type(value) is not Vector:
            raise self._refused(value, Vector)
        if type(pointer) is not ScalarPointer:
            raise self._refused(pointer, ScalarPointer)
        self.lines.append(f"  store {self._vector} {value!s}, ptr {pointer!s}, align {self._align}")

    def load_scalar(self, pointer: ScalarPointer) -> Scalar:
        """Number at a pointer."""
        if type(pointer) is not ScalarPointer:
            raise self._refused(pointer, ScalarPointer)
        return self._new(Scalar, f"load {self._scalar}, ptr {pointer!s}")

    def store_scalar(self, value: Scalar, pointer: ScalarPointer) -> None:
        """Write a number."""
        if type(value) is not Scalar:
            raise self._refused(value, Scalar)
        if type(pointer) is not ScalarPointer:
            raise self._refused(pointer, ScalarPointer)
        self.lines.append(f"  store {self._scalar} {value!s}, ptr {pointer!s}")

    def scratch(self, count: int, kind: type[Scalar] | type[Vector]) -> ScalarPointer:
        """Space for `count` numbers or vectors on the stack."""
        return self._new(ScalarPointer, f"alloca [{count} x {self._types[kind]}], align 64")

    def scalar(self, value: float) -> Scalar:
        """A constant number."""
        rounded = struct.unpack("f", struct.pack("f", value))[0] if self.settings.bits == 32 else value
        return Scalar(f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}")

    def vector(self, value: float) -> Vector:
        """A constant vector of one number."""
        number = f"{self._scalar} {self.scalar(value)}"
        return Vector(f"<{', '.join([number] * self._width)}>")

    def zero(self) -> Vector:
        """Vector of zeros."""
        return Vector("zeroinitializer")

    def broadcast(self, scalar: Scalar) -> Vector:
        """Vector of one number."""
        if type(scalar) is not Scalar:
            raise self._refused(scalar, Scalar)
        kind, width = self._vector, self._width
        first = self._new(Vector, f"insertelement {kind} poison, {self._scalar} {scalar!s}, i64 0")
        return self._new(Vector, f"shufflevector {kind} {first!s}, {kind} poison, <{width} x i32> zeroinitializer")

    def multiply(self, a: Number, b: Number) -> Number:
        """Product a b."""
        self.multiplications[self._unknown_loops] += float((self._width if type(a) is Vector else 1) * self._turns)
        return self._new(type(a), f"fmul {_FAST} {self._type(a, b)} {a!s}, {b!s}")

    def add(self, a: Number, b: Number) -> Number:
        """Sum a + b."""
        return self._new(type(a), f"fadd {_FAST} {self._type(a, b)} {a!s}, {b!s}")

    def fused(self, a: Number, b: Number, c: Number | None) -> Number:
        """The value a b + c, or a b where there is no c yet."""
        product = self.multiply(a, b)
        return product if c is None else self.add(product, c)

    def subtract(self, a: Number, b: Number) -> Number:
        """Difference a - b."""
        return self._new(type(a), f"fsub {self._type(a, b)} {a!s}, {b!s}")

    def divide(self, a: Number, b: Number) -> Number:
        """Quotient a / b."""
        return self._new(type(a), f"fdiv {self._type(a, b)} {a!s}, {b!s}")

    def negative(self, a: Number) -> Number:
        """Minus a."""
        return self._new(type(a), f"fneg {self._type(a, a)} {a!s}")

    def intrinsic(self, function: str, *arguments: Number) -> Number:
        """LLVM's function of this name, such as sqrt, of numbers or of each number of vectors."""
        kind = self._type(arguments[0], arguments[-1])
        lanes = "" if type(arguments[0]) is Scalar else f"v{self._width}"
        name = f"llvm.{function}.{lanes}f{self.settings.bits}"
        declaration = f"declare {kind} @{name}({', '.join([kind] * len(arguments))})"
        if declaration not in self.declarations:
            self.declarations.append(declaration)
        return self._new(type(arguments[0]), f"call {kind} @{name}({', '.join(f'{kind} {a!s}' for a in arguments)})")

    def truncated(self, a: Scalar) -> Index:
        """A number without its fraction."""
        if type(a) is not Scalar:
            raise self._refused(a, Scalar)
        return self._new(Index, f"fptosi {self._scalar} {a!s} to i64")

    def number(self, a: Index) -> Scalar:
        """A whole number as a floating-point number."""
        return self._new(Scalar, f"sitofp i64 {a!s} to {self._scalar}")

    def below(self, a: Scalar, b: Scalar) -> Flag:
        """Whether a < b."""
        if type(a) is not Scalar:
            raise self._refused(a, Scalar)
        return self._new(Flag, f"fcmp olt {self._type(a, b)} {a!s}, {b!s}")

    def positive_or(self, a: Vector, positive: Vector, other: Vector) -> Vector:
        """Lane by lane one vector where a > 0, and another where it is not."""
        kind, flags = self._type(a, positive), f"<{self._width} x i1>"
        where = self._new(Value, f"fcmp ogt {kind} {a!s}, zeroinitializer")
        return self._new(Vector, f"select {flags} {where!s}, {kind} {positive!s}, {kind} {other!s}")

    def total(self, vector: Vector) -> Scalar:
        """Sum over a vector."""
        scalar, kind = self._scalar, self._type(vector, self.zero())
        start = self.scalar(0.0)
        return self._new(
            Scalar, f"call {_FAST} {scalar} @{self.settings.reduction}({scalar} {start}, {kind} {vector!s})"
        )

    def totals(self, vectors: Sequence[Vector]) -> Vector:
        """Vector of the sums over each of as many vectors as a vector has numbers, or fewer.

        Half of the vectors' numbers are added to the other half and two such halves share a vector, until one is left.
        """
        width = self._width
        left = [*vectors, *[self.zero()] * (width - len(vectors))]
        block = width
        while len(left) > 1:
            block //= 2
            starts = range(0, width, 2 * block)
            low = [lane for s in starts for lane in (*range(s, s + block), *range(width + s, width + s + block))]
            half = len(left) // 2
            left = [
                self.add(self._shuffled(a, b, low), self._shuffled(a, b, [lane + block for lane in low]))
                for a, b in zip(left[:half], left[half:], strict=True)
            ]
        return left[0]

    def _shuffled(self, a: Vector, b: Vector, lanes: Sequence[int]) -> Vector:
        chosen = ", ".join(f"i32 {lane}" for lane in lanes)
        kind = self._type(a, b)
        return self._new(Vector, f"shufflevector {kind} {a!s}, {kind} {b!s}, <{len(lanes)} x i32> <{chosen}>")
