"""Hidden layers without biases on sin(k r) / r times an envelope, with slopes by the distance and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.algebra import Irrep
from ase_nbody.kernels.dual import COTANGENT_TANGENTS, COTANGENTS, TANGENTS, VALUES, Dual
from ase_nbody.kernels.dual_gates import DualGates
from ase_nbody.math.radial import polynomial_envelope, polynomial_envelope_slope
from ase_nbody.steps.radial import HiddenLayers, HiddenPass, RadialEdges
from ase_nbody.steps.state_irreps import Block

SlopedEnvelope = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From distances (E,), angstrom, to an envelope and its slope, (E,) each."""


def sloped_polynomial(cutoff: float, power: int) -> SlopedEnvelope:
    """`polynomial_envelope` with its slope, 1/angstrom; see there for the arguments."""
    return lambda r: (polynomial_envelope(r, cutoff, power), polynomial_envelope_slope(r, cutoff, power))


class PerceptronLayers(HiddenLayers):
    """silu(... silu(x W1) W2 ...) times a gain after each layer, x = (2 / cutoff) sin(k r) / r u(r).

    Args:
        roots: k, (B,), 1/angstrom; trained if they require a gradient.
        cutoff: angstrom.
        envelope: u.
        matrices: W1, W2, ...; perhaps none.
        gain: of silu.
        powers: how many copies of the last layer, times r^0, r^1, ..., stand side by side.
    """

    def __init__(
        self,
        roots: Tensor,
        cutoff: float,
        envelope: SlopedEnvelope,
        matrices: Sequence[Tensor],
        *,
        gain: float,
        powers: int = 1,
    ) -> None:
        self.roots, self.cutoff, self.envelope = roots, cutoff, envelope
        self.matrices, self.gain, self.powers = list(matrices), gain, powers
        self.parameters = [*self.matrices, *[roots] * roots.requires_grad]

    @override
    def on(self, edges: RadialEdges, factors: Tensor) -> HiddenPass:
        return _PerceptronPass(self, edges, factors)


class _Sines:
    """x of `PerceptronLayers`.

    Args:
        layers: of which roots and envelope are taken.
        distances: (E,), angstrom.
    """

    def __init__(self, layers: PerceptronLayers, distances: Tensor) -> None:
        self._scale, self._roots = 2 / layers.cutoff, layers.roots.to(distances.dtype)
        self._envelope, self._slope = (u.unsqueeze(1) for u in layers.envelope(distances))
        r = distances.unsqueeze(1)
        self._sine, self._cosine = torch.sin(r * self._roots), torch.cos(r * self._roots)  # (E, B)
        values = self._sine * (self._scale / r)
        slopes = self._cosine * (self._roots * (self._scale / r)) - values / r
        rows = [values * self._envelope, slopes * self._envelope + values * self._slope]
        self.both = torch.stack(rows)  # (2, E, B)

    def by_roots(self, t_cotangents: Tensor, cotangents: Tensor) -> Tensor:
        """Gradients by the roots, (B,), from those by values and slopes, (E, B) each."""
        values = self._cosine * self._envelope
        slopes = self._cosine * self._slope - self._sine * self._roots * self._envelope
        return (t_cotangents * values + cotangents * slopes).sum(dim=0) * self._scale


class _PerceptronPass(HiddenPass):
    def __init__(self, layers: PerceptronLayers, edges: RadialEdges, factors: Tensor) -> None:
        self._layers, self._distances = layers, edges.distances
        self._factors = factors.unsqueeze(1) if factors.dim() else factors
        key = id(layers.roots), layers.envelope
        self._sines = edges.cached(key, lambda: _Sines(layers, edges.distances))
        both = self._sines.both
        self._inputs: list[Tensor] = []
        self._functions: list[DualGates] = []
        for matrix in layers.matrices:
            self._inputs.append(both)
            shape = 2, len(edges.distances), matrix.shape[1]
            rows = Dual.of([torch.mm(both.flatten(0, 1), matrix, out=edges.empty(2 * shape[1], shape[2])).view(shape)])
            block = Block(Irrep(0, 1), matrix.shape[1])
            out = Dual.of([edges.empty(*shape)])
            self._functions.append(DualGates((block,), (("silu", layers.gain),), rows, None, out))
            for part in (VALUES, TANGENTS):
                self._functions[-1].forward(part)
            both = out.both[0]
        self.rows = self._with_powers(both, edges)

    def _with_powers(self, both: Tensor, edges: RadialEdges) -> Tensor:
        """Values times the factors of edges and powers of the distance, room, and slopes, (3, E, H)."""
        values, slopes = both.unbind(0)
        rows = edges.empty(3, len(values), values.shape[1] * self._layers.powers)
        for number in range(self._layers.powers):
            of_values, of_slopes = self._power(number)
            target = rows[:, :, number * values.shape[1] : (number + 1) * values.shape[1]]
            torch.mul(values, of_values, out=target[0])
            torch.mul(slopes, of_values, out=target[2])
            if number:
                target[2].addcmul_(values, of_slopes)
        return rows

    def _power(self, number: int) -> tuple[Tensor, Tensor]:
        """r^n times the factors of edges, and its slope, (E, 1) each; the factors as they are for n = 0."""
        if number == 0:
            return self._factors, torch.zeros_like(self._factors)
        r = self._distances.unsqueeze(1)
        return self._factors * r**number, self._factors * number * r ** (number - 1)

    @override
    def gradients(self, t_cotangents: Tensor, cotangents: Tensor, t_distances: Tensor) -> list[Tensor]:
        width = t_cotangents.shape[1] // self._layers.powers
        by_slopes = cotangents * t_distances.unsqueeze(1)
        upstream = t_cotangents.new_zeros(2, len(t_cotangents), width)
        for number in range(self._layers.powers):
            of_values, of_slopes = self._power(number)
            own = slice(number * width, (number + 1) * width)
            by_values = upstream[COTANGENT_TANGENTS].addcmul_(t_cotangents[:, own], of_values)
            by_values.addcmul_(by_slopes[:, own], of_slopes)
            upstream[COTANGENTS].addcmul_(by_slopes[:, own], of_values)
        gradients: list[Tensor] = []
        layers = zip(self._layers.matrices, self._inputs, self._functions, strict=True)
        for matrix, inputs, function in reversed(list(layers)):
            for part in (COTANGENTS, COTANGENT_TANGENTS):
                function.backward(part, Dual.of([upstream]))
            d_rows = function.d_rows.both[0].flatten(0, 1)
            gradients.insert(0, inputs.flatten(0, 1).t() @ d_rows)
            if matrix is not self._layers.matrices[0] or self._layers.roots.requires_grad:
                upstream = (d_rows @ matrix.t()).view(2, len(t_cotangents), len(matrix))
        if self._layers.roots.requires_grad:
            gradients.append(self._sines.by_roots(*upstream.unbind(0)))
        return gradients
