"""Steps that know the element of an atom: its state at the beginning, and scales and additions by element."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from ase_nbody.kernels import node_code
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.mix import Linear
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
    def up(self, w: StepWriter) -> None:
        w.add_rows_of_types(self.weights, self.out, 0)

    @override
    def down(self, w: StepWriter) -> None:
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
    def write(self, w: StepWriter, source: str, out: str, weights: str) -> None:
        types = w.phase.block_of("types")
        for number, block in enumerate(w.shape(source)):
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
