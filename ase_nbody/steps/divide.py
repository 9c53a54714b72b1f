"""Messages divided by the density of an atom's neighbours, as MACE's later models do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from typing_extensions import override

from ase_nbody.kernels import division_code
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class Divide(Step):
    """Makes source / (1 + density). It has no tangents.

    Attributes:
        source: state.
        density: state of one invariant and one column, not negative.
        out: state of the source's irreps, of which this is the only source.
    """

    source: str
    density: str
    out: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return self.source, self.density

    @property
    @override
    def keeps(self) -> tuple[str, ...]:
        return self.source, self.density

    @override
    def forward(self, atoms: StepAtoms) -> None:
        density = atoms.values[self.density][0]  # (N, 1, 1)
        for number, block in enumerate(atoms.values[self.source]):
            atoms.add(self.out, number, block / (1.0 + density))

    @override
    def write_forward(self, w: StepWriter) -> None:
        for name in self.reads:
            w.complete(name)
        w.begin(self.out)
        for number, block in enumerate(w.irreps(self.source)):
            settings, components = w.settings(block.columns), block.irrep.dimension
            write = partial(division_code.divided, settings=settings, components=components)
            function = w.function("divided", block, write)
            given = {"density": w.block(self.density, 0), "rows": w.block(self.source, number)}
            w.call(function, **given, out=w.block(self.out, number))

    @override
    def write_backward(self, w: StepWriter) -> None:
        w.complete(f"d_{self.out}")
        w.complete(f"d_{self.density}")
        for number, block in enumerate(w.irreps(self.source)):
            add = not w.first_write(f"d_{self.source}", number)
            settings, components = w.settings(block.columns), block.irrep.dimension
            write = partial(division_code.divided_gradients, settings=settings, components=components, accumulate=add)
            function = w.function("divided_gradients", (block, add), write)
            given = {"density": w.block(self.density, 0), "rows": w.block(self.source, number)}
            results = {"d_rows": w.block(f"d_{self.source}", number), "d_density": w.block(f"d_{self.density}", 0)}
            w.call(function, **given, upstream=w.block(f"d_{self.out}", number), **results)
