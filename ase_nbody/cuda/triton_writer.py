"""Writer: the text of a Triton function over nodes, loops over their edges and vectors of channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """How channels are cut into blocks.

    Attributes:
        channels: of states and radial weights.
        block: channels of one program, a power of two.
    """

    channels: int
    block: int

    @property
    def blocks(self) -> int:
        """Programs per node."""
        return -(-self.channels // self.block)


class Writer:
    """Lines of one Triton function: program (n, block) has node n and the channels k of a block.

    Args:
        name: of the function.
        arguments: names of its pointers.
        layout: its channels.
    """

    def __init__(self, name: str, arguments: str, layout: Layout) -> None:
        self.layout = layout
        self._lines = [f"def {name}({', '.join(arguments.split())}):"]
        self._indent = 1
        self._begun: set[str] = set()
        self.line("n = tl.program_id(0).to(tl.int64)")
        self.line(f"k = tl.program_id(1) * {layout.block} + tl.arange(0, {layout.block})")
        self._mask = ", mask=inside" if layout.channels % layout.block else ""
        if self._mask:
            self.line(f"inside = k < {layout.channels}")

    def text(self) -> str:
        """The finished function."""
        return "\n".join([*self._lines, ""])

    def line(self, text: str) -> None:
        """Write a line."""
        self._lines.append("    " * self._indent + text)

    @contextmanager
    def loop(self, place: str) -> Iterator[None]:
        """Write the lines inside for each place of node n's edges in CSR order."""
        self.line(f"for {place} in range(tl.load(offsets + n), tl.load(offsets + n + 1)):")
        self._indent += 1
        yield
        self._indent -= 1

    def row(self, array: str, index: str, components: int) -> None:
        """Point at the block's channels of row `index` of an array (rows, components, channels)."""
        self.line(f"{array}_row = {array} + {index} * {components * self.layout.channels} + k")

    def load(self, name: str, array: str, component: int) -> None:
        """Name a component of the row of an array."""
        other = ", other=0.0" if self._mask else ""
        self.line(f"{name} = tl.load({self._at(array, component)}{self._mask}{other})")

    def store(self, value: str, array: str, component: int) -> None:
        """Write a component of the row of an array."""
        self.line(f"tl.store({self._at(array, component)}, {value}{self._mask})")

    def begin(self, name: str) -> None:
        """Begin a sum: the next `add` assigns it."""
        self._begun.discard(name)

    def zero(self, name: str, like: str) -> None:
        """Begin a sum at zero, in the dtype of an array."""
        self.line(f"{name} = tl.zeros([{self.layout.block}], {like}.dtype.element_ty)")
        self._begun.add(name)

    def add(self, name: str, value: str) -> None:
        """Add to a sum."""
        self.line(f"{name} {'+=' if name in self._begun else '='} {value}")
        self._begun.add(name)

    def _at(self, array: str, component: int) -> str:
        return f"{array}_row + {component * self.layout.channels}"
