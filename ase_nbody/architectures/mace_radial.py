"""Radial networks of MACE: weights of messages, and the densities by which messages are divided."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from ase.data import atomic_numbers, covalent_radii
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.mace_settings import MaceSettings
from ase_nbody.math.radial import smooth_envelope
from ase_nbody.nn.mixing import random_matrix
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN
from ase_nbody.steps.weights import Hidden

AGNESI = (0.9183, 4.5791, 1.0805)
"""Powers q and p and factor a of the transform in MACE, from ACEpotentials.jl (doi 10.1063/5.0158783)."""


class MaceRadial(nn.Module):
    """Hidden layers of silu between matrices, functions of the distance only or through Agnesi's transform.

    Args:
        settings: of the network.
        widths: of the hidden layers.
        generator: source of the initial weights.
    """

    def __init__(self, settings: MaceSettings, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        sizes = (settings.bessel_functions, *widths)
        self.settings, self.rows = settings, sizes[-1]
        self.hidden = nn.ParameterList(random_matrix(a, b, generator) for a, b in pairwise(sizes))

    def layers(self, distances: Tensor, kinds: list[int]) -> Tensor:
        """The last hidden layer of kinds of edges without the envelope of weights, (R, kinds, H) float64."""
        values = basis(distances, kinds, self.settings)
        for matrix in self.hidden:
            values = functional.silu(values @ matrix.double()) * E3NN_SILU_GAIN
        return values


class ElementRadialNetwork(nn.Module):
    """Hidden layers that know both elements of an edge: linear with constants, normalised (arXiv:1607.06450), silu.

    Args:
        settings: of the network.
        widths: of the hidden layers, at least one.
        generator: source of the initial weights.
    """

    def __init__(self, settings: MaceSettings, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        sizes, elements = (settings.bessel_functions, *widths), len(settings.elements)
        self.settings, self.rows = settings, sizes[-1] + 1
        self.hidden = nn.ParameterList(random_matrix(a, b, generator) for a, b in pairwise(sizes))
        self.senders = random_matrix(elements, widths[0], generator)
        self.receivers = random_matrix(elements, widths[0], generator)
        self.constants, self.scales, self.shifts = (
            nn.ParameterList(nn.Parameter(torch.full((n,), value, dtype=torch.float32)) for n in widths)
            for value in (0.0, 1.0, 0.0)
        )

    def layers(self, distances: Tensor, kinds: list[int]) -> Tensor:
        """As those of `MaceRadial`, and a last column of ones."""
        receivers, senders = _elements(kinds, self.settings)
        values = basis(distances, kinds, self.settings)
        for number, matrix in enumerate(self.hidden):
            values = values @ matrix.double() + self.constants[number].double()
            if number == 0:
                values = values + self.senders[senders].double() + self.receivers[receivers].double()
            scale, shift = self.scales[number].double(), self.shifts[number].double()
            values = functional.silu(functional.layer_norm(values, scale.shape, scale, shift))
        return torch.cat([values, torch.ones_like(values[..., :1])], dim=2)


def weights_hidden(network: MaceRadial | ElementRadialNetwork) -> Hidden:
    """Hidden layers of radial weights, with their envelope."""

    def hidden(distances: Tensor, kinds: list[int], piece: int) -> Tensor:
        return network.layers(distances, kinds) * _envelope_of_weights(distances, network.settings)

    return hidden


def density_hidden(network: MaceRadial | ElementRadialNetwork, last: Tensor) -> Hidden:
    """tanh(x^2) of a network's number x, with their envelope: what a neighbour adds to the density."""

    def hidden(distances: Tensor, kinds: list[int], piece: int) -> Tensor:
        values = torch.tanh((network.layers(distances, kinds) @ last.double()).square())
        return values * _envelope_of_weights(distances, network.settings)

    return hidden


def basis(distances: Tensor, kinds: list[int], settings: MaceSettings) -> Tensor:
    """Bessel functions of distances or of what they are transformed to, (R, kinds, B), smooth beyond both ends."""
    orders = torch.arange(1, settings.bessel_functions + 1, dtype=torch.float64, device=distances.device)
    r = distances[:, None, None]
    x = r.expand(-1, len(kinds), -1) if settings.distance_transform == "none" else agnesi(r, kinds, settings)
    values: Tensor = (2 / settings.cutoff) ** 0.5 * (orders * (math.pi / settings.cutoff))
    values = values * torch.sinc(x * orders / settings.cutoff)
    return values if settings.envelope_of_weights else values * _envelope(r, settings)


def agnesi(r: Tensor, kinds: list[int], settings: MaceSettings) -> Tensor:
    """1 / (1 + a s^q / (1 + s^(q - p))) with s = r / r0, r0 the mean covalent radius of both elements.

    Args:
        r: distances, angstrom, (R, 1, 1); their signs do not count.
        kinds: of edges.
        settings: of the network.
    """
    radii = torch.tensor([covalent_radii[atomic_numbers[e]] for e in settings.elements], device=r.device)
    receivers, senders = _elements(kinds, settings)
    r0 = 0.5 * (radii[receivers] + radii[senders]).double().unsqueeze(1)
    s, (q, p, a) = (r / r0).abs(), AGNESI
    # the same, finite at 0
    return 1 / (1 + a * s**p / (1 + s ** (p - q)))


def _elements(kinds: list[int], settings: MaceSettings) -> tuple[list[int], list[int]]:
    """Numbers of the receivers' and the senders' elements, where kinds are pairs of them."""
    count = len(settings.elements)
    return [kind // count for kind in kinds], [kind % count for kind in kinds]


def _envelope(r: Tensor, settings: MaceSettings) -> Tensor:
    return smooth_envelope(r, settings.cutoff, settings.envelope_power)


def _envelope_of_weights(distances: Tensor, settings: MaceSettings) -> Tensor:
    """(R, 1, 1)."""
    r = distances[:, None, None]
    return _envelope(r, settings) if settings.envelope_of_weights else torch.ones_like(r)
