"""MACE's symmetric contraction: covariant polynomials of an atom's state (Batatia et al. 2022, arXiv:2206.07697)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.algebra.polynomials import PolynomialTable, terms
from ase_nbody.compiler.values import Pointer
from ase_nbody.kernels import polynomial_code
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class ContractSymmetric(Step):
    """Makes sums of monomials of the components of each channel, with coefficients of the atom's element.

    It has no tangents.

    Attributes:
        source: state of equal channels.
        out: state of as many channels, of which this is the only source.
        table: the polynomials.
        channels: of both.
        weights: name of the coefficients of the terms, (T, terms channels).
    """

    source: str
    out: str
    table: PolynomialTable
    channels: int
    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    @override
    def keeps(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def length(self) -> int:
        """Coefficients of an element."""
        return len(terms(self.table)) * self.channels

    @override
    def forward(self, atoms: StepAtoms) -> None:
        components = torch.cat(atoms.values[self.source], dim=1)  # (N, M, C)
        vectors = atoms.weights.vectors[self.weights].view(-1, len(terms(self.table)), self.channels)
        coefficients = vectors[atoms.types]  # (N, terms, C)
        out = components.new_zeros(len(components), sum(r.dimension for r in self.table.results), self.channels)
        for factors in self.table.orders:
            chosen = [n for n, term in enumerate(terms(self.table)) if len(term.monomial) == factors]
            if chosen:
                products = self._products(components, factors, chosen)
                outputs = torch.tensor([terms(self.table)[n].output for n in chosen], device=products.device)
                out = out.index_add(1, outputs, products * coefficients[:, chosen])
        first = 0
        for number, result in enumerate(self.table.results):
            atoms.add(self.out, number, out[:, first : first + result.dimension])
            first += result.dimension

    def _products(self, components: Tensor, factors: int, chosen: list[int]) -> Tensor:
        """Monomials of some terms, (N, terms, C)."""
        names = torch.tensor([terms(self.table)[n].monomial for n in chosen], device=components.device)
        products = components[:, names[:, 0]]
        for place in range(1, factors):
            products = products * components[:, names[:, place]]
        return products

    @override
    def write_forward(self, w: StepWriter) -> None:
        settings = w.settings(self.channels)
        function = w.function(
            "polynomials",
            (self.table, self.channels),
            lambda n: polynomial_code.polynomials(n, self.table, settings),
        )
        w.complete(self.source)
        w.begin(self.out)
        w.call(function, **self._given(w), out=w.blocks(self.out))

    @override
    def write_backward(self, w: StepWriter) -> None:
        settings = w.settings(self.channels)
        function = w.function(
            "polynomial_gradients",
            (self.table, self.channels),
            lambda n: polynomial_code.polynomial_gradients(n, self.table, settings),
        )
        w.complete(f"d_{self.out}")
        w.complete(f"d_{self.source}")
        upstream, d_rows = w.blocks(f"d_{self.out}"), w.blocks(f"d_{self.source}")
        w.call(function, **self._given(w), upstream=upstream, d_rows=d_rows)

    def _given(self, w: StepWriter) -> dict[str, Pointer | Sequence[Pointer]]:
        types, vectors = w.phase.block_of("types"), w.vectors(self.weights)
        return {"types": types, "coefficients": vectors, "rows": w.blocks(self.source)}
