"""Edge functions with tangents: harmonics and radial weights along tangents of the relative vectors, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ase_nbody.kernels import Irrep, cpu, product_table
from ase_nbody.kernels.dual import TANGENTS, VALUES, Dual
from ase_nbody.math import bessel_basis, polynomial_envelope
from ase_nbody.math.harmonics_code import harmonic_gradients, harmonic_tangents, harmonics
from ase_nbody.nn.dual_mixing import Found
from ase_nbody.nn.hidden_code import first_layer_gradients, hidden_gradients, hidden_layers
from ase_nbody.nn.radial import SILU_GAIN, LearnedRadial

_SCALAR = (Irrep(0, 1),)
_NO_PRODUCT = product_table(_SCALAR, _SCALAR, _SCALAR)  # what the kernels of edges are written for


def _run(code: cpu.Code, nodes: cpu.Nodes, work: float, width: int, arguments: cpu.Arguments, like: Tensor) -> None:
    cpu.run(code, _NO_PRODUCT, nodes, work, like.new_empty(0, 0, width), arguments)


def _pair(name: str, both: Tensor) -> dict[str, Tensor]:
    """Values and slopes, (2, E, ...), by the names of their arguments."""
    values, slopes = both.unbind(0)
    return {name: values, f"d_{name}": slopes}


class DualDirections:
    """Harmonics of relative vectors.

    Args:
        vectors: (E, 3), angstrom.
        max_degree: of the harmonics.
    """

    def __init__(self, vectors: Tensor, max_degree: int) -> None:
        self.max_degree = max_degree
        self.vectors = vectors
        self.distances = vectors.new_empty(len(vectors))
        self.harmonics = Dual([vectors.new_empty(2, len(vectors), (max_degree + 1) ** 2)])
        self._run(harmonics(max_degree), harmonics=self.harmonics.parts[VALUES][0], distances=self.distances)

    def pull(self, d_harmonics: Tensor, d_distances: Tensor) -> Tensor:
        """Pulls of the vectors, (E, 3), from those of harmonics, (E, M), and distances, (E,)."""
        d_vectors = torch.empty_like(self.vectors)
        given = {"d_harmonics": d_harmonics, "d_distances": d_distances}
        self._run(harmonic_gradients(self.max_degree), **given, d_vectors=d_vectors)
        return d_vectors

    def move(self, t_vectors: Tensor) -> Tensor:
        """Make the tangents of the harmonics from those of the vectors, (E, 3); those of the distances, (E,)."""
        t_distances = torch.empty_like(self.distances)
        results = {"t_harmonics": self.harmonics.parts[TANGENTS][0], "t_distances": t_distances}
        self._run(harmonic_tangents(self.max_degree), t_vectors=t_vectors.contiguous(), **results)
        return t_distances

    def _run(self, code: cpu.Code, **arguments: Tensor) -> None:
        edges = len(self.vectors)
        work = 20.0 * edges * (self.max_degree + 1) ** 2
        _run(code, cpu.Nodes(0, edges), work, 1, {"vectors": self.vectors, **arguments}, self.vectors)


@dataclass(frozen=True)
class RadialBasis:
    """Bessel functions and envelope of each edge with slopes by the distance.

    Attributes:
        bessel: values and slopes, (2, E, B).
        envelope: times a scale and the gain of silu, (E,).
        envelope_slopes: (E,), 1/angstrom.
        types: number of the pair of types of each edge, (E,) int64.
        type_order: edges sorted by type, (E,).
        type_offsets: where each type begins among these, (T + 1,).
    """

    bessel: Tensor
    envelope: Tensor
    envelope_slopes: Tensor
    types: Tensor
    type_order: Tensor
    type_offsets: Tensor


def radial_basis(
    distances: Tensor,
    types: Tensor,
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
        types: number of the pair of types of each edge, (E,) int64.
        n_types: how many pairs there are.
        cutoff: angstrom.
        envelope_power: of the polynomial envelope.
        n_bessel: number of Bessel functions.
        scale: factor of the envelope, and so of the messages.
    """
    basis = bessel_basis(distances, cutoff, n_bessel) * cutoff**0.5
    wave_numbers = torch.arange(1, n_bessel + 1, dtype=distances.dtype, device=distances.device) * (math.pi / cutoff)
    slopes = torch.cos(distances.unsqueeze(1) * wave_numbers) * (wave_numbers * 2**0.5) - basis
    x, p = (distances / cutoff).clamp(max=1.0), float(envelope_power)
    scale *= SILU_GAIN
    # d/dr of the envelope: -(p (p+1) (p+2) / 2) x^(p-1) (1 - x)^2 / cutoff
    envelope_slopes = x ** (envelope_power - 1) * (1 - x).square() * (-p * (p + 1) * (p + 2) / (2 * cutoff) * scale)
    counts = torch.bincount(types, minlength=n_types)
    return RadialBasis(
        bessel=torch.stack([basis, slopes / distances.unsqueeze(1)]),
        envelope=polynomial_envelope(distances, cutoff, envelope_power) * scale,
        envelope_slopes=envelope_slopes,
        types=types,
        type_order=torch.argsort(types, stable=True),
        type_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
    )


class DualRadial:
    """Radial weights of one level; see `LearnedRadial`.

    Args:
        radial: the network.
        basis: of each edge, with the scale of the messages.
    """

    def __init__(self, radial: LearnedRadial, basis: RadialBasis) -> None:
        self.radial, self.basis = radial, basis
        edges, width = len(basis.types), len(radial.second_bias)
        self.second = radial.second * SILU_GAIN
        self.inputs, self.layer, self.inner, self.both = (basis.bessel.new_empty(2, edges, width) for _ in range(4))
        parameters: dict[str, Tensor] = {"first": radial.first, "first_bias": radial.first_bias}
        parameters |= {"second": self.second, "second_bias": radial.second_bias}
        results = {**_pair("inputs", self.inputs), **_pair("layer", self.layer)}
        results |= {**_pair("inner", self.inner), **_pair("hidden", self.both)}
        arguments = {"types": basis.types, **_pair("bessel", basis.bessel), **self._envelope(), **parameters, **results}
        self._run(hidden_layers(radial.n_bessel), cpu.Nodes(0, edges), arguments)
        hidden, self.slopes = self.both.unbind(0)
        self.weights = hidden.new_empty(3, edges, radial.last.shape[1])  # tangents, values or changes, pulls
        torch.mm(hidden, radial.last, out=self.weights[1])
        self.changed = False  # changes stand in the place of the values

    def pull(self) -> Tensor:
        """Pulls of the distances, (E,), from those of the weights."""
        self.pulls = self.weights[2] @ self.radial.last.t()
        return (self.pulls * self.slopes).sum(dim=1)

    def move(self, t_distances: Tensor) -> None:
        """Make the tangents of the weights from those of the distances, (E,)."""
        self.t_distances = t_distances
        if self.changed:
            torch.mm(self.both[0], self.radial.last, out=self.weights[1])
        self.hidden = torch.stack([self.both[0], self.slopes * t_distances.unsqueeze(1)])
        torch.mm(self.hidden[1], self.radial.last, out=self.weights[0])

    def gradients(self, found: Found) -> None:
        """Put the gradients by the parameters into `found`, from changes and pulls of the weights."""
        self.changed = True
        radial, basis = self.radial, self.basis
        found[id(radial.last)] = self.hidden.flatten(0, 1).t() @ self.weights[1:].flatten(0, 1)
        changes = self.weights[1] @ radial.last.t()
        to_inner, to_inputs = torch.empty_like(self.inner), torch.empty_like(self.inputs)
        upstream = {"t_distances": self.t_distances, "changes": changes, "pulls": self.pulls}
        layers = {**_pair("inputs", self.inputs), **_pair("inner", self.inner), "second": self.second.t().contiguous()}
        results = {**_pair("to_inner", to_inner), **_pair("to_inputs", to_inputs)}
        arguments = {**self._envelope(), **upstream, **layers, **results}
        self._run(hidden_gradients, cpu.Nodes(0, len(basis.types)), arguments)
        found[id(radial.second_bias)] = to_inner[0].sum(dim=0)
        found[id(radial.second)] = (self.layer.flatten(0, 1).t() @ to_inner.flatten(0, 1)) * SILU_GAIN
        d_first, d_bias = torch.empty_like(radial.first), torch.empty_like(radial.first_bias)
        lists = {"offsets": basis.type_offsets, "order": basis.type_order, **_pair("bessel", basis.bessel)}
        arguments = {**lists, **_pair("to_inputs", to_inputs), "d_first": d_first, "d_bias": d_bias}
        types = cpu.Nodes(0, len(radial.first_bias), basis.type_offsets)
        self._run(first_layer_gradients(radial.n_bessel), types, arguments)
        found[id(radial.first)], found[id(radial.first_bias)] = d_first, d_bias

    def _envelope(self) -> dict[str, Tensor]:
        return {"envelope": self.basis.envelope, "d_envelope": self.basis.envelope_slopes}

    def _run(self, code: cpu.Code, nodes: cpu.Nodes, arguments: cpu.Arguments) -> None:
        width = len(self.radial.second_bias)
        work = float(len(self.basis.types)) * width * (width + self.radial.n_bessel) * 2
        _run(code, nodes, work, width, arguments, self.basis.bessel)
