"""Vectors of a compiled program for other readouts of its network, of which they are a linear function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from ase_nbody.architectures.compiled import Loaded
from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.steps.features import vectors_by_readouts
from ase_nbody.steps.folding import folded


class ReadoutArrays:
    """Makes the arrays that differ between readouts, without new tables.

    Args:
        network: with a description.
        loaded: made of its present weights, without features.
    """

    def __init__(self, network: SteppedNetwork, loaded: Loaded) -> None:
        described, readouts = network.description(), network.linear_readouts()
        assert described is not None
        with _only_readouts_want_gradients(network):
            _, weights = folded(described, network.step_weights())
            assert not any(matrix.requires_grad for matrix in weights.matrices.values())
            self._by_readouts = {
                f"{name}_vectors": vectors_by_readouts(vectors, readouts)
                for name, vectors in weights.vectors.items()
                if vectors.requires_grad
            }
        self.loaded = loaded
        self._readouts = {name: readout.detach().clone() for name, readout in network.named_readouts().items()}

    def arrays(self, readouts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Arrays in place of those that were loaded.

        Args:
            readouts: all of the network's, by name.
        """
        change = torch.cat([(readouts[name] - own).flatten() for name, own in self._readouts.items()])
        loaded = self.loaded.arrays
        return {
            name: loaded[name] + (by_readouts @ change).view_as(loaded[name])
            for name, by_readouts in self._by_readouts.items()
        }


@contextmanager
def _only_readouts_want_gradients(network: SteppedNetwork) -> Iterator[None]:
    """For a while, whatever wanted gradients before."""
    before = {parameter: parameter.requires_grad for parameter in network.parameters()}
    try:
        with torch.inference_mode(False), torch.enable_grad():
            network.requires_grad_(False)
            for readout in network.linear_readouts():
                readout.requires_grad_(True)
            yield
    finally:
        for parameter, wanted in before.items():
            parameter.requires_grad_(wanted)
