"""What a potential does where atoms are closer than the training had them: nuclear repulsion, and a network held still.

A network says anything there. So below the onset d of a pair of elements (see onsets.py)

- the network sees a distance that no longer falls: r' = d - w g((d - r) / w) with g(t) = t - t^3 + t^4 / 2 and
  w = d / 10, down to r' = d - w / 2 at r = d - w, and no further (g' is a smoothstep, so r' has two continuous
  derivatives), and
- the repulsion of Ziegler, Biersack and Littmark is added, switched on between d and d - w, and
- the network's energy of an atom fades out as two of its contacts go from 0.9 d to 0.6 d, or one from 0.5 d to 0.2 d:
  several lengthened distances belong to no geometry, and there is no bound to what a network says of them.

Energy, forces and second derivatives are those of the network alone as long as all pairs are beyond their onsets, and
are continuous there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ase_nbody.contacts import Table, distance_table
from ase_nbody.graph import Graph, edge_vectors
from ase_nbody.kernels.sums import node_sums
from ase_nbody.math.zbl import switched_zbl_energy

SWITCH_WIDTH = 0.1
"""Width w of the region where repulsion rises and the network comes to a halt, as a fraction of the onset."""


FADE_START = 1.0 - SWITCH_WIDTH
"""Distance over onset at which the network's energy of an atom begins to fade."""
FADE_END = 0.6
"""Distance over onset of two contacts at which it has faded out."""
FADE_OF_ONE = (0.5, 0.2)
"""Both of one contact alone: there the repulsion is far stronger than what a network says."""


@dataclass(frozen=True)
class Repulsion:
    """Nuclear repulsion below the closest distances of the training.

    Attributes:
        onsets: distance below which it acts, angstrom, by pair of elements such as "C-H".
    """

    onsets: Mapping[str, float]

    def __post_init__(self) -> None:
        wrong = {pair: onset for pair, onset in self.onsets.items() if not 0 < onset < float("inf")}
        if wrong:
            raise ValueError(f"onsets of the repulsion must be lengths above zero in angstrom, not {wrong}")

    @cached_property
    def table(self) -> Table:
        """Onsets by pair of atomic numbers, (119, 119), angstrom; zero where there is no repulsion."""
        return distance_table(self.onsets)

    def contacts(self, graph: Graph) -> Tensor:
        """Numbers of the edges that are shorter than their onsets, ascending, (K,)."""
        edges = graph.contacts
        if edges is None:
            edges = torch.arange(graph.edges.n_edges, device=graph.positions.device)
        if not len(edges):
            return edges
        vectors = edge_vectors(graph).detach()[edges]
        return edges[vectors.double().norm(dim=1) < self._onsets(graph, edges)]

    def acted_on(self, graph: Graph, contacts: Tensor) -> tuple[Graph, Tensor, Tensor]:
        """What the network sees, what is left of its energies, and the repulsion, all differentiable.

        Args:
            graph: N atoms and E edges.
            contacts: from `contacts`.

        Returns:
            The graph with `vectors`, those of contacts lengthened; factors of the network's energies of the atoms, (N,)
            float64; and energies of the atoms, (N,) float64, eV.
        """
        vectors = edge_vectors(graph)
        short = vectors[contacts]  # (K, 3)
        stretched, energies = self.of_vectors(graph, contacts, short)
        seen = replace(graph, vectors=vectors.index_put((contacts,), stretched))
        atoms = node_sums(energies, graph.edges.receivers[contacts], graph.n_atoms)
        return seen, self._left(graph, contacts, short), atoms

    def seen(self, graph: Graph) -> Graph:
        """A graph as the network sees it, with lengthened vectors where there are contacts."""
        contacts = self.contacts(graph)
        return self.acted_on(graph, contacts)[0] if len(contacts) else graph

    def tangents_of_seen(self, graph: Graph, tangents: Sequence[Tensor]) -> list[Tensor]:
        """Changes of the vectors that the network sees, from those of the vectors of the edges, (E, 3) each."""
        contacts = self.contacts(graph)
        if not len(contacts):
            return list(tangents)
        stretching = self._stretching(graph, contacts)  # (K, 3, 3)
        return [
            tangent.index_put((contacts,), (stretching @ tangent[contacts].unsqueeze(2)).squeeze(2))
            for tangent in tangents
        ]

    def fades(self, graph: Graph, contacts: Tensor) -> bool:
        """Whether the network's energy of an atom may fade."""
        lengths = edge_vectors(graph).detach()[contacts].double().norm(dim=1)
        return bool((lengths < FADE_START * self._onsets(graph, contacts)).any())

    def _left(self, graph: Graph, contacts: Tensor, vectors: Tensor) -> Tensor:
        """(1 - U)^3 with U, at most 1, the products of depths of pairs of contacts and those of one, (N,) float64."""
        fraction = vectors.double().norm(dim=1) / self._onsets(graph, contacts)
        depth, deeper = _depth(fraction, FADE_START, FADE_END), _depth(fraction, *FADE_OF_ONE)  # (K,)
        terms = torch.stack([depth, depth**2, deeper], dim=1)
        total, squares, of_one = node_sums(terms, graph.edges.receivers[contacts], graph.n_atoms).unbind(1)
        total = 0.5 * (total**2 - squares) + of_one
        return (1.0 - torch.clamp(total, max=1.0)) ** 3

    def of_vectors(self, graph: Graph, contacts: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Lengthened vectors and half the repulsion of each contact.

        Args:
            graph: gives the elements.
            contacts: numbers of K edges.
            vectors: of these edges, (K, 3), angstrom.

        Returns:
            (K, 3), angstrom, in the dtype of `vectors`, and (K,) float64, eV.
        """
        onsets = self._onsets(graph, contacts)
        double = vectors.double()
        distances = double.norm(dim=1)  # (K,)
        inner = (1.0 - SWITCH_WIDTH) * onsets
        first, second = (
            graph.atomic_numbers[ends[contacts]].double() for ends in (graph.edges.receivers, graph.edges.senders)
        )
        energies = 0.5 * switched_zbl_energy(distances, first, second, inner, onsets)
        lengthened = double * (_held(distances, onsets) / distances).unsqueeze(1)
        return lengthened.to(vectors.dtype), energies

    def _stretching(self, graph: Graph, contacts: Tensor) -> Tensor:
        """Derivatives of lengthened vectors by the vectors of contacts, (K, 3, 3)."""
        with torch.enable_grad():
            short = edge_vectors(graph)[contacts].detach().requires_grad_()
            stretched, _ = self.of_vectors(graph, contacts, short)
            rows = [torch.autograd.grad(one.sum(), short, retain_graph=True)[0] for one in stretched.unbind(1)]
        return torch.stack(rows, dim=1)

    def _onsets(self, graph: Graph, edges: Tensor) -> Tensor:
        numbers = graph.atomic_numbers
        table = torch.as_tensor(self.table, device=numbers.device)
        return table[numbers[graph.edges.receivers[edges]], numbers[graph.edges.senders[edges]]]


def _depth(fraction: Tensor, start: float, end: float) -> Tensor:
    """A step from 0 at `start` to 1 at `end` with two continuous derivatives."""
    t = torch.clamp((start - fraction) / (start - end), 0.0, 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def _held(distances: Tensor, onsets: Tensor) -> Tensor:
    """The distance r' that the network sees."""
    width = SWITCH_WIDTH * onsets
    t = torch.clamp((onsets - distances) / width, 0.0, 1.0)
    held = onsets - width * (t - t**3 + 0.5 * t**4)
    return torch.where(distances < onsets, held, distances)
