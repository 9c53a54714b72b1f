"""The nuclear repulsion acting on another term: what that sees at short distance, what is left of it, what is added."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.architectures.base import Gradients, gradients_by_vectors
from ase_nbody.contacts import Table
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.kernels.sums import node_sums
from ase_nbody.predictions import Predicted
from ase_nbody.repulsion import Repulsion
from ase_nbody.terms.acting import ActingTerm
from ase_nbody.timings import Timings


@dataclass(frozen=True)
class Repelled(ActingTerm):
    """A term acting on another, which knows nothing of atoms closer than the training had them.

    Beyond the onsets it is the other term. Below, that sees vectors that were lengthened, its energies fade, and the
    repulsion is added (see repulsion.py).

    Attributes:
        repulsion: what acts below its onsets.
    """

    repulsion: Repulsion

    @property
    @override
    def contact_limits(self) -> Table:
        return self.repulsion.table

    @override
    def atomic_energies(self, graph: Graph) -> Tensor:
        contacts = self.repulsion.contacts(graph)
        if not len(contacts):
            return self.inner.atomic_energies(graph)
        seen, left, repulsion = self.repulsion.acted_on(graph, contacts)
        return left * self.inner.atomic_energies(seen) + repulsion

    @override
    def gradients(self, graph: Graph, timings: Timings) -> Gradients | None:
        contacts = self.repulsion.contacts(graph)
        if not len(contacts):
            return self.inner.gradients(graph, timings)
        if self.repulsion.fades(graph, contacts):
            return None
        return self._with_contacts(graph, contacts, timings)

    @override
    def trainable_gradients(self, graph: Graph) -> Gradients | None:
        return None if len(self.repulsion.contacts(graph)) else self.inner.trainable_gradients(graph)

    @override
    def further_predictions(self, graph: Graph) -> tuple[Predicted, ...]:
        return self.inner.further_predictions(self.repulsion.seen(graph))

    def _with_contacts(self, graph: Graph, contacts: Tensor, timings: Timings) -> Gradients | None:
        """Energies and gradients where nothing fades, those of the other term by its own way; None where it has none.

        It gives gradients by the vectors that it sees. Those by the vectors themselves differ for contacts only.
        """
        vectors = edge_vectors(graph)
        with torch.enable_grad():
            short = vectors[contacts].detach().requires_grad_()
            stretched, repulsion = self.repulsion.of_vectors(graph, contacts, short)
        seen = vectors.index_put((contacts,), stretched.detach())
        inner = self.inner.gradients(replace(graph, vectors=seen), timings)
        if inner is None:
            return None
        assert inner.vectors is not None
        upstream = [inner.vectors[contacts], torch.ones_like(repulsion)]
        (d_short,) = torch.autograd.grad([stretched, repulsion], short, upstream)
        d_vectors = inner.vectors.index_put((contacts,), d_short)  # (E, 3)
        of_atoms = node_sums(repulsion.detach(), graph.edges.receivers[contacts], graph.n_atoms)
        found = gradients_by_vectors(graph, inner.energies + of_atoms, vectors, d_vectors)
        return replace(found, features=inner.features)
