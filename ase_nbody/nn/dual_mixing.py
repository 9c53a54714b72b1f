"""Mixing of dual states, its transpose and the gradients of its matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ase_nbody.kernels.dual import Dual
from ase_nbody.nn.mixing import Mixing

Found = dict[int, Tensor]  # of a scalar by parameters, by their id


class DualMixing:
    """A `Mixing` of states kept as one array per irrep, (N (2l+1), paths C) each."""

    def __init__(self, mixing: Mixing) -> None:
        irreps = list(mixing.block_of)
        self.weights = [
            (irreps.index(irrep), made, mixing.weights[str(irrep)])
            for made, irrep in enumerate(mixing.irreps_out)
            if irrep in mixing.block_of
        ]
        used = {first for first, _, _ in self.weights}
        self.unused = [number for number in range(len(irreps)) if number not in used]
        filled = {made for _, made, _ in self.weights}
        self.empty = [number for number in range(len(mixing.irreps_out)) if number not in filled]
        self.components = [(irrep.dimension, 1) for irrep in mixing.irreps_out]

    def fill(self, fragments: Sequence[Tensor], mixed: Sequence[Tensor]) -> None:
        """Write the mixed states."""
        for number, made, weight in self.weights:
            torch.mm(fragments[number], weight, out=mixed[made])
        for made in self.empty:
            mixed[made].zero_()

    def add(self, fragments: Sequence[Tensor], mixed: Sequence[Tensor]) -> None:
        """Add the mixed states to what is there."""
        for number, made, weight in self.weights:
            mixed[made].addmm_(fragments[number], weight)

    def fill_back(self, d_mixed: Sequence[Tensor], d_fragments: Sequence[Tensor]) -> None:
        """Write the gradients by fragments from those by the mixed states."""
        for number, made, weight in self.weights:
            torch.mm(d_mixed[made], weight.t(), out=d_fragments[number])
        for number in self.unused:
            d_fragments[number].zero_()

    def add_back(self, d_mixed: Sequence[Tensor], d_fragments: Sequence[Tensor]) -> None:
        """Add the gradients by fragments to what is there."""
        for number, made, weight in self.weights:
            d_fragments[number].addmm_(d_mixed[made], weight.t())

    def weight_gradients(self, fragments: Dual, d_mixed: Dual, found: Found) -> None:
        """Put the gradients by the matrices into `found`."""
        for number, made, weight in self.weights:
            rows, pulls = fragments.both[number].flatten(0, 1), d_mixed.both[made].flatten(0, 1)
            found[id(weight)] = rows.t() @ pulls
