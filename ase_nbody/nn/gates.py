"""The aggregation rules of N-body networks: zeroth-order and first-order gates (Kondor 2018, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ase_nbody.algebra import Irreps, ProductTable, product_table
from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.kernels import contract, node_product
from ase_nbody.kernels.sums import receiver_sums
from ase_nbody.math import inverse_powers
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import EdgeFunctions, LearnedRadial


class StrictAggregation(nn.Module):
    """The fragments of eq. 10: for each power s the sum over children of r^-s (psi_child x r), times the envelope.

    Here r is the relative vector itself, as in the paper. Nothing is learned: the weights are those of the mixing.

    Args:
        irreps: irreps of the children's states.
        vector: irrep of the relative vector, 1o of O(3), or 1e to count as in SO(3).
        irreps_out: irreps to keep.
        powers: the exponents s.
    """

    def __init__(self, irreps: Irreps, vector: Irreps, irreps_out: Irreps, powers: tuple[int, ...]) -> None:
        super().__init__()
        self.powers = powers
        self.table = product_table(irreps, vector * len(powers), irreps_out)

    def forward(self, states: Tensor, edges: EdgeFunctions, children: EdgeList) -> Tensor:
        """Fragments of all powers and paths, (parents, table.n_output, C)."""
        directions = edges.harmonics[:, 1:4] / 3**0.5
        factors = inverse_powers(edges.distances, tuple(s - 1 for s in self.powers))  # r^-s |r|, (E, S)
        vectors = (factors.unsqueeze(2) * directions.unsqueeze(1)).flatten(1)  # (E, 3 S)
        envelope = edges.envelope[:, None, None].expand(-1, self.table.n_paths, states.shape[2])
        return contract(states, vectors, envelope, children, self.table)


class LearnedAggregation(nn.Module):
    """Sum over children of R(r) (psi_child x Y(r)): eq. 10 with learned radial functions and harmonics of any degree.

    Args:
        irreps: irreps of the children's states.
        edge_irreps: irreps of the harmonics.
        irreps_out: irreps to keep.
        channels: channels of the children's states.
        generator: source of the initial weights.
        n_types: as n_bessel, hidden and cutoff, an argument of LearnedRadial.
        n_bessel: Bessel functions.
        hidden: width of the hidden layers.
        cutoff: angstrom.
    """

    def __init__(
        self,
        irreps: Irreps,
        edge_irreps: Irreps,
        irreps_out: Irreps,
        channels: int,
        generator: torch.Generator,
        *,
        n_types: int,
        n_bessel: int,
        hidden: int,
        cutoff: float,
    ) -> None:
        super().__init__()
        self.table = product_table(irreps, edge_irreps, irreps_out)
        self.radial = LearnedRadial(n_types, self.table.n_paths, channels, n_bessel, hidden, cutoff, generator)

    def forward(self, states: Tensor, edges: EdgeFunctions, children: EdgeList) -> Tensor:
        """Fragments of all paths, (parents, table.n_output, C)."""
        return contract(states, edges.harmonics, self.radial(edges), children, self.table)


class ManyBody(nn.Module):
    """First-order interactions of the children by factorisation, and the order above by a second product.

    The double sum over children of eq. 11 is the tensor product of two zeroth-order sums A x A, so its cost is linear
    in the number of children; (A x A) x A adds four-body terms. Each factor has its own mixing.

    Args:
        fragments: table of the zeroth-order fragments.
        irreps_out: irreps of the parent's state.
        channels: channels of fragments, factors and parent.
        body_order: 2 (zeroth order only), 3 (eq. 11) or 4.
        factor_irreps: irreps kept in A.
        product_irreps: irreps kept in A x A where it is multiplied again.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        fragments: ProductTable,
        irreps_out: Irreps,
        channels: int,
        body_order: int,
        factor_irreps: Irreps,
        product_irreps: Irreps,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.body_order = body_order
        self.factor = Mixing.of_product(fragments, channels, factor_irreps, channels, generator)
        self.linear = _mixing(factor_irreps, irreps_out, channels, generator)
        if body_order >= 3:
            wanted = product_irreps if body_order >= 4 else irreps_out
            self.pairs = product_table(factor_irreps, factor_irreps, wanted, symmetric=True)
            self.mix_pairs = Mixing.of_product(self.pairs, channels, irreps_out, channels, generator)
        if body_order >= 4:
            self.pair_factor = Mixing.of_product(self.pairs, channels, product_irreps, channels, generator)
            self.triples = product_table(product_irreps, factor_irreps, irreps_out)
            self.mix_triples = Mixing.of_product(self.triples, channels, irreps_out, channels, generator)

    def forward(self, fragments: Tensor) -> Tensor:
        """States of the parents that come from their children, (parents, components of irreps_out, C)."""
        factor = self.factor(fragments)
        states: Tensor = self.linear(factor)
        if self.body_order >= 3:
            pairs = node_product(factor, factor, self.pairs)
            states = states + self.mix_pairs(pairs)
        if self.body_order >= 4:
            triples = node_product(self.pair_factor(pairs), factor, self.triples)
            states = states + self.mix_triples(triples)
        return states


class PairAggregation(nn.Module):
    """The fragments of eq. 12: for each power s the sum over pairs of children of r_ij^-s (psi_i x psi_j x r_ij).

    The sum over j for each i is a contraction over pairs of siblings, its product with psi_i a node product; each child
    is weighted by its envelope. The cost is quadratic in the number of children.

    Args:
        irreps: irreps of the children's states.
        vector: irrep of the relative vector.
        irreps_out: irreps to keep.
        powers: the exponents s.
    """

    def __init__(self, irreps: Irreps, vector: Irreps, irreps_out: Irreps, powers: tuple[int, ...]) -> None:
        super().__init__()
        self.powers = powers
        products = {p for i in irreps for p in i.products(vector[0])}
        inner = tuple(sorted(products, key=lambda i: (i.degree, -i.parity)))
        self.inner = product_table(irreps, vector * len(powers), inner)
        expanded = tuple(p.irrep for p in sorted(self.inner.paths, key=lambda p: p.outputs[0]))
        self.order = [o for p in sorted(self.inner.paths, key=lambda p: p.outputs[0]) for o in p.outputs]
        self.table = product_table(irreps, expanded, irreps_out)

    def forward(self, states: Tensor, vectors: Tensor, envelope: Tensor, children: EdgeList) -> Tensor:
        """Fragments of all powers and paths.

        Args:
            states: (children, M, C).
            vectors: r_child - r_parent, (E, 3), angstrom.
            envelope: (E,).
            children: who is whose child.

        Returns:
            (parents, table.n_output, C).
        """
        siblings, sibling_of = sibling_pairs(children)
        pairs = edge_list(children.senders[siblings], sibling_of, children.n_senders, children.n_edges)
        relative = vectors[siblings] - vectors[sibling_of]  # r_j - r_i, (pairs, 3)
        distances = relative.square().sum(dim=1).sqrt()
        factors = inverse_powers(distances, self.powers)  # (pairs, S)
        harmonics = (factors.unsqueeze(2) * relative.unsqueeze(1)).flatten(1)  # (pairs, 3 S)
        weights = (envelope[siblings] * envelope[sibling_of])[:, None, None]
        weights = weights.expand(-1, self.inner.n_paths, states.shape[2])
        fields = contract(states, harmonics, weights, pairs, self.inner)[:, self.order]  # (E, M', C)
        products = node_product(states[children.senders], fields, self.table)  # (E, M'', C)
        return receiver_sums(products, children)


def sibling_pairs(children: EdgeList) -> tuple[Tensor, Tensor]:
    """All ordered pairs of different children of one parent, as edge numbers (j, i) sorted by i, (pairs,) each."""
    offsets = children.receiver_offsets
    first, last = offsets[children.receivers], offsets[children.receivers + 1]
    counts = last - first
    of = torch.repeat_interleave(torch.arange(children.n_edges, device=offsets.device), counts)
    starts = torch.cumsum(counts, dim=0) - counts
    siblings = torch.arange(len(of), device=offsets.device) - starts[of] + first[of]
    different = siblings != of
    return siblings[different], of[different]


def _mixing(irreps: Irreps, irreps_out: Irreps, channels: int, generator: torch.Generator) -> Mixing:
    return Mixing(irreps, (1,) * len(irreps), channels, irreps_out, channels, generator)
