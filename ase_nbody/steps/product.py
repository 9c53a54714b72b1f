"""The channel-wise Clebsch-Gordan product of two states of an atom."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from typing_extensions import override

from ase_nbody.algebra import ProductTable
from ase_nbody.kernels import node_code, node_product
from ase_nbody.kernels.dual import NodeProduct
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import Accumulator, DualAtoms, DualStep, add_offered
from ase_nbody.steps.radial import ParameterGradients
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class Product(Step):
    """Makes first x second (Kondor 2018, section 4.2): the only nonlinearity of N-body networks.

    Attributes:
        first: state.
        second: state, or the same.
        out: state, of which this is the only source.
        table: the product.
        channels: of all three.
    """

    first: str
    second: str
    out: str
    table: ProductTable
    channels: int

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return self.first, self.second

    @property
    @override
    def keeps(self) -> tuple[str, ...]:
        return self.first, self.second

    @override
    def forward(self, atoms: StepAtoms) -> None:
        first, second = (torch.cat(atoms.values[name], dim=1) for name in self.reads)
        atoms.add_all(self.out, node_product(first, second, self.table))

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualProduct(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        settings = w.settings(self.channels)
        function = w.function("products", self._key, lambda n: node_code.products(n, self.table, settings))
        for name in self.reads:
            w.complete(name)
        w.begin(self.out)
        w.call(function, first=w.blocks(self.first), second=w.blocks(self.second), product=w.blocks(self.out))

    @override
    def write_backward(self, w: StepWriter) -> None:
        w.complete(f"d_{self.out}")
        w.complete(f"d_{self.second}")
        upstream, d_second = w.blocks(f"d_{self.out}"), w.blocks(f"d_{self.second}")
        settings = w.settings(self.channels)
        if self.first == self.second:
            function = w.function(
                "square_gradients", self._key, lambda n: node_code.square_gradients(n, self.table, settings)
            )
            w.call(function, factor=w.blocks(self.first), upstream=upstream, d_factor=d_second)
            return
        add = w.complete_or_begin(f"d_{self.first}")
        function = w.function(
            "product_gradients",
            (*self._key, add),
            lambda n: node_code.product_gradients(n, self.table, settings, add_to_first=add),
        )
        factors = {"first": w.blocks(self.first), "second": w.blocks(self.second)}
        w.call(function, **factors, upstream=upstream, d_first=w.blocks(f"d_{self.first}"), d_second=d_second)

    @property
    def _key(self) -> tuple[ProductTable, int]:
        return self.table, self.channels


class _DualProduct(DualStep):
    """`Product` with tangents."""

    def __init__(self, step: Product, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        first, second = (atoms.states.complete(name) for name in step.reads)
        self.product = NodeProduct(atoms.batch(step.channels), step.table, first, second)
        self.offered = atoms.states.offer(step.out, self.product.product)

    @override
    def forward(self, part: int) -> None:
        self.product.forward(part)
        add_offered(self.offered, part)

    @override
    def begin_backward(self) -> None:
        self.upstream = self.atoms.gradients.complete(self.step.out)
        self.d_factors = {name: self._d_factor(name) for name in dict.fromkeys(self.step.reads)}

    @override
    def backward(self, part: int) -> None:
        begun = {name: [block.begun(part) for block in blocks] for name, blocks in self.d_factors.items()}
        self.product.add_gradients(part, self.upstream, begun[self.step.first], begun[self.step.second])

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        """None: it has no weights."""

    def _d_factor(self, name: str) -> list[Accumulator]:
        gradients = self.atoms.gradients
        return [gradients.accumulator(name, number) for number in range(len(gradients.irreps_of[name]))]
