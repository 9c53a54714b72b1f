"""Radial weights of the gates: learned functions of the distance, or the strict powers r^-s of Kondor 2018."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.math import bessel_basis, polynomial_envelope, spherical_harmonics

# 1.0002 times 1 / root mean square of SiLU for normal arguments, E[silu(z)^2]^(-1/2) = 1.67653, so that layers keep
# their variance; trained weights belong to this very number.
SILU_GAIN = 1.6768


@dataclass(frozen=True)
class EdgeFunctions:
    """What the gates of one level share about its edges.

    Attributes:
        distances: (E,), angstrom.
        harmonics: (E, M2).
        envelope: cutoff envelope, (E,).
        types: 1 at the pair of node types of each edge, (E, T) in the dtype of the network.
    """

    distances: Tensor
    harmonics: Tensor
    envelope: Tensor
    types: Tensor


def edge_functions(
    vectors: Tensor, types: Tensor, *, cutoff: float, envelope_power: int, max_degree: int, softening: float
) -> EdgeFunctions:
    """Distances, harmonics and envelope of relative vectors.

    Args:
        vectors: (E, 3), angstrom.
        types: one-hot pair types, (E, T).
        cutoff: angstrom.
        envelope_power: of the polynomial envelope.
        max_degree: highest degree of the harmonics.
        softening: a in sqrt(r^2 + a^2), angstrom; zero between atoms, positive where a child may sit on its
            parent's position, so that harmonics of degree > 0 vanish smoothly there.
    """
    distances = (vectors.square().sum(dim=1) + softening**2).sqrt()  # (E,)
    return EdgeFunctions(
        distances=distances,
        harmonics=spherical_harmonics(vectors / distances.unsqueeze(1), max_degree),
        envelope=polynomial_envelope(distances, cutoff, envelope_power),
        types=types,
    )


class LearnedRadial(nn.Module):
    """A small network from Bessel functions to one weight per path and channel, times the envelope.

    The first layer has its own weights for each pair of node types.

    Args:
        n_types: pairs of node types T.
        n_paths: paths of the contraction.
        channels: channels of the children's states.
        n_bessel: Bessel functions.
        hidden: width of the two hidden layers.
        cutoff: angstrom.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        n_types: int,
        n_paths: int,
        channels: int,
        n_bessel: int,
        hidden: int,
        cutoff: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_bessel, self.n_paths, self.channels, self.cutoff = n_bessel, n_paths, channels, cutoff
        self.first = nn.Parameter(
            torch.randn(n_types * n_bessel, hidden, generator=generator, dtype=torch.float32) / n_bessel**0.5
        )
        self.first_bias = nn.Parameter(torch.zeros(n_types, hidden, dtype=torch.float32))
        self.second = nn.Parameter(torch.randn(hidden, hidden, generator=generator, dtype=torch.float32) / hidden**0.5)
        self.second_bias = nn.Parameter(torch.zeros(hidden, dtype=torch.float32))
        self.last = nn.Parameter(
            torch.randn(hidden, n_paths * channels, generator=generator, dtype=torch.float32) / hidden**0.5
        )

    def forward(self, edges: EdgeFunctions) -> Tensor:
        """Radial weights R, (E, paths, C)."""
        basis = bessel_basis(edges.distances, self.cutoff, self.n_bessel) * self.cutoff**0.5  # (E, B)
        by_type = (edges.types.unsqueeze(2) * basis.unsqueeze(1)).flatten(1)  # (E, T B)
        hidden = functional.silu(by_type @ self.first + edges.types @ self.first_bias) * SILU_GAIN
        hidden = functional.silu(torch.addmm(self.second_bias, hidden, self.second)) * SILU_GAIN
        weights = (hidden * edges.envelope.unsqueeze(1)) @ self.last
        return weights.view(len(weights), self.n_paths, self.channels)
