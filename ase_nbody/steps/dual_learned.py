"""The hidden layers of `LearnedRadial` with slopes by the distance, and their gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.compiler import cpu
from ase_nbody.kernels.dual_gates import NO_PRODUCT
from ase_nbody.math import bessel_basis, polynomial_envelope
from ase_nbody.math.radial import polynomial_envelope_slope
from ase_nbody.nn.hidden_code import first_layer_gradients, hidden_gradients, hidden_layers
from ase_nbody.nn.radial import SILU_GAIN, LearnedRadial
from ase_nbody.steps.radial import HiddenLayers, HiddenPass, RadialEdges


class LearnedLayers(HiddenLayers):
    """All layers of a radial network but the last, times the envelope.

    Args:
        radial: the network, of as many types as there are kinds of edges.
        envelope_power: of the polynomial envelope.
    """

    def __init__(self, radial: LearnedRadial, envelope_power: int) -> None:
        self.radial, self.envelope_power = radial, envelope_power
        self.parameters = [radial.first, radial.first_bias, radial.second, radial.second_bias]

    @override
    def on(self, edges: RadialEdges, factors: Tensor) -> HiddenPass:
        return _LearnedPass(self, edges, factors)


@dataclass(frozen=True)
class _Basis:
    """Bessel functions and envelope of each edge with slopes by the distance.

    Attributes:
        bessel: values and slopes, (2, E, B).
        envelope: times the gain of silu, and its slope, (E,) each.
        type_order: edges sorted by kind, (E,).
        type_offsets: where each kind begins among these, (kinds + 1,).
    """

    bessel: Tensor
    envelope: tuple[Tensor, Tensor]
    type_order: Tensor
    type_offsets: Tensor


def _basis(layers: LearnedLayers, edges: RadialEdges) -> _Basis:
    radial, r = layers.radial, edges.distances
    cutoff, power = radial.cutoff, layers.envelope_power
    values = bessel_basis(r, cutoff, radial.n_bessel) * cutoff**0.5
    wave_numbers = torch.arange(1, radial.n_bessel + 1, dtype=r.dtype, device=r.device) * (math.pi / cutoff)
    slopes = torch.cos(r.unsqueeze(1) * wave_numbers) * (wave_numbers * 2**0.5) - values
    counts = torch.bincount(edges.kinds, minlength=len(radial.first_bias))
    envelope = polynomial_envelope(r, cutoff, power), polynomial_envelope_slope(r, cutoff, power)
    return _Basis(
        bessel=torch.stack([values, slopes / r.unsqueeze(1)]),
        envelope=(envelope[0] * SILU_GAIN, envelope[1] * SILU_GAIN),
        type_order=torch.argsort(edges.kinds, stable=True),
        type_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
    )


class _LearnedPass(HiddenPass):
    def __init__(self, layers: LearnedLayers, edges: RadialEdges, factors: Tensor) -> None:
        self._radial, self._kinds = layers.radial, edges.kinds
        radial = self._radial
        key = "learned", radial.cutoff, radial.n_bessel, layers.envelope_power
        self._basis = edges.cached(key, lambda: _basis(layers, edges))
        n_edges, width = len(edges.kinds), len(radial.second_bias)
        self._envelope = {
            name: u * factors for name, u in zip(("envelope", "d_envelope"), self._basis.envelope, strict=True)
        }
        self._second = radial.second * SILU_GAIN
        bessel = self._basis.bessel
        self._inputs, self._layer, self._inner = (edges.empty(2, n_edges, width) for _ in range(3))
        self.rows = edges.empty(3, n_edges, width)
        parameters: dict[str, Tensor] = {"first": radial.first, "first_bias": radial.first_bias}
        parameters |= {"second": self._second, "second_bias": radial.second_bias}
        results = {**_pair("inputs", self._inputs), **_pair("layer", self._layer), **_pair("inner", self._inner)}
        results |= {"hidden": self.rows[0], "d_hidden": self.rows[2]}
        given = {"types": edges.kinds, **_pair("bessel", bessel), **self._envelope}
        self._run(hidden_layers(radial.n_bessel), cpu.Nodes(0, n_edges), {**given, **parameters, **results})

    @override
    def gradients(self, t_cotangents: Tensor, cotangents: Tensor, t_distances: Tensor) -> list[Tensor]:
        radial, basis = self._radial, self._basis
        to_inner, to_inputs = torch.empty_like(self._inner), torch.empty_like(self._inputs)
        upstream = {"t_cotangents": t_cotangents, "cotangents": cotangents, "t_distances": t_distances}
        layers = {**_pair("inputs", self._inputs), **_pair("inner", self._inner)}
        results = {**_pair("to_inner", to_inner), **_pair("to_inputs", to_inputs)}
        given = {**upstream, **self._envelope, **layers, "second": self._second.t().contiguous()}
        self._run(hidden_gradients, cpu.Nodes(0, len(self._kinds)), {**given, **results})
        d_second = (self._layer.flatten(0, 1).t() @ to_inner.flatten(0, 1)) * SILU_GAIN
        d_first, d_bias = torch.empty_like(radial.first), torch.empty_like(radial.first_bias)
        lists = {"offsets": basis.type_offsets, "order": basis.type_order, **_pair("bessel", basis.bessel)}
        arguments = {**lists, **_pair("to_inputs", to_inputs), "d_first": d_first, "d_bias": d_bias}
        kinds = cpu.Nodes(0, len(radial.first_bias), basis.type_offsets)
        self._run(first_layer_gradients(radial.n_bessel), kinds, arguments)
        return [d_first, d_bias, d_second, to_inner[0].sum(dim=0)]

    def _run(self, code: cpu.Code, nodes: cpu.Nodes, arguments: cpu.Arguments) -> None:
        width = len(self._radial.second_bias)
        work = float(len(self._kinds)) * width * (width + self._radial.n_bessel) * 2
        cpu.run(code, NO_PRODUCT, nodes, work, self.rows.new_empty(0, 0, width), arguments)


def _pair(name: str, both: Tensor) -> dict[str, Tensor]:
    """Values and slopes, (2, E, ...), by the names of their arguments."""
    values, slopes = both.unbind(0)
    return {name: values, f"d_{name}": slopes}
