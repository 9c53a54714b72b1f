"""Writer: the text of an LLVM function, with vectors of channels and counted loops."""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

VECTOR_BYTES = 64
_FAST = "contract reassoc nsz"


@dataclass(frozen=True)
class Shape:
    """Numbers that a kernel is written out for.

    Attributes:
        bits: 32 or 64, of the floating-point type.
        channels: of states and radial weights.
        blocked: states come as one array (N, components, C) per irrep instead of one for all.
        vector_bytes: of a machine's vector registers.
    """

    bits: int
    channels: int
    blocked: bool = False
    vector_bytes: int = VECTOR_BYTES

    @property
    def scalar(self) -> str:
        """LLVM's name of the floating-point type."""
        return "float" if self.bits == 32 else "double"

    @property
    def width(self) -> int:
        """Channels in one vector: the largest power of two that divides the channels and fits a register."""
        width = self.vector_bytes * 8 // self.bits
        while self.channels % width:
            width //= 2
        return width

    @property
    def registers(self) -> int:
        """Vector registers: 32 with AVX-512 and on ARM, 16 with AVX2."""
        return 16 if self.vector_bytes == 32 else 32

    @property
    def vector(self) -> str:
        """LLVM's name of the vector type."""
        return f"<{self.width} x {self.scalar}>"

    @property
    def reduction(self) -> str:
        """LLVM's name of the sum over a vector."""
        return f"llvm.vector.reduce.fadd.v{self.width}f{self.bits}"


@dataclass(frozen=True)
class Rows:
    """Pointers to one node's row in each block of a state, and the components of each block."""

    pointers: list[str]
    sizes: tuple[int, ...]

    def find(self, component: int) -> tuple[str, int]:
        """Pointer to the block of a component, and the component's number within it."""
        for pointer, size in zip(self.pointers, self.sizes, strict=True):
            if component < size:
                return pointer, component
            component -= size
        raise IndexError(component)


Carried = tuple[str, str]  # type and initial value


@dataclass
class Loop:
    """A loop that carries values.

    Attributes:
        index: name of the counter.
        values: names of the values at the start of a turn, and after the loop.
        next: names of the values for the next turn, to be set.
    """

    index: str
    values: list[str]
    next: list[str] = field(default_factory=list)


class Writer:
    """Lines of one LLVM function, with fresh names and counted loops.

    Args:
        name: of the function.
        shape: its numbers.
        arguments: names of its pointer arguments after begin and end, and how many blocks each has; 0 for an array that
            is no state.

    Attributes:
        multiplications: of numbers, by how many loops of unknown length are around them.
    """

    def __init__(self, name: str, shape: Shape, arguments: Mapping[str, int]) -> None:
        self.shape = shape
        pointers = [f"{a}{n}" for a, blocks in arguments.items() for n in (range(blocks) if blocks else [""])]
        reduction = f"declare {shape.scalar} @{shape.reduction}({shape.scalar}, {shape.vector})"
        self.lines = [
            f"define void @{name}(i64 %begin, i64 %end, {', '.join(f'ptr %{p}' for p in pointers)}) {{",
            "entry:",
        ]
        self.block = "entry"
        self.declarations = [reduction]
        self.multiplications: dict[int, float] = defaultdict(float)
        self._names = 0
        self._turns: list[int | None] = []  # of the loops around, where known

    def text(self) -> str:
        """The finished function."""
        return "\n".join([*self.lines, "  ret void", "}", *self.declarations, ""])

    def fresh(self, expression: str) -> str:
        """A new name for the value of an expression."""
        self._names += 1
        self.lines.append(f"  %v{self._names} = {expression}")
        return f"%v{self._names}"

    @contextmanager
    def loop(self, first: str, last: str) -> Iterator[str]:
        """Write the lines inside for each whole number from first to last - 1, whose name is given."""
        with self.carrying(first, last, []) as loop:
            yield loop.index

    @contextmanager
    def carrying(self, first: str, last: str, initial: Sequence[Carried], step: int = 1) -> Iterator[Loop]:
        """Write the lines inside for first, first + step, ... < last, carrying values from turn to turn.

        The lines inside set `loop.next`; after them `loop.values` are those of the last turn.
        """
        self._names += 1
        n, before = self._names, self.block
        names = [f"%c{n}_{i}" for i in range(len(initial))]
        self.lines += [f"  br label %head{n}", f"head{n}:"]
        slot = len(self.lines)
        self.lines += [""] * (len(initial) + 1)
        self.lines += [f"  %go{n} = icmp slt i64 %i{n}, {last}", f"  br i1 %go{n}, label %body{n}, label %exit{n}"]
        self.lines += [f"body{n}:"]
        self.block = f"body{n}"
        loop = Loop(f"%i{n}", names)
        known = first.isdecimal() and last.isdecimal()
        self._turns.append((int(last) - int(first)) // step if known else None)
        yield loop
        self._turns.pop()
        self.lines += [f"  %next{n} = add i64 %i{n}, {step}", f"  br label %head{n}", f"exit{n}:"]
        self.lines[slot] = f"  %i{n} = phi i64 [ {first}, %{before} ], [ %next{n}, %{self.block} ]"
        for i, ((kind, value), after) in enumerate(zip(initial, loop.next, strict=True)):
            self.lines[slot + 1 + i] = f"  {names[i]} = phi {kind} [ {value}, %{before} ], [ {after}, %{self.block} ]"
        self.block = f"exit{n}"

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Write the lines inside to be done where a condition (i1) holds."""
        self._names += 1
        n = self._names
        self.lines += [f"  br i1 {condition}, label %then{n}, label %after{n}", f"then{n}:"]
        self.block = f"then{n}"
        yield
        self.lines += [f"  br label %after{n}", f"after{n}:"]
        self.block = f"after{n}"

    def call(self, function: str, first: str, last: str, pointers: Sequence[str]) -> None:
        """Call another function of the module."""
        arguments = "".join(f", ptr {p}" for p in pointers)
        self.lines.append(f"  call void @{function}(i64 {first}, i64 {last}{arguments})")

    def pointer(self, array: str, number: int) -> str:
        """Element of an array of pointers."""
        return self.fresh(f"load ptr, ptr {self.fresh(f'getelementptr ptr, ptr {array}, i64 {number}')}")

    def store_integer(self, value: str, array: str, index: str) -> None:
        """Write an element of an int64 array."""
        self.lines.append(f"  store i64 {value}, ptr {self.fresh(f'getelementptr i64, ptr {array}, i64 {index}')}")

    @contextmanager
    def channels(self) -> Iterator[str]:
        """Loop over vectors of channels, giving the first channel of each."""
        with self.loop("0", str(self.shape.channels // self.shape.width)) as number:
            yield self.fresh(f"mul i64 {number}, {self.shape.width}")

    @contextmanager
    def edges(self, offsets: str, node: str) -> Iterator[str]:
        """Loop over the places of one node's edges in CSR order."""
        first, last = self.integer(offsets, node), self.integer(offsets, self.fresh(f"add i64 {node}, 1"))
        with self.loop(first, last) as place:
            yield place

    def smaller(self, a: str, b: str) -> str:
        """The smaller of two whole numbers."""
        return self.fresh(f"select i1 {self.fresh(f'icmp slt i64 {a}, {b}')}, i64 {a}, i64 {b}")

    def integer(self, array: str, index: str) -> str:
        """Element of an int64 array."""
        return self.fresh(f"load i64, ptr {self.fresh(f'getelementptr i64, ptr {array}, i64 {index}')}")

    def rows(self, array: str, index: str, sizes: tuple[int, ...]) -> Rows:
        """Pointers to row `index` of each block of a state.

        Args:
            array: name of the argument; its blocks are array0, array1, ...
            index: of the node or edge.
            sizes: components of each block.
        """
        pointers = []
        for number, size in enumerate(sizes):
            pointers.append(self.scalars(f"{array}{number}", index, size * self.shape.channels))
        return Rows(pointers, sizes)

    def scalars(self, array: str, index: str, length: int) -> str:
        """Pointer to row `index` of an array of rows of `length` numbers."""
        offset = self.fresh(f"mul i64 {index}, {length}")
        return self.fresh(f"getelementptr {self.shape.scalar}, ptr {array}, i64 {offset}")

    def at(self, rows: Rows, component: int, channel: str) -> str:
        """Pointer to the vector of a component that begins at a channel."""
        pointer, within = rows.find(component)
        start = self.fresh(f"getelementptr {self.shape.scalar}, ptr {pointer}, i64 {channel}")
        return self.fresh(f"getelementptr {self.shape.scalar}, ptr {start}, i64 {within * self.shape.channels}")

    def offset(self, pointer: str, index: str) -> str:
        """Pointer to the number `index` places on."""
        return self.fresh(f"getelementptr {self.shape.scalar}, ptr {pointer}, i64 {index}")

    def scalar_at(self, pointer: str, number: int) -> str:
        """Pointer to a number of a row or of scratch space."""
        return self.fresh(f"getelementptr {self.shape.scalar}, ptr {pointer}, i64 {number}")

    def vector_at(self, slots: str, number: int) -> str:
        """Pointer to a vector in scratch space."""
        return self.fresh(f"getelementptr {self.shape.vector}, ptr {slots}, i64 {number}")

    def load(self, pointer: str) -> str:
        """Vector at a pointer."""
        return self.fresh(f"load {self.shape.vector}, ptr {pointer}, align {self.shape.bits // 8}")

    def store(self, value: str, pointer: str) -> None:
        """Write a vector."""
        self.lines.append(f"  store {self.shape.vector} {value}, ptr {pointer}, align {self.shape.bits // 8}")

    def load_scalar(self, pointer: str) -> str:
        """Number at a pointer."""
        return self.fresh(f"load {self.shape.scalar}, ptr {pointer}")

    def store_scalar(self, value: str, pointer: str) -> None:
        """Write a number."""
        self.lines.append(f"  store {self.shape.scalar} {value}, ptr {pointer}")

    def broadcast(self, scalar: str) -> str:
        """Vector of one number."""
        kind, width = self.shape.vector, self.shape.width
        first = self.fresh(f"insertelement {kind} poison, {self.shape.scalar} {scalar}, i64 0")
        return self.fresh(f"shufflevector {kind} {first}, {kind} poison, <{width} x i32> zeroinitializer")

    def literal(self, value: float, kind: str | None = None) -> str:
        """A constant number, or vector of it."""
        rounded = struct.unpack("f", struct.pack("f", value))[0] if self.shape.bits == 32 else value
        number = f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
        if kind == "scalar":
            return number
        return "<" + ", ".join([f"{self.shape.scalar} {number}"] * self.shape.width) + ">"

    def multiply(self, a: str, b: str, kind: str | None = None) -> str:
        """Product a b."""
        self._count(1 if kind == self.shape.scalar else self.shape.width)
        return self.fresh(f"fmul {_FAST} {kind or self.shape.vector} {a}, {b}")

    def _count(self, numbers: int) -> None:
        known = [turns for turns in self._turns if turns is not None]
        self.multiplications[len(self._turns) - len(known)] += float(numbers * math.prod(known))

    def add(self, a: str, b: str, kind: str | None = None) -> str:
        """Sum a + b."""
        return self.fresh(f"fadd {_FAST} {kind or self.shape.vector} {a}, {b}")

    def fused(self, a: str, b: str, c: str | None, kind: str | None = None) -> str:
        """The value a b + c, or a b where there is no c yet."""
        product = self.multiply(a, b, kind)
        return product if c is None else self.add(product, c, kind)

    def zero(self) -> str:
        """Vector of zeros."""
        return "zeroinitializer"

    def total(self, vector: str) -> str:
        """Sum over a vector."""
        scalar = self.shape.scalar
        start = self.literal(0.0, "scalar")
        return self.fresh(
            f"call {_FAST} {scalar} @{self.shape.reduction}({scalar} {start}, {self.shape.vector} {vector})"
        )

    def totals(self, vectors: Sequence[str]) -> str:
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

    def _shuffled(self, a: str, b: str, lanes: Sequence[int]) -> str:
        chosen = ", ".join(f"i32 {lane}" for lane in lanes)
        kind = self.shape.vector
        return self.fresh(f"shufflevector {kind} {a}, {kind} {b}, <{len(lanes)} x i32> <{chosen}>")

    def scratch(self, count: int, kind: str) -> str:
        """Space for `count` values on the stack."""
        return self.fresh(f"alloca [{count} x {kind}], align 64")
