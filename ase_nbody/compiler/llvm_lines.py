"""Lines of LLVM functions: fresh names, loops that carry values, conditions, and whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic

from ase_nbody.compiler.signature import described
from ase_nbody.compiler.values import AnyValue, Flag, Index, Number, Scalar, Value


@dataclass
class Loop(Generic[Number]):
    """A loop that carries values.

    Attributes:
        index: the counter.
        values: at the start of a turn, and after the loop.
        next: for the next turn, to be set.
    """

    index: Index
    values: list[Number]
    next: list[Number] = field(default_factory=list)


class Lines:
    """What `Builder` builds on.

    Args:
        name: of the function.
        types: LLVM's names of the types of numbers and of vectors.

    Attributes:
        lines: written so far.
    """

    def __init__(self, name: str, types: dict[type[Value], str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._types = types
        self._block = "entry"
        self._names = 0
        self._unknown_loops, self._turns = 0, 1  # of the loops around: how many have an unknown length, turns of others

    @contextmanager
    def loop(self, first: Index | int, last: Index | int, step: int = 1) -> Iterator[Index]:
        """Write the lines inside for first, first + step, ... < last, whose name is given."""
        nothing: list[Scalar] = []
        with self.carrying(first, last, nothing, step) as loop:
            yield loop.index

    @contextmanager
    def carrying(
        self, first: Index | int, last: Index | int, initial: Sequence[Number], step: int = 1
    ) -> Iterator[Loop[Number]]:
        """The same, carrying values from turn to turn.

        The lines inside set `loop.next`; after them `loop.values` are those of the last turn.
        """
        self._names += 1
        n, before = self._names, self._block
        names = [type(value)(f"%c{n}_{i}") for i, value in enumerate(initial)]
        self.lines += [f"  br label %head{n}", f"head{n}:"]
        slot = len(self.lines)
        self.lines += [""] * (len(initial) + 1)
        self.lines += [f"  %go{n} = icmp slt i64 %i{n}, {last}", f"  br i1 %go{n}, label %body{n}, label %exit{n}"]
        self.lines += [f"body{n}:"]
        self._block = f"body{n}"
        loop = Loop(Index(f"%i{n}"), names)
        around = self._unknown_loops, self._turns
        if isinstance(first, int) and isinstance(last, int):
            self._turns *= (last - first) // step
        else:
            self._unknown_loops += 1
        yield loop
        self._unknown_loops, self._turns = around
        self.lines += [f"  %next{n} = add i64 %i{n}, {step}", f"  br label %head{n}", f"exit{n}:"]
        self.lines[slot] = f"  %i{n} = phi i64 [ {first!s}, %{before} ], [ %next{n}, %{self._block} ]"
        for i, (value, after) in enumerate(zip(initial, loop.next, strict=True)):
            kind = self._type(value, after)
            self.lines[slot + 1 + i] = f"  {names[i]} = phi {kind} [ {value}, %{before} ], [ {after}, %{self._block} ]"
        self._block = f"exit{n}"

    @contextmanager
    def when(self, condition: Flag) -> Iterator[None]:
        """Write the lines inside to be done where a condition holds."""
        self._names += 1
        n = self._names
        self.lines += [f"  br i1 {condition}, label %then{n}, label %after{n}", f"then{n}:"]
        self._block = f"then{n}"
        yield
        self.lines += [f"  br label %after{n}", f"after{n}:"]
        self._block = f"after{n}"

    def plus(self, a: Index, b: Index | int) -> Index:
        """Sum a + b."""
        return self._new(Index, f"add i64 {a!s}, {b!s}")

    def minus(self, a: Index | int, b: Index | int) -> Index:
        """Difference a - b."""
        return self._new(Index, f"sub i64 {a!s}, {b!s}")

    def times(self, a: Index, b: Index | int) -> Index:
        """Product a b."""
        return self._new(Index, f"mul i64 {a!s}, {b!s}")

    def less(self, a: Index, b: Index | int) -> Flag:
        """Whether a < b."""
        return self._new(Flag, f"icmp slt i64 {a!s}, {b!s}")

    def at_least(self, a: Index, b: Index | int) -> Flag:
        """Whether a >= b."""
        return self._new(Flag, f"icmp sge i64 {a!s}, {b!s}")

    def smaller(self, a: Index, b: Index | int) -> Index:
        """The smaller of two."""
        return self.either(self.less(a, b), a, b)

    def either(self, condition: Flag, a: Index | int, b: Index | int) -> Index:
        """Where a condition holds a, otherwise b."""
        return self._new(Index, f"select i1 {condition}, i64 {a!s}, i64 {b!s}")

    def expression(self, kind: type[AnyValue], text: str) -> AnyValue:
        """A value of an expression for which there is no method; `kind` is believed."""
        return self._new(kind, text)

    def _new(self, kind: type[AnyValue], expression: str) -> AnyValue:
        self._names += 1
        name = f"%v{self._names}"
        self.lines.append(f"  {name} = {expression}")
        return kind(name)

    def _refused(self, value: Value, kind: type[Value]) -> ValueError:
        return ValueError(f"{self.name}: {described(value)} came where a {kind.kind} is wanted")

    def _type(self, a: Value, b: Value) -> str:
        """LLVM's type of two numbers or two vectors."""
        kind = type(a)
        if kind is not type(b) or kind not in self._types:
            came = f"{described(a)} came with {described(b)}"
            raise ValueError(f"{self.name}: {came} where two numbers or two vectors are wanted")
        return self._types[kind]
