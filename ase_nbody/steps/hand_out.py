"""What the compiled evaluation hands out beside energies: the invariants that these are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from ase_nbody.kernels import node_code
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.readout import have_neighbours
from ase_nbody.steps.writer import StepWriter

FEATURES = "features"
"""Array that they are handed out in, (N, columns of all)."""


@dataclass(frozen=True)
class HandOut(Step):
    """Adds the first block of a state, as it is now, to the features; those of atoms without neighbours stay zero.

    Attributes:
        source: state whose first block is invariant.
        first: column of the features where it begins.
        total: columns of all features.
    """

    source: str
    first: int
    total: int
    out = ""

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def forward(self, atoms: StepAtoms) -> None:
        scalars = atoms.values[self.source][0][:, 0]
        atoms.features.append(scalars * have_neighbours(atoms.pairs, scalars))

    @override
    def write_forward(self, w: StepWriter) -> None:
        length = w.irreps(self.source)[0].length
        write = partial(node_code.columns, settings=w.settings(length), first=self.first, total=self.total)
        function = w.function("columns", (length, self.first), write)
        rows = w.whole_blocks(self.source)[0]
        w.call_on_nodes(function, **w.phase.wholes("offsets", "ends", out=FEATURES), rows=rows)

    @override
    def write_backward(self, w: StepWriter) -> None:
        """Nothing: nothing depends on features."""
