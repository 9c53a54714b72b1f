"""Mixing: the blocks of a state times a matrix for each irrep, the same for all atoms or one for each element."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.algebra import ProductTable
from ase_nbody.compiler import cpu
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.matmul_code import matmul_of_types
from ase_nbody.kernels.dual import DualArray
from ase_nbody.kernels.dual_gates import NO_PRODUCT
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import Accumulator, DualAtoms, DualStep
from ase_nbody.steps.radial import ParameterGradients, add_gradient
from ase_nbody.steps.state_irreps import StateIrreps
from ase_nbody.steps.writer import StepWriter


def pairs_of_blocks(source: StateIrreps, out: StateIrreps) -> list[tuple[int, int]]:
    """Numbers of the blocks of equal irrep."""
    number = {block.irrep: n for n, block in enumerate(out)}
    return [(n, number[block.irrep]) for n, block in enumerate(source) if block.irrep in number]


@dataclass(frozen=True)
class Linear(Step):
    """A step that adds a linear function of one state, whose backward pass is that of its transpose.

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
    def write_forward(self, w: StepWriter) -> None:
        self.write(w, self.source, self.out, self.weights)

    @override
    def write_backward(self, w: StepWriter) -> None:
        self.write(w, f"d_{self.out}", f"d_{self.source}", f"back_{self.weights}")

    @abstractmethod
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        """Write the code from one state to another, or from cotangent to cotangent with the weights transposed."""


@dataclass(frozen=True)
class Mix(Linear):
    """Adds source @ W of each irrep that both states have (Kondor 2018, eq. 9); the matrices are called NAME_IRREP."""

    @override
    def forward(self, atoms: StepAtoms) -> None:
        source, out = atoms.irreps_of[self.source], atoms.irreps_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrix = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            atoms.add(self.out, o, atoms.values[self.source][i] @ matrix)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualMix(self, atoms)

    @override
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        left, right = w.irreps(source), w.irreps(out)
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
        source, out = atoms.irreps_of[self.source], atoms.irreps_of[self.out]
        for i, o in pairs_of_blocks(source, out):
            matrices = atoms.weights.matrices[f"{self.weights}_{source[i].irrep}"]
            atoms.add(self.out, o, torch.bmm(atoms.values[self.source][i], matrices[atoms.types]))

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualMixByElement(self, atoms)

    @override
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        left, right = w.irreps(source), w.irreps(out)
        types = w.phase.block_of("types")
        for i, o in pairs_of_blocks(left, right):
            if w.is_written(source, i):
                sizes = left[i].irrep.dimension, left[i].columns, right[o].columns
                matrices = w.phase.weights_of_types(f"{weights}_{left[i].irrep}", w.n_types, *sizes[1:])
                add = not w.first_write(out, o)
                write = partial(matmul_of_types, settings=w.settings(sizes[2]), sizes=sizes, accumulate=add)
                function = w.function("matmul_of_types", (*sizes, add), write)
                w.call(function, types=types, left=w.block(source, i), right=matrices, out=w.block(out, o))


class _Term:
    """One irrep of a mixing with tangents.

    Args:
        numbers: of the blocks of source and result.
        matrix: of this irrep.
        rows: block of the source, of N (2l + 1) rows.
        result: where it is added to.
    """

    def __init__(self, numbers: tuple[int, int], matrix: Tensor, rows: DualArray, result: Accumulator) -> None:
        self.source, self.out = numbers
        self.matrix, self.rows, self.result = matrix, rows, result

    def begin_backward(self, upstream: DualArray, d_rows: Accumulator) -> None:
        """Note the gradients by the result, and where those by the source are added."""
        self.upstream, self.d_rows = upstream, d_rows


class _DualLinear(DualStep):
    """A mixing with tangents; results without gradients are left out in the backward pass."""

    def __init__(self, step: Linear, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        source, out = (atoms.states.irreps_of[name] for name in (step.source, step.out))
        pairs = pairs_of_blocks(source, out)
        self.matrices = [atoms.weights.matrices[f"{step.weights}_{source[i].irrep}"] for i, _ in pairs]
        self.terms: list[_Term] = []
        self.active: list[_Term] = []
        for (i, o), matrix in zip(pairs, self.matrices, strict=True):
            rows = atoms.states.find(step.source, i)
            if rows is not None:
                self.terms.append(_Term((i, o), matrix, rows, atoms.states.accumulator(step.out, o)))

    @override
    def begin_backward(self) -> None:
        for term in self.terms:
            upstream = self.atoms.gradients.find(self.step.out, term.out)
            if upstream is not None:
                term.begin_backward(upstream, self.atoms.gradients.accumulator(self.step.source, term.source))
                self.active.append(term)

    def zero_gradients(self, gradients: ParameterGradients) -> None:
        """Add zeros for the matrices that nothing depends on."""
        active = {id(term.matrix) for term in self.active}
        for matrix in self.matrices:
            if id(matrix) not in active:
                add_gradient(gradients, matrix, torch.zeros_like(matrix))


class _DualMix(_DualLinear):
    """With one matrix for all atoms."""

    @override
    def forward(self, part: int) -> None:
        for term in self.terms:
            term.result.add_product(part, term.rows.parts[part], term.matrix)

    @override
    def backward(self, part: int) -> None:
        for term in self.active:
            term.d_rows.add_product(part, term.upstream.parts[part], term.matrix.t())

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        self.zero_gradients(gradients)
        for term in self.active:
            add_gradient(gradients, term.matrix, term.rows.both.flatten(0, 1).t() @ term.upstream.both.flatten(0, 1))


class _DualMixByElement(_DualLinear):
    """With matrices of the atom's element."""

    @override
    def forward(self, part: int) -> None:
        for term in self.terms:
            self._multiply(term.rows.parts[part], term.matrix, term.result.begun(part))

    @override
    def begin_backward(self) -> None:
        super().begin_backward()
        self._transposed = [term.matrix.transpose(1, 2).contiguous() for term in self.active]

    @override
    def backward(self, part: int) -> None:
        for term, matrices in zip(self.active, self._transposed, strict=True):
            self._multiply(term.upstream.parts[part], matrices, term.d_rows.begun(part))

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        groups = self.atoms.groups
        self.zero_gradients(gradients)
        for term in self.active:
            d_matrices = torch.zeros_like(term.matrix)
            rows, upstream = (self._by_element(both) for both in (term.rows.both, term.upstream.both))
            for number, (left, right) in enumerate(zip(rows, upstream, strict=True)):
                if groups.counts[number]:
                    torch.mm(left.flatten(0, -2).t(), right.flatten(0, -2), out=d_matrices[number])
            add_gradient(gradients, term.matrix, d_matrices)

    def _by_element(self, both: Tensor) -> tuple[Tensor, ...]:
        """Rows of the atoms of each element, (atoms, 2, 2l + 1, columns)."""
        groups = self.atoms.groups
        by_atom = both.view(2, len(groups.order), -1, both.shape[2]).transpose(0, 1)
        return torch.split(by_atom[groups.order], groups.counts)

    def _multiply(self, left: Tensor, matrices: Tensor, out: Tensor) -> None:
        n_atoms = len(self.atoms.types)
        inner, columns = matrices.shape[1:]
        code = _matmul_of_types((len(left) // max(n_atoms, 1), inner, columns))
        given = {"types": self.atoms.types, "left": left, "right": matrices, "out": out}
        work = float(left.numel() * columns)
        cpu.run(code, NO_PRODUCT, cpu.Nodes(0, n_atoms), work, out.new_empty(0, 0, columns), given)


@cache
def _matmul_of_types(sizes: tuple[int, int, int]) -> cpu.Code:
    """Kernel that adds rows times the matrix of the atom's element."""

    def written(table: ProductTable, settings: KernelSettings) -> Builder:
        return matmul_of_types("matmul_of_types", settings, sizes, accumulate=True)

    return written
