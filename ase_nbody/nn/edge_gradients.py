"""Edge functions with their slopes by hand: what the gates need of relative vectors when only forces are wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.kernels import EdgeList
from ase_nbody.math import bessel_basis, polynomial_envelope
from ase_nbody.math.harmonics import harmonic_steps
from ase_nbody.nn.radial import SILU_GAIN, LearnedRadial


@dataclass(frozen=True)
class Directions:
    """Harmonics of unit vectors, kept degree by degree for the way back.

    Attributes:
        units: (E, 3).
        inverse: 1 / r, (E, 1), 1/angstrom.
        blocks: harmonics of each degree, (E, 2l+1).
    """

    units: Tensor
    inverse: Tensor
    blocks: list[Tensor]

    def harmonics(self) -> Tensor:
        """All harmonics, (E, (max_degree + 1)^2)."""
        return torch.cat(self.blocks, dim=1)

    def vector_gradient(self, d_harmonics: Tensor, d_distance: Tensor) -> Tensor:
        """Gradient by the relative vectors from those by harmonics, (E, M), and by distance, (E,); (E, 3)."""
        pulls = list(torch.split(d_harmonics, [b.shape[1] for b in self.blocks], dim=1))
        d_units = torch.zeros_like(self.units)
        steps = harmonic_steps(len(self.blocks) - 1, self.units.dtype, self.units.device)
        for degree in range(len(self.blocks) - 1, 0, -1):
            outer = (pulls[degree] @ steps[degree - 1].T).view(-1, 2 * degree - 1, 3)
            d_units += (outer * self.blocks[degree - 1].unsqueeze(2)).sum(dim=1)
            pulls[degree - 1] = pulls[degree - 1] + (outer * self.units.unsqueeze(1)).sum(dim=2)
        along = (d_units * self.units).sum(dim=1, keepdim=True)
        return (d_units - along * self.units) * self.inverse + d_distance.unsqueeze(1) * self.units


def directions(vectors: Tensor, distances: Tensor, max_degree: int) -> Directions:
    """Harmonics up to a degree of relative vectors (E, 3) of given lengths (E,)."""
    inverse = distances.reciprocal().unsqueeze(1)
    units = vectors * inverse
    blocks = [torch.ones_like(inverse)]
    for step in harmonic_steps(max_degree, vectors.dtype, vectors.device):
        outer = blocks[-1].unsqueeze(2) * units.unsqueeze(1)
        blocks.append(outer.flatten(1) @ step)
    return Directions(units, inverse, blocks)


def within_cutoff(edges: EdgeList, vectors: Tensor, cutoff: float) -> tuple[EdgeList, Tensor, Tensor]:
    """The edges shorter than the cutoff, with their vectors (E, 3) and lengths (E,).

    Neighbour lists with a skin hold a third more edges than act.
    """
    distances = vectors.square().sum(dim=1).sqrt()
    keep = distances < cutoff
    number = keep.cumsum(0)  # of kept edges up to and including each edge
    if len(keep) == 0 or int(number[-1]) == len(keep):
        return edges, vectors, distances
    kept = keep.nonzero().squeeze(1)
    by_sender = keep[edges.sender_order]
    return (
        EdgeList(
            senders=edges.senders[kept],
            receivers=edges.receivers[kept],
            receiver_offsets=_counts_before(number, edges.receiver_offsets),
            sender_order=number[edges.sender_order[by_sender]] - 1,
            sender_offsets=_counts_before(by_sender.cumsum(0), edges.sender_offsets),
        ),
        vectors[kept],
        distances[kept],
    )


def _counts_before(number: Tensor, offsets: Tensor) -> Tensor:
    return torch.cat([number.new_zeros(1), number])[offsets]


@dataclass(frozen=True)
class RadialBasis:
    """Bessel functions of each edge in the columns of its pair of types, with slopes.

    Attributes:
        values: (E, T B).
        slopes: by the distance, (E, T B), 1/angstrom.
        envelope: times the scale of the messages, (E, 1).
        envelope_slopes: (E, 1), 1/angstrom.
        types: one-hot pair types, (E, T).
    """

    values: Tensor
    slopes: Tensor
    envelope: Tensor
    envelope_slopes: Tensor
    types: Tensor


def radial_basis(
    distances: Tensor,
    pair_types: Tensor,
    n_types: int,
    *,
    cutoff: float,
    envelope_power: int,
    n_bessel: int,
    scale: float,
) -> RadialBasis:
    """Basis of `LearnedRadial` and envelope.

    Args:
        distances: (E,), angstrom.
        pair_types: number of the pair of types of each edge, (E,) int64.
        n_types: how many there are.
        cutoff: angstrom.
        envelope_power: of the polynomial envelope.
        n_bessel: number of Bessel functions.
        scale: factor of the envelope, and so of the messages.
    """
    types = torch.nn.functional.one_hot(pair_types, n_types).to(distances.dtype)
    basis = bessel_basis(distances, cutoff, n_bessel) * cutoff**0.5
    wave_numbers = torch.arange(1, n_bessel + 1, dtype=distances.dtype, device=distances.device) * (math.pi / cutoff)
    inverse = distances.reciprocal().unsqueeze(1)
    slopes = (torch.cos(distances.unsqueeze(1) * wave_numbers) * (wave_numbers * 2**0.5) - basis) * inverse
    x, p = distances / cutoff, float(envelope_power)
    # d/dr of the envelope: -(p (p+1) (p+2) / 2) x^(p-1) (1 - x)^2 / cutoff
    envelope_slopes = x ** (envelope_power - 1) * (1 - x).square() * (-p * (p + 1) * (p + 2) / (2 * cutoff))
    return RadialBasis(
        values=_by_type(types, basis),
        slopes=_by_type(types, slopes),
        envelope=polynomial_envelope(distances, cutoff, envelope_power).unsqueeze(1) * scale,
        envelope_slopes=envelope_slopes.unsqueeze(1) * scale,
        types=types,
    )


def _by_type(types: Tensor, basis: Tensor) -> Tensor:
    return (types.unsqueeze(2) * basis.unsqueeze(1)).flatten(1)


def hidden_layers(radial: LearnedRadial, basis: RadialBasis) -> tuple[Tensor, Tensor]:
    """Last hidden layer of a radial network times the envelope, and its slope by the distance, (E, H) each."""
    value, slope = _silu(
        torch.addmm(basis.types @ radial.first_bias, basis.values, radial.first), basis.slopes @ radial.first
    )
    value, slope = _silu(torch.addmm(radial.second_bias, value, radial.second), slope @ radial.second)
    return value * basis.envelope, torch.addcmul(slope * basis.envelope, value, basis.envelope_slopes)


def _silu(values: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    gate = torch.sigmoid(values)
    activated = values * gate
    slope = torch.addcmul(gate, activated, 1 - gate)  # s + x s (1 - s)
    return activated * SILU_GAIN, slope * slopes * SILU_GAIN
