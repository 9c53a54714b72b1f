"""What terms that act on another term have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor
from typing_extensions import override

from ase_nbody.predictions import Property
from ase_nbody.terms.base import EnergyTerm


@dataclass(frozen=True)
class ActingTerm(EnergyTerm):
    """A term that evaluates another one, in its own way; it predicts the same and reaches as far.

    Attributes:
        inner: the other term.
    """

    inner: EnergyTerm

    @property
    @override
    def properties(self) -> tuple[Property, ...]:
        return self.inner.properties

    @property
    @override
    def cutoff(self) -> float:
        return self.inner.cutoff

    @override
    def with_parameters(self, parameters: Mapping[str, Tensor]) -> Self:
        return replace(self, inner=self.inner.with_parameters(parameters))

    @override
    def with_features(self) -> Self:
        return replace(self, inner=self.inner.with_features())
