"""The mean of a term over structures and their mirror images, for networks that reflection changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from typing_extensions import override

from ase_nbody.architectures.base import Gradients
from ase_nbody.contacts import Table
from ase_nbody.graph import Graph, inverted
from ase_nbody.predictions import Predicted
from ase_nbody.terms.acting import ActingTerm
from ase_nbody.timings import Timings


@dataclass(frozen=True)
class MeanOverInversion(ActingTerm):
    """The mean of the other term, which is evaluated twice."""

    @property
    @override
    def contact_limits(self) -> Table | None:
        return self.inner.contact_limits

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        return 0.5 * (self.inner.atomic_energies(graph) + self.inner.atomic_energies(inverted(graph)))

    @override
    def gradients(self, graph: Graph, timings: Timings) -> Gradients | None:
        here = self.inner.gradients(graph, timings)
        return None if here is None else _mean(here, self.inner.gradients(inverted(graph), timings))

    @override
    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        here = self.inner.trainable_gradients(graph)
        return None if here is None else _mean(here, self.inner.trainable_gradients(inverted(graph)))

    @override
    def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
        pairs = zip(self.inner.further_predictions(graph), self.inner.further_predictions(inverted(graph)), strict=True)
        return tuple(
            replace(here, values=0.5 * (here.values + here.property.parity * there.values)) for here, there in pairs
        )


def _mean(here: Gradients, there: Gradients | None) -> Gradients | None:
    """Of a structure and its mirror image, whose gradients by positions and vectors have the other sign.

    Features are those of the structure.
    """
    if there is None:
        return None
    vectors = None
    if here.vectors is not None and there.vectors is not None:
        vectors = 0.5 * (here.vectors - there.vectors)
    return Gradients(
        energies=0.5 * (here.energies + there.energies),
        positions=0.5 * (here.positions - there.positions),
        strain=0.5 * (here.strain + there.strain),
        vectors=vectors,
        features=here.features,
    )
