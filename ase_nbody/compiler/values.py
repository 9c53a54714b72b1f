"""Names of the values of an LLVM function, a type for each kind of value, so that none is taken for another.

A value is the text that stands for it in the function, such as "%v7", and cannot be changed. mypy tells the kinds
apart, and `Builder` refuses a wrong one when the text is written. Within a line values are written {value!s}: Python
formats {value} of such a type three times slower.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar


class Value(str):
    """Name of a value; `kind` says in words what it is."""

    __slots__ = ()
    kind: ClassVar[str] = "value"


class Scalar(Value):
    """A floating-point number."""

    __slots__ = ()
    kind = "number"


class Vector(Value):
    """Floating-point numbers of as many channels as fit a register."""

    __slots__ = ()
    kind = "vector"


class Index(Value):
    """A whole number, i64."""

    __slots__ = ()
    kind = "index"


class Flag(Value):
    """True or false, i1."""

    __slots__ = ()
    kind = "flag"


class Pointer(Value):
    """An address."""

    __slots__ = ()
    kind = "pointer"


class ScalarPointer(Pointer):
    """Address of floating-point numbers, alone or as vectors."""

    __slots__ = ()
    kind = "pointer to numbers"


class IndexPointer(Pointer):
    """Address of whole numbers, int64."""

    __slots__ = ()
    kind = "pointer to indices"


class PointerPointer(Pointer):
    """Address of addresses."""

    __slots__ = ()
    kind = "pointer to pointers"


Number = TypeVar("Number", Scalar, Vector)
AnyPointer = TypeVar("AnyPointer", bound=Pointer)
AnyValue = TypeVar("AnyValue", bound=Value)
