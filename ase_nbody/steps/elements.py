"""Steps that know the element of an atom: its state at the beginning, and scales and additions by element."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor
from typing_extensions import override

from ase_nbody.kernels import node_code
from ase_nbody.kernels.dual import COTANGENT_TANGENTS, VALUES, DualArray
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import Accumulator, DualAtoms, DualStep
from ase_nbody.steps.mix import Linear
from ase_nbody.steps.radial import ParameterGradients, add_gradient
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class Embed(Step):
    """Adds a vector of the atom's element to the invariant block of a state.

    Attributes:
        out: state whose first block is invariant.
        weights: name of the vectors, (T, columns).
    """

    out: str
    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return ()

    @override
    def forward(self, atoms: StepAtoms) -> None:
        atoms.add(self.out, 0, atoms.weights.vectors[self.weights][atoms.types].unsqueeze(1))

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualEmbed(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        w.add_rows_of_types(self.weights, self.out, 0)

    @override
    def write_backward(self, w: StepWriter) -> None:
        """Nothing: vectors of elements do not depend on positions."""


@dataclass(frozen=True)
class ScaleByElement(Linear):
    """Adds a state of equal columns times a vector of the atom's element, (T, columns), channel by channel."""

    @override
    def forward(self, atoms: StepAtoms) -> None:
        scales = atoms.weights.vectors[self.weights][atoms.types].unsqueeze(1)
        for number, block in enumerate(atoms.values[self.source]):
            atoms.add(self.out, number, block * scales)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualScale(self, atoms)

    @override
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        types = w.phase.block_of("types")
        for number, block in enumerate(w.irreps(source)):
            if w.is_written(source, number):
                vectors, add = w.vectors(self.weights), not w.first_write(out, number)
                write = partial(
                    node_code.scaled_by_type,
                    settings=w.settings(block.columns),
                    components=block.irrep.dimension,
                    accumulate=add,
                )
                function = w.function("scaled", (block, add), write)
                rows = w.block(source, number)
                w.call(function, types=types, vectors=vectors, rows=rows, out=w.block(out, number))


class _DualEmbed(DualStep):
    """`Embed` with tangents, which are zero."""

    def __init__(self, step: Embed, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.embedded = atoms.states.accumulator(step.out, 0)

    @override
    def forward(self, part: int) -> None:
        if part == VALUES:
            self.embedded.add_product(part, self.atoms.one_hot, self.vectors)
        else:
            self.embedded.begun(part)

    @override
    def begin_backward(self) -> None:
        self.upstream = self.atoms.gradients.find(self.step.out, 0)

    @override
    def backward(self, part: int) -> None:
        """Nothing: it reads no state."""

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        if self.upstream is not None:
            add_gradient(gradients, self.vectors, self.atoms.one_hot.t() @ self.upstream.parts[COTANGENT_TANGENTS])


class _DualScale(DualStep):
    """`ScaleByElement` with tangents."""

    def __init__(self, step: ScaleByElement, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.scales = (atoms.one_hot @ self.vectors).unsqueeze(1)  # (N, 1, C)
        self.terms: list[tuple[int, DualArray, Accumulator]] = []
        self.active: list[tuple[DualArray, DualArray, Accumulator]] = []
        for number in range(len(atoms.states.irreps_of[step.source])):
            rows = atoms.states.find(step.source, number)
            if rows is not None:
                self.terms.append((number, rows, atoms.states.accumulator(step.out, number)))

    @override
    def forward(self, part: int) -> None:
        for _, rows, scaled in self.terms:
            scaled.add(part, self._scaled(rows.parts[part]))

    @override
    def begin_backward(self) -> None:
        for number, rows, _ in self.terms:
            upstream = self.atoms.gradients.find(self.step.out, number)
            if upstream is not None:
                self.active.append((rows, upstream, self.atoms.gradients.accumulator(self.step.source, number)))

    @override
    def backward(self, part: int) -> None:
        for _, upstream, d_rows in self.active:
            d_rows.add(part, self._scaled(upstream.parts[part]))

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        n_atoms, _, columns = self.scales.shape
        for rows, upstream, _ in self.active:
            by_atom = (rows.both * upstream.both).view(2, n_atoms, -1, columns).sum(dim=(0, 2))  # (N, C)
            add_gradient(gradients, self.vectors, self.atoms.one_hot.t() @ by_atom)

    def _scaled(self, rows: Tensor) -> Tensor:
        return (rows.view(len(self.scales), -1, rows.shape[1]) * self.scales).view_as(rows)
