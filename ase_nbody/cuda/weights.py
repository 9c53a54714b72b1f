"""Radial weights in the cuda back end's kernels: read for each edge, path and channel, or made from splines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.cuda.triton_writer import Writer
from ase_nbody.math.splines import basis_polynomials


class Weights(ABC):
    """How a kernel comes by the weight of a path, and where the gradient by it goes.

    Attributes:
        arrays: names of the pointers.
        gradient: name of the pointer that takes the gradient.
    """

    arrays: ClassVar[str]
    gradient: ClassVar[str]

    @abstractmethod
    def begin(self, w: Writer, table: ProductTable, prefix: str) -> None:
        """Find what belongs to edge e."""

    @abstractmethod
    def load(self, w: Writer, path: int, prefix: str) -> None:
        """Name the weights of a path w."""

    @abstractmethod
    def begin_gradient(self, w: Writer, table: ProductTable) -> None:
        """Find the place of the gradient of edge e."""

    @abstractmethod
    def accumulate_gradient(self, w: Writer, path: int) -> None:
        """Take the gradient dw by the weights of a path."""

    @abstractmethod
    def store_gradient(self, w: Writer, first: bool) -> None:
        """Write the gradient of edge e; `first` if there is none of other paths yet."""


@dataclass(frozen=True)
class Read(Weights):
    """Weights that are given, (E, paths, C)."""

    arrays = "radial"
    gradient = "d_radial"

    def begin(self, w: Writer, table: ProductTable, prefix: str) -> None:
        """Find the row of edge e."""
        w.row(f"{prefix}radial", "e", table.n_paths)

    def load(self, w: Writer, path: int, prefix: str) -> None:
        """Read them."""
        w.load(f"{prefix}w", f"{prefix}radial", path)

    def begin_gradient(self, w: Writer, table: ProductTable) -> None:
        """Find the row of edge e."""
        w.row("d_radial", "e", table.n_paths)

    def accumulate_gradient(self, w: Writer, path: int) -> None:
        """Write it."""
        w.store("dw", "d_radial", path)

    def store_gradient(self, w: Writer, first: bool) -> None:
        """Nothing is left to write."""


@dataclass(frozen=True)
class Splined(Weights):
    """Weights from coefficients (rows, paths, C) of B-splines, at place t in [0, 1) after row `starts` of each edge.

    They stay in the caches, while weights of all edges would go through the card's memory several times.

    Attributes:
        degree: of the splines.
    """

    degree: int

    arrays = "places starts splines"
    gradient = "d_places"

    def begin(self, w: Writer, table: ProductTable, prefix: str) -> None:
        """Values and slopes of the splines that are not zero at the place of edge e, and their coefficients' rows."""
        w.line("t = tl.load(places + e)")
        for q, polynomial in enumerate(basis_polynomials(self.degree).tolist()):
            w.line(f"b{q} = {_horner(polynomial)}")
            w.line(f"slope{q} = {_horner([n * c for n, c in enumerate(polynomial)][1:])}")
        w.line("row = tl.load(starts + e)")
        for q in range(self.degree + 1):
            w.row("splines", f"(row + {q})", table.n_paths)
            w.line(f"splines{q}_row = splines_row")

    def load(self, w: Writer, path: int, prefix: str) -> None:
        """Sum them up."""
        for q in range(self.degree + 1):
            w.load(f"c{q}", f"splines{q}", path)
        w.line(f"w = {self._sum('b')}")

    def begin_gradient(self, w: Writer, table: ProductTable) -> None:
        """Begin the gradient by t at zero."""
        w.zero("dt", "states")

    def accumulate_gradient(self, w: Writer, path: int) -> None:
        """Add that of a path."""
        w.add("dt", f"dw * ({self._sum('slope')})")

    def store_gradient(self, w: Writer, first: bool) -> None:
        """Write the sum over the channels."""
        w.line(f"d_place = d_places + e * {w.layout.blocks} + tl.program_id(1)")
        w.line(f"tl.store(d_place, tl.sum(dt, axis=0){'' if first else ' + tl.load(d_place)'})")

    def _sum(self, factor: str) -> str:
        return " + ".join(f"{factor}{q} * c{q}" for q in range(self.degree + 1))


READ = Read()


def _horner(coefficients: list[float]) -> str:
    """A polynomial of t, from the coefficient of its lowest power on."""
    text = repr(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        text = f"({text} * t + {coefficient!r})"
    return text
