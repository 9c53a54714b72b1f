"""Writer: the text of an LLVM function, with vectors of channels and counted loops."""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ase_nbody.kernels.llvm_lines import Lines
from ase_nbody.kernels.shape import Shape
from ase_nbody.kernels.signature import Argument, Signature, described
from ase_nbody.kernels.values import (
    AnyValue,
    Flag,
    Index,
    IndexPointer,
    Number,
    Pointer,
    PointerPointer,
    Scalar,
    ScalarPointer,
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


class Writer(Lines):
    """Lines of one LLVM function, with fresh names and counted loops.

    Args:
        name: of the function.
        shape: its numbers.
        signature: its arguments after begin and end.

    Attributes:
        begin: first of the nodes that the function runs over.
        end: one past the last.
        multiplications: of numbers, by how many loops of unknown length are around them.
    """

    begin = Index("%begin")
    end = Index("%end")

    def __init__(self, name: str, shape: Shape, signature: Signature) -> None:
        super().__init__(name, {Scalar: shape.scalar, Vector: shape.vector})
        self.shape, self.signature = shape, signature
        self._pointers = {name: kind.pointer(f"%{name}") for _, name, kind in signature.flat}
        reduction = f"declare {shape.scalar} @{shape.reduction}({shape.scalar}, {shape.vector})"
        self.lines = [
            f"define void @{name}(i64 %begin, i64 %end, {', '.join(f'ptr {p}' for p in self._pointers.values())}) {{",
            "entry:",
        ]
        self.declarations = [reduction]
        self.multiplications: dict[int, float] = defaultdict(float)
        self._align = shape.bits // 8

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
        return Rows(pointers, tuple(kind.length // self.shape.channels for kind in declared.types))

    def integer(self, argument: str, index: Index) -> Index:
        """Element of an argument of indices."""
        array = self._argument(argument, IndexPointer)
        place = self._new(IndexPointer, f"getelementptr i64, ptr {array}, i64 {index}")
        return self._new(Index, f"load i64, ptr {place}")

    def store_integer(self, value: Index | int, argument: str, index: Index) -> None:
        """Write an element of an argument of indices."""
        array = self._argument(argument, IndexPointer)
        place = self._new(IndexPointer, f"getelementptr i64, ptr {array}, i64 {index}")
        self.lines.append(f"  store i64 {value}, ptr {place}")

    def pointer(self, argument: str, number: int, kind: type[Pointer]) -> Pointer:
        """Element of an argument of pointers, which points at what it is said to."""
        array = self._argument(argument, PointerPointer)
        place = self._new(PointerPointer, f"getelementptr ptr, ptr {array}, i64 {number}")
        return self._new(kind, f"load ptr, ptr {place}")

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
        with self.loop(0, self.shape.channels // self.shape.width) as number:
            yield self.times(number, self.shape.width)

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
        return self.offset(self.offset(pointer, channel), within * self.shape.channels)

    def offset(self, pointer: ScalarPointer, index: Index | int) -> ScalarPointer:
        """Pointer to the number `index` places on."""
        self._check(pointer, ScalarPointer)
        return self._new(ScalarPointer, f"getelementptr {self._types[Scalar]}, ptr {pointer}, i64 {index}")

    def vector_at(self, slots: ScalarPointer, number: int) -> ScalarPointer:
        """Pointer to a vector in scratch space."""
        self._check(slots, ScalarPointer)
        return self._new(ScalarPointer, f"getelementptr {self._types[Vector]}, ptr {slots}, i64 {number}")

    def load(self, pointer: ScalarPointer) -> Vector:
        """Vector at a pointer."""
        self._check(pointer, ScalarPointer)
        return self._new(Vector, f"load {self._types[Vector]}, ptr {pointer}, align {self._align}")

    def store(self, value: Vector, pointer: ScalarPointer) -> None:
        """Write a vector."""
        self._check(value, Vector)
        self._check(pointer, ScalarPointer)
        self.lines.append(f"  store {self._types[Vector]} {value}, ptr {pointer}, align {self._align}")

    def load_scalar(self, pointer: ScalarPointer) -> Scalar:
        """Number at a pointer."""
        self._check(pointer, ScalarPointer)
        return self._new(Scalar, f"load {self._types[Scalar]}, ptr {pointer}")

    def store_scalar(self, value: Scalar, pointer: ScalarPointer) -> None:
        """Write a number."""
        self._check(value, Scalar)
        self._check(pointer, ScalarPointer)
        self.lines.append(f"  store {self._types[Scalar]} {value}, ptr {pointer}")

    def scratch(self, count: int, kind: type[Scalar] | type[Vector]) -> ScalarPointer:
        """Space for `count` numbers or vectors on the stack."""
        return self._new(ScalarPointer, f"alloca [{count} x {self._types[kind]}], align 64")

    def scalar(self, value: float) -> Scalar:
        """A constant number."""
        rounded = struct.unpack("f", struct.pack("f", value))[0] if self.shape.bits == 32 else value
        return Scalar(f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}")

    def vector(self, value: float) -> Vector:
        """A constant vector of one number."""
        number = f"{self._types[Scalar]} {self.scalar(value)}"
        return Vector(f"<{', '.join([number] * self.shape.width)}>")

    def zero(self) -> Vector:
        """Vector of zeros."""
        return Vector("zeroinitializer")

    def broadcast(self, scalar: Scalar) -> Vector:
        """Vector of one number."""
        self._check(scalar, Scalar)
        kind, width = self._types[Vector], self.shape.width
        first = self._new(Vector, f"insertelement {kind} poison, {self._types[Scalar]} {scalar}, i64 0")
        return self._new(Vector, f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer")

    def multiply(self, a: Number, b: Number) -> Number:
        """Product a b."""
        kind = self._type(a, b)
        known = [turns for turns in self._turns if turns is not None]
        count = 1 if type(a) is Scalar else self.shape.width
        self.multiplications[len(self._turns) - len(known)] += float(count * math.prod(known))
        return self._new(type(a), f"fmul {_FAST} {kind} {a}, {b}")

    def add(self, a: Number, b: Number) -> Number:
        """Sum a + b."""
        return self._new(type(a), f"fadd {_FAST} {self._type(a, b)} {a}, {b}")

    def fused(self, a: Number, b: Number, c: Number | None) -> Number:
        """The value a b + c, or a b where there is no c yet."""
        product = self.multiply(a, b)
        return product if c is None else self.add(product, c)

    def subtract(self, a: Number, b: Number) -> Number:
        """Difference a - b."""
        return self._new(type(a), f"fsub {self._type(a, b)} {a}, {b}")

    def divide(self, a: Number, b: Number) -> Number:
        """Quotient a / b."""
        return self._new(type(a), f"fdiv {self._type(a, b)} {a}, {b}")

    def negative(self, a: Number) -> Number:
        """Minus a."""
        return self._new(type(a), f"fneg {self._type(a)} {a}")

    def intrinsic(self, function: str, *arguments: Number) -> Number:
        """LLVM's function of this name, such as sqrt, of numbers or of each number of vectors."""
        kind = self._type(*arguments)
        lanes = "" if type(arguments[0]) is Scalar else f"v{self.shape.width}"
        name = f"llvm.{function}.{lanes}f{self.shape.bits}"
        declaration = f"declare {kind} @{name}({', '.join([kind] * len(arguments))})"
        if declaration not in self.declarations:
            self.declarations.append(declaration)
        return self._new(type(arguments[0]), f"call {kind} @{name}({', '.join(f'{kind} {a}' for a in arguments)})")

    def truncated(self, a: Scalar) -> Index:
        """A number without its fraction."""
        self._check(a, Scalar)
        return self._new(Index, f"fptosi {self._types[Scalar]} {a} to i64")

    def number(self, a: Index) -> Scalar:
        """A whole number as a floating-point number."""
        return self._new(Scalar, f"sitofp i64 {a} to {self._types[Scalar]}")

    def below(self, a: Scalar, b: Scalar) -> Flag:
        """Whether a < b."""
        self._check(a, Scalar)
        return self._new(Flag, f"fcmp olt {self._type(a, b)} {a}, {b}")

    def total(self, vector: Vector) -> Scalar:
        """Sum over a vector."""
        scalar, kind = self._types[Scalar], self._type(vector, self.zero())
        start = self.scalar(0.0)
        return self._new(Scalar, f"call {_FAST} {scalar} @{self.shape.reduction}({scalar} {start}, {kind} {vector})")

    def totals(self, vectors: Sequence[Vector]) -> Vector:
        """Vector of the sums over each of as many vectors as a vector has numbers, or fewer.

        Half of the vectors' numbers are added to the other half and two such halves share a vector, until one is left.
        """
        width = self.shape.width
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
        return self._new(Vector, f"shufflevector {kind} {a}, {kind} {b}, <{len(lanes)} x i32> <{chosen}>")
