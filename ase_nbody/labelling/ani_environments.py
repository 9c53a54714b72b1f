"""Environments of atoms as ANI's networks see them, and gradients of energies that depend on them.

Radial and angular symmetry functions: Smith 2017, doi 10.1039/C6SC05720A, equations 3 and 4, with the factors of
NeuroChem and torchani. Gradients are written out as products with slopes: those of eight networks then share all that
depends on positions alone, which autograd computes for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_RADIAL_FACTOR, _COSINE_FACTOR, _ANGULAR_FACTOR = 0.25, 0.95, 2.0  # torchani.aev, after NeuroChem
_TOGETHER = {"cpu": 8192}  # triples of a product with slopes: what it needs stays in the cache
_TOGETHER_ELSEWHERE = 2**20  # 1 GB for eight networks


@dataclass(frozen=True)
class SymmetryFunctions:
    """What the symmetry functions are made of; names as in equations 3 and 4 of Smith 2017.

    Attributes:
        n_elements: how many elements there are.
        radial_cutoff: angstrom.
        angular_cutoff: angstrom, not longer.
        radial_eta: 1/angstrom^2.
        angular_eta: 1/angstrom^2.
        zeta: exponent of the angular functions.
        radial_shifts: angstrom, (R,).
        angular_shifts: angstrom, (S,).
        angles: radian, (Z,).
    """

    n_elements: int
    radial_cutoff: float
    angular_cutoff: float
    radial_eta: float
    angular_eta: float
    zeta: float
    radial_shifts: Tensor
    angular_shifts: Tensor
    angles: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype) -> SymmetryFunctions:
        """The same on a device and in a dtype."""
        return replace(
            self,
            radial_shifts=self.radial_shifts.to(device, dtype),
            angular_shifts=self.angular_shifts.to(device, dtype),
            angles=self.angles.to(device, dtype),
        )

    def columns(self, present: Tensor) -> tuple[Tensor, Tensor]:
        """Which of all functions may differ from zero where only some elements are.

        Args:
            present: these elements, ascending, (K,).

        Returns:
            Places of the radial and of the angular functions of `Environments` among all, (F,) and (G,).
        """
        device, n_radial = present.device, len(self.radial_shifts)
        n_angular = len(self.angular_shifts) * len(self.angles)
        radial = present[:, None] * n_radial + torch.arange(n_radial, device=device)
        first, second = present[torch.triu_indices(len(present), len(present), device=device)]
        pair = _pair_number(first, second, self.n_elements)
        angular = self.n_elements * n_radial + pair[:, None] * n_angular + torch.arange(n_angular, device=device)
        return radial.flatten(), angular.flatten()


class Environments:
    """Symmetry functions of the atoms of molecules.

    Args:
        functions: in the dtype and on the device of the positions.
        molecules: numbers of the atoms of B molecules, -1 where there is none, (B, A).
        kinds: elements of the atoms, those that are there numbered without gaps, (N,).
        positions: angstrom, (N, 3).

    Attributes:
        radial: (N, F), in the order of `SymmetryFunctions.columns`.
        angular: (N, G).
    """

    def __init__(self, functions: SymmetryFunctions, molecules: Tensor, kinds: Tensor, positions: Tensor) -> None:
        n_kinds = int(kinds.max()) + 1
        n_couples = n_kinds * (n_kinds + 1) // 2
        pairs = _pairs(molecules, positions, functions.radial_cutoff)
        couples = _couples(pairs.centres, pairs.distances <= functions.angular_cutoff)  # (T, 2)
        first, second = kinds[pairs.neighbours[couples]].unbind(1)
        rows = pairs.centres[couples[:, 0]] * n_couples + _pair_number(first, second, n_kinds)
        self._radial = _radial(functions, pairs, pairs.centres * n_kinds + kinds[pairs.neighbours])
        self._angular = _angular(functions, pairs, couples, rows)
        self.radial = _added(self._radial.values, self._radial.rows, len(kinds), n_kinds)
        self.angular = _added(self._angular.values, self._angular.rows, len(kinds), n_couples)

    def gradients(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Gradients with the positions of M energies that depend on the functions.

        Args:
            radial: slopes of the energies with the radial functions, (M, N, F).
            angular: slopes with the angular functions, (M, N, G).

        Returns:
            (M, N, 3).
        """
        size, n_atoms, _ = radial.shape
        total = radial.new_zeros(n_atoms, 3 * size)
        self._add_radial(total, radial.view(size, -1, self._radial.values.shape[1]))
        self._add_angular(total, angular.view(size, -1, self._angular.values.shape[1]))
        return total.view(n_atoms, 3, size).permute(2, 0, 1)

    def _add_radial(self, total: Tensor, slopes: Tensor) -> None:
        """Add the gradients of radial functions to all, (N, 3 M), from their slopes, (M, N kinds, R)."""
        terms = self._radial
        along = torch.einsum("mpr,pr->pm", slopes.index_select(1, terms.rows), terms.slopes)
        forward = (terms.directions[:, :, None] * along[:, None]).flatten(1)  # (P, 3 M)
        total.index_add_(0, terms.neighbours, forward).index_add_(0, terms.centres, forward, alpha=-1)

    def _add_angular(self, total: Tensor, slopes: Tensor) -> None:
        """Add the gradients of angular functions to all, (N, 3 M), from their slopes, (M, N couples, S Z)."""
        terms = self._angular
        together = _TOGETHER.get(slopes.device.type, _TOGETHER_ELSEWHERE)
        for start in range(0, len(terms.rows), together):
            some = slice(start, start + together)
            chosen = slopes.index_select(1, terms.rows[some])  # (M, t, S Z)
            factors = torch.bmm(terms.products[some], chosen.permute(1, 2, 0))  # (t, 3, M)
            factors = factors.permute(1, 2, 0).contiguous()  # couples last: that is fast
            vectors = terms.vectors[:, :, :, None, some]  # (3, 2, 3, 1, t)
            both = factors[0] * vectors[0]  # (2, 3, M, t)
            both.addcmul_(factors[1], vectors[1]).addcmul_(factors[2], vectors[2])
            first, second = both.flatten(1, 2).transpose(1, 2).contiguous()  # (t, 3 M)
            total.index_add_(0, terms.neighbours[some, 0], first).index_add_(0, terms.neighbours[some, 1], second)
            total.index_add_(0, terms.centres[some], first.add_(second), alpha=-1)


@dataclass(frozen=True)
class _Pairs:
    """Ordered pairs of atoms, those of a centre together."""

    centres: Tensor  # (P,)
    neighbours: Tensor  # (P,)
    vectors: Tensor  # (P, 3), to the neighbour
    distances: Tensor  # (P,)


@dataclass(frozen=True)
class _RadialTerms:
    """Equation 3 for every pair, and what changes it."""

    centres: Tensor  # (P,)
    neighbours: Tensor  # (P,)
    rows: Tensor  # (P,), centre and kind of the neighbour: where a pair belongs
    values: Tensor  # (P, R)
    slopes: Tensor  # (P, R), with the distance
    directions: Tensor  # (P, 3)


@dataclass(frozen=True)
class _AngularTerms:
    """Equation 4 for every couple of neighbours of an atom, and what changes it.

    A term is f(cosine) g(mean distance) c(distances). An energy with slopes s of the terms has the gradient
    (s f' g, s f g', s f g) times `vectors`.
    """

    centres: Tensor  # (T,)
    neighbours: Tensor  # (T, 2)
    rows: Tensor  # (T,), centre and kinds of the neighbours: where a couple belongs
    values: Tensor  # (T, S Z)
    products: Tensor  # (T, 3, S Z): f' g, f g', f g
    vectors: Tensor  # (3, 2, 3, T), of each of the two neighbours


def _pair_number(first: Tensor, second: Tensor, n_elements: int) -> Tensor:
    """Number of an unordered pair of elements, along the rows of the upper triangle."""
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    return low * n_elements - low * (low + 1) // 2 + high


def _added(values: Tensor, rows: Tensor, n_atoms: int, n_kinds: int) -> Tensor:
    """Sums of the terms of each row, (N, kinds x functions)."""
    return values.new_zeros(n_atoms * n_kinds, values.shape[1]).index_add_(0, rows, values).view(n_atoms, -1)


def _pairs(molecules: Tensor, positions: Tensor, cutoff: float) -> _Pairs:
    known, places = molecules >= 0, positions[molecules.clamp(min=0)]  # (B, A), (B, A, 3)
    distances = torch.linalg.vector_norm(places[:, None] - places[:, :, None], dim=3)  # (B, A, A)
    near = (distances <= cutoff) & known[:, None] & known[:, :, None]
    near.diagonal(dim1=1, dim2=2).fill_(False)
    molecule, first, second = near.nonzero().unbind(1)
    centres, neighbours = molecules[molecule, first], molecules[molecule, second]
    vectors = positions[neighbours] - positions[centres]
    return _Pairs(centres, neighbours, vectors, torch.linalg.vector_norm(vectors, dim=1))


def _couples(centres: Tensor, is_near: Tensor) -> Tensor:
    """Places of every two near pairs with the same centre, each two once, (T, 2)."""
    near = is_near.nonzero().squeeze(1)
    _, counts = torch.unique_consecutive(centres[near], return_counts=True)  # centres do not ascend
    most = int(counts.max()) if len(counts) else 0
    places = torch.triu_indices(most, most, 1, device=centres.device)  # (2, most (most - 1) / 2)
    centre, column = (places[1] < counts[:, None]).nonzero().unbind(1)
    begins = counts.cumsum(0) - counts
    return near[begins[centre][:, None] + places.T[column]]


def _cosine_cutoff(distances: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Equation 2 and its slope."""
    angles = distances * (math.pi / cutoff)
    return 0.5 * torch.cos(angles) + 0.5, (-0.5 * math.pi / cutoff) * torch.sin(angles)


def _radial(functions: SymmetryFunctions, pairs: _Pairs, rows: Tensor) -> _RadialTerms:
    cutoff, cutoff_slope = (one[:, None] for one in _cosine_cutoff(pairs.distances, functions.radial_cutoff))
    offsets = pairs.distances[:, None] - functions.radial_shifts  # (P, R)
    gaussians = _RADIAL_FACTOR * torch.exp(-functions.radial_eta * offsets.square())
    slopes = gaussians * (cutoff_slope - 2 * functions.radial_eta * offsets * cutoff)
    directions = pairs.vectors / pairs.distances[:, None]
    return _RadialTerms(pairs.centres, pairs.neighbours, rows, gaussians * cutoff, slopes, directions)


def _angular(functions: SymmetryFunctions, pairs: _Pairs, couples: Tensor, rows: Tensor) -> _AngularTerms:
    distances = pairs.distances[couples]  # (T, 2)
    directions = pairs.vectors[couples] / distances[:, :, None]  # (T, 2, 3)
    cosines = _COSINE_FACTOR * (directions[:, 0] * directions[:, 1]).sum(dim=1)  # (T,)
    f, f_slope = _of_angle(functions, cosines[:, None])  # (T, Z)
    offsets = distances.mean(dim=1, keepdim=True) - functions.angular_shifts  # (T, S)
    g = torch.exp(-functions.angular_eta * offsets.square())
    g_slope = -2 * functions.angular_eta * offsets * g
    products = torch.stack([g, g_slope, g], 1)[:, :, :, None] * torch.stack([f_slope, f, f], 1)[:, :, None]
    products = products.flatten(2)  # (T, 3, S Z)
    cutoffs, cutoff_slopes = _cosine_cutoff(distances, functions.angular_cutoff)  # (T, 2)
    c = _ANGULAR_FACTOR * cutoffs.prod(dim=1)[:, None, None]
    turned = (_COSINE_FACTOR * directions.flip(1) - cosines[:, None, None] * directions) / distances[:, :, None]
    cut = (_ANGULAR_FACTOR * cutoff_slopes * cutoffs.flip(1))[:, :, None] * directions
    vectors = torch.stack([c * turned, 0.5 * c * directions, cut]).permute(0, 2, 3, 1).contiguous()  # (3, 2, 3, T)
    centres, neighbours = pairs.centres[couples[:, 0]], pairs.neighbours[couples]
    return _AngularTerms(centres, neighbours, rows, c[:, 0] * products[:, 2], products, vectors)


def _of_angle(functions: SymmetryFunctions, cosines: Tensor) -> tuple[Tensor, Tensor]:
    """The part of equation 4 that depends on the angle, and its slope with the cosine."""
    sines = torch.sqrt(1 - cosines.square())  # the factor of the cosine keeps it off zero
    cos, sin = torch.cos(functions.angles), torch.sin(functions.angles)
    base = 0.5 + 0.5 * (cosines * cos + sines * sin)
    power = base ** (functions.zeta - 1)
    return power * base, 0.5 * functions.zeta * power * (cos - cosines / sines * sin)
