"""Mixing: the blocks of a state times a matrix for each irrep, the same for all atoms or one for each element."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import partial

import torch
from typing_extensions import override

from ase_nbody.kernels.matmul_code import matmul_of_types
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.shapes import Shape
from ase_nbody.steps.writer import StepWriter


def pairs_of_blocks(source: Shape, out: Shape) -> list[tuple[int, int]]:
    """Numbers of the blocks of equal irrep."""
    number = {block.irrep: n for n, block in enumerate(out)}
    return [(n, number[block.irrep]) for n, block in enumerate(source) if block.irrep in number]


@dataclass(frozen=True)
class Linear(Step):
    """A step that adds a linear function of one state, whose way back is that of its transpose.

    Attributes:
        source: state.
        out: state.
        weights: name of the weights.
    """

    source: str
    out: str
    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def up(self, w: StepWriter) -> None:
        self.write(w, self.source, self.out, self.weights)

    @override
    def down(self, w: StepWriter) -> None:
        self.write(w, f"d_{self.out}", f"d_{self.source}", f"back_{self.weights}")

    @abstractmethod
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        """Write the code from one state to another, or from cotangent to cotangent with the weights transposed."""


@dataclass(frozen=True)
class Mix(Linear):
    """Adds source @ W of each irrep that both states have (Kondor 2018, eq. 9); the matrices are called NAME_IRREP."""

    @override
    def forward(self, atoms: StepAtoms) -> None:
        source, out = atoms.shape_of[self.source], atoms.shape_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrix = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            atoms.add(self.out, o, atoms.values[self.source][i] @ matrix)

    @override
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        left, right = w.shape(source), w.shape(out)
        for i, o in pairs_of_blocks(left, right):
            if w.is_written(source, i):
                rows, inner, columns = left[i].irrep.dimension, left[i].columns, right[o].columns
                matrix = w.phase.weights(f"{weights}_{left[i].irrep}", inner, columns)
                pointers = w.block(source, i), matrix, w.block(out, o)
                add = not w.first_write(out, o)
                w.phase.multiply_matrix(*pointers, (rows, inner, columns), accumulate=add)


@dataclass(frozen=True)
class MixByElement(Linear):
    """The same with matrices of the atom's element, (T, rows, columns)."""

    @override
    def forward(self, atoms: StepAtoms) -> None:
        source, out = atoms.shape_of[self.source], atoms.shape_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrices = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            atoms.add(self.out, o, torch.bmm(atoms.values[self.source][i], matrices[atoms.types]))

    @override
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        left, right = w.shape(source), w.shape(out)
        types = w.phase.block_of("types")
        for i, o in pairs_of_blocks(left, right):
            if w.is_written(source, i):
                sizes = left[i].irrep.dimension, left[i].columns, right[o].columns
                matrices = w.phase.weights_of_types(f"{weights}_{left[i].irrep}", w.n_types, *sizes[1:])
                add = not w.first_write(out, o)
                write = partial(matmul_of_types, settings=w.settings(sizes[2]), sizes=sizes, accumulate=add)
                function = w.function("matmul_of_types", (*sizes, add), write)
                w.call(function, types=types, left=w.block(source, i), right=matrices, out=w.block(out, o))
