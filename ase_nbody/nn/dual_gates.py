"""Many-body gates on dual states."""

from __future__ import annotations

from ase_nbody.kernels.dual import Batch, Dual, NodeProduct
from ase_nbody.nn.dual_mixing import DualMixing, Found
from ase_nbody.nn.gates import ManyBody


class ManyBodyParts:
    """The mixings of `ManyBody`."""

    def __init__(self, many_body: ManyBody) -> None:
        self.many_body = many_body
        self.order = many_body.body_order
        self.factor = DualMixing(many_body.factor)
        self.linear = DualMixing(many_body.linear)
        if self.order >= 3:
            self.mix_pairs = DualMixing(many_body.mix_pairs)
        if self.order >= 4:
            self.pair_factor = DualMixing(many_body.pair_factor)
            self.mix_triples = DualMixing(many_body.mix_triples)


class ManyBodyPass:
    """`ManyBody` of one batch.

    Args:
        parts: the mixings.
        batch: the nodes.
        fragments: zeroth-order sums.
    """

    def __init__(self, parts: ManyBodyParts, batch: Batch, fragments: Dual) -> None:
        self.parts, self.fragments = parts, fragments
        self.factor = batch.dual(parts.factor.components)
        self.made = batch.dual(parts.linear.components)
        self.d_fragments, self.d_factor = fragments.like(), self.factor.like()
        if parts.order >= 3:
            self.pairs = NodeProduct(batch, parts.many_body.pairs, self.factor, self.factor)
            self.d_pairs = self.pairs.product.like()
        if parts.order >= 4:
            self.pair_factor = batch.dual(parts.pair_factor.components)
            self.triples = NodeProduct(batch, parts.many_body.triples, self.pair_factor, self.factor)
            self.d_pair_factor, self.d_triples = self.pair_factor.like(), self.triples.product.like()

    def fill(self, part: int) -> None:
        """Make values or tangents of `made` from those of the fragments."""
        parts, made = self.parts, self.made.parts[part]
        parts.factor.fill(self.fragments.parts[part], self.factor.parts[part])
        parts.linear.fill(self.factor.parts[part], made)
        if parts.order >= 3:
            self.pairs.fill(part)
            parts.mix_pairs.add(self.pairs.product.parts[part], made)
        if parts.order >= 4:
            parts.pair_factor.fill(self.pairs.product.parts[part], self.pair_factor.parts[part])
            self.triples.fill(part)
            parts.mix_triples.add(self.triples.product.parts[part], made)

    def back(self, part: int, d_made: Dual) -> None:
        """Make pulls or changes of the fragments from those of `made`."""
        parts, upstream = self.parts, d_made.parts[part]
        parts.linear.fill_back(upstream, self.d_factor.parts[part])
        if parts.order >= 3:
            parts.mix_pairs.fill_back(upstream, self.d_pairs.parts[part])
        if parts.order >= 4:
            parts.mix_triples.fill_back(upstream, self.d_triples.parts[part])
            for array in self.d_pair_factor.parts[part]:
                array.zero_()
            self.triples.add_gradients(part, self.d_triples, self.d_pair_factor.parts[part], self.d_factor.parts[part])
            parts.pair_factor.add_back(self.d_pair_factor.parts[part], self.d_pairs.parts[part])
        if parts.order >= 3:
            self.pairs.add_gradients(part, self.d_pairs, self.d_factor.parts[part], self.d_factor.parts[part])
        parts.factor.fill_back(self.d_factor.parts[part], self.d_fragments.parts[part])

    def gradients(self, d_made: Dual, found: Found) -> None:
        """Put the gradients by the parameters into `found`."""
        parts = self.parts
        parts.factor.weight_gradients(self.fragments, self.d_factor, found)
        parts.linear.weight_gradients(self.factor, d_made, found)
        if parts.order >= 3:
            parts.mix_pairs.weight_gradients(self.pairs.product, d_made, found)
        if parts.order >= 4:
            parts.pair_factor.weight_gradients(self.pairs.product, self.d_pair_factor, found)
            parts.mix_triples.weight_gradients(self.triples.product, d_made, found)
