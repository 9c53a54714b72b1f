"""The table of a program's arrays: each declared once; what phases do with them is noted as they are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ase_nbody.compiler.signature import ADD, READ, WRITE, Access, Array, ArrayType, Counted, Source
from ase_nbody.compiler.values import IndexPointer, ScalarPointer


def index_arrays(names: str, rows: Counted, source: Source) -> list[Array]:
    """Arrays of int64, one for each row, by their names with blanks between."""
    return [Array(name, ArrayType(IndexPointer, rows), source) for name in names.split()]


def number_array(name: str, rows: Counted, length: int, source: Source) -> Array:
    """An array of so many numbers in each row."""
    return Array(name, ArrayType(ScalarPointer, rows, length), source)


def state_arrays(name: str, lengths: Sequence[int]) -> list[Array]:
    """Arrays name0, name1, ... of a state that phases hand to each other, with so many numbers for each node."""
    return [number_array(f"{name}{i}", "nodes", length, "workspace") for i, length in enumerate(lengths)]


class Use(NamedTuple):
    """What a kernel that a phase calls does with an array."""

    phase: str
    kernel: str
    access: Access


class ArrayTable:
    """Arrays by their names, and their uses in the order in which phases run.

    Args:
        arrays: all that phases may use.

    Raises:
        ValueError: two arrays have one name.
    """

    def __init__(self, arrays: Iterable[Array]) -> None:
        self._arrays: dict[str, Array] = {}
        for array in arrays:
            if array.name in self._arrays:
                raise ValueError(f"array '{array.name}' is declared twice: give one of them another name")
            self._arrays[array.name] = array
        self.numbers: dict[str, int] = {}
        """Places in the table of addresses, in the order of first use."""
        self._by_source: dict[Source, list[Array]] = defaultdict(list)
        for array in self:
            self._by_source[array.source].append(array)
        self._uses: dict[str, list[Use]] = defaultdict(list)

    def __iter__(self) -> Iterator[Array]:
        return iter(self._arrays.values())

    def find(self, name: str, user: str) -> Array:
        """The array of a name, for a phase that will use it.

        Raises:
            ValueError: none is declared.
        """
        if name not in self._arrays:
            raise ValueError(f"{user} uses array '{name}', which is not declared; there are {', '.join(self._arrays)}")
        self.numbers.setdefault(name, len(self.numbers))
        return self._arrays[name]

    def state(self, name: str, user: str) -> list[Array]:
        """The arrays name0, name1, ... of a state."""
        arrays = [self.find(f"{name}0", user)]
        while f"{name}{len(arrays)}" in self._arrays:
            arrays.append(self.find(f"{name}{len(arrays)}", user))
        return arrays

    def note(self, array: Array, phase: str, kernel: str, access: Access) -> None:
        """Note what a kernel does with an array, in the order of the program.

        Raises:
            ValueError: it reads what nobody has written, writes what has been written, or writes what is given.
        """
        before = self._uses[array.name]
        wrong = None
        if array.source in ("graph", "weights"):
            if access is not READ:
                wrong = f", which comes from the {array.source}: only read it"
        elif access is WRITE and before:
            use = before[-1]
            wrong = f", but kernel {use.kernel} of {use.phase} {use.access.value} it before: add to it, or use another"
        elif access is not WRITE and not before and array.source != "sum":
            wrong = " before any kernel writes it: write it first, in this phase or an earlier one"
        if wrong:
            raise ValueError(f"{phase}: kernel {kernel} {access.value} array '{array.name}'{wrong}")
        before.append(Use(phase, kernel, access))

    def check(self) -> None:
        """Check that every array is used.

        Raises:
            ValueError: one is not.
        """
        for array in self:
            if array.name not in self.numbers:
                raise ValueError(f"no phase uses array '{array.name}' of {array.type}: do not declare it")

    def sizes(self, counts: Mapping[str, int], *sources: Source) -> dict[str, int]:
        """Numbers in the arrays of some sources, or of all, whose rows are counted.

        Args:
            counts: of rows, by what they are of.
            sources: who provides the arrays.
        """
        arrays = [array for source in sources or self._by_source for array in self._by_source[source]]
        return {a.name: counts[a.type.rows] * a.type.length for a in arrays if a.type.rows in counts}

    def dtype(self, name: str, of_numbers: torch.dtype) -> torch.dtype:
        """Dtype of an array in a program whose numbers have the one given."""
        return of_numbers if self._arrays[name].type.pointer is ScalarPointer else torch.int64

    def check_tensors(
        self, tensors: Mapping[str, Tensor], source: Source, counts: Mapping[str, int], of_numbers: torch.dtype
    ) -> None:
        """Check the tensors that are to be used as the arrays of one source.

        Args:
            tensors: by the names of arrays; they may hold more rows than are counted.
            source: who provides them.
            counts: of rows, by what they are of.
            of_numbers: dtype of the program.

        Raises:
            ValueError: one is missing, not contiguous, too short or of another dtype.
        """
        for array in self._by_source[source]:
            name, kind = array.name, array.type
            tensor = tensors.get(name)
            if tensor is None:
                raise ValueError(f"array '{name}' ({source}) of {kind} is missing: provide it")
            wanted = of_numbers if kind.pointer is ScalarPointer else torch.int64
            least = counts.get(kind.rows, 0) * kind.length
            if tensor.dtype is not wanted or tensor.numel() < least or not tensor.is_contiguous():
                raise ValueError(
                    f"array '{name}' ({source}) has shape {tuple(tensor.shape)}, strides {tensor.stride()} and "
                    f"{tensor.dtype}; {kind} in contiguous {wanted} are wanted, {least} at least"
                )

    def __str__(self) -> str:
        """One line for each array: name, type, source, and the phases that write, add to and read it."""
        lines = []
        for array in self:
            uses = []
            for access in (WRITE, ADD, READ):
                phases = dict.fromkeys(use.phase for use in self._uses[array.name] if use.access is access)
                uses += [f"{access.value.removesuffix(' to')} {', '.join(phases)}"] * bool(phases)
            lines.append(f"{array.name:<18} {array.type!s:<32} {array.source:<10} {'; '.join(uses)}".rstrip())
        return "\n".join(lines)
