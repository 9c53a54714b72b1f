"""Names of the values of an LLVM function, a type for each kind of value, so that none is taken for another.

A value is the text that stands for it in the function, such as "%v7", and cannot be changed. mypy tells the kinds
apart, and `Writer` refuses a wrong one when the text is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from ase_nbody.kernels.signature import Array


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
    """An address.

    Attributes:
        array: whose first row of the nodes or edges at hand it points at, where it is known.
    """

    kind = "pointer"
    array: Array | None = None


class ScalarPointer(Pointer):
    """Address of floating-point numbers, alone or as vectors."""

    kind = "pointer to numbers"


class IndexPointer(Pointer):
    """Address of whole numbers, int64."""

    kind = "pointer to indices"


class PointerPointer(Pointer):
    """Address of addresses."""

    kind = "pointer to pointers"


Number = TypeVar("Number", Scalar, Vector)
AnyPointer = TypeVar("AnyPointer", bound=Pointer)
AnyValue = TypeVar("AnyValue", bound=Value)
