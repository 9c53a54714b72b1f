"""Mixing: the blocks of a state times a matrix for each irrep, the same for all atoms or one for each element."""

from __future__ import annotations

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
class Mix(Step):
    """Adds source @ W of each irrep that both states have (Kondor 2018, eq. 9).

    Attributes:
        source: state.
        out: state.
        weights: name of the matrices, NAME_IRREP.
    """

    source: str
    out: str
    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def forward(self, atoms: StepAtoms) -> None:
        source, out = atoms.shape_of[self.source], atoms.shape_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrix = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            atoms.add(self.out, o, atoms.values[self.source][i] @ matrix)

    @override
    def up(self, w: StepWriter) -> None:
        self._write(w, self.source, self.out, "")

    @override
    def down(self, w: StepWriter) -> None:
        self._write(w, f"d_{self.out}", f"d_{self.source}", "back_")

    def _write(self, w: StepWriter, source: str, out: str, prefix: str) -> None:
        left, right = w.shape(source), w.shape(out)
        for i, o in pairs_of_blocks(left, right):
            if w.is_written(source, i):
                rows, inner, columns = left[i].irrep.dimension, left[i].columns, right[o].columns
                weights = w.phase.weights(f"{prefix}{self.weights}_{left[i].irrep}", inner, columns)
                pointers = w.block(source, i), weights, w.block(out, o)
                w.multiply_matrix(*pointers, (rows, inner, columns), accumulate=not w.first_write(out, o))


@dataclass(frozen=True)
class MixByElement(Step):
    """The same with matrices of the atom's element.

    Attributes:
        source: state.
        out: state.
        weights: name of the matrices, (T, rows, columns).
    """

    source: str
    out: str
    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def forward(self, atoms: StepAtoms) -> None:
        source, out = atoms.shape_of[self.source], atoms.shape_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrices = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            rows = atoms.values[self.source][i]
            made = torch.stack([rows @ matrix for matrix in matrices], dim=1)  # (N, T, 2l+1, C')
            atoms.add(self.out, o, made[torch.arange(len(rows)), atoms.types])

    @override
    def up(self, w: StepWriter) -> None:
        self._write(w, self.source, self.out, "")

    @override
    def down(self, w: StepWriter) -> None:
        self._write(w, f"d_{self.out}", f"d_{self.source}", "back_")

    def _write(self, w: StepWriter, source: str, out: str, prefix: str) -> None:
        left, right = w.shape(source), w.shape(out)
        types = w.phase.block_of("types")
        for i, o in pairs_of_blocks(left, right):
            if w.is_written(source, i):
                sizes = left[i].irrep.dimension, left[i].columns, right[o].columns
                name = f"{prefix}{self.weights}_{left[i].irrep}"
                weights = w.phase.weights_of_types(name, w.n_types, *sizes[1:])
                add = not w.first_write(out, o)
                settings = w.settings(right[o].columns)
                write = partial(matmul_of_types, settings=settings, sizes=sizes, accumulate=add)
                function = w.function("matmul_of_types", (*sizes, add), write)
                w.call(function, types=types, left=w.block(source, i), right=weights, out=w.block(out, o))
