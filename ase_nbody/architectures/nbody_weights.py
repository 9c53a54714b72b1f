"""Weights of an N-body network as its compiled phases take them: folded matrices, vectors by element, radial tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ase_nbody.architectures.nbody_code import LevelCode
from ase_nbody.architectures.nbody_gates import Gate, GatedNetwork
from ase_nbody.architectures.nbody_program import program
from ase_nbody.kernels import Irrep
from ase_nbody.kernels.cpu import vector_bytes
from ase_nbody.kernels.kernel_settings import KernelSettings
from ase_nbody.kernels.programs import Program
from ase_nbody.kernels.splines import Functions, Grid, fitted_grid, interpolate
from ase_nbody.math.radial import smooth_envelope
from ase_nbody.nn.gates import LearnedAggregation
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import SILU_GAIN, LearnedRadial

TABLES = {torch.float32: (3, 1e-6), torch.float64: (7, 1e-10)}
"""Degree of the splines, and their largest error relative to the largest value."""

SCALAR = Irrep(0, 1)


class Versions:
    """What the parameters of a module were at one time.

    Args:
        module: whose submodules stay the same.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tables = [m._parameters for m in module.modules() if m._parameters]
        self._seen = self._now()

    def unchanged(self) -> bool:
        """Whether no parameter has been changed in place, moved or replaced since."""
        return self._now() == self._seen

    def _now(self) -> list[tuple[int, int]]:
        parameters = [p for table in self._tables for p in table.values() if p is not None]
        return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters]


@dataclass(frozen=True)
class Loaded:
    """What the phases need of a network with its present weights, for some of its elements.

    Attributes:
        parameters: of which weights and tables were made.
        types: numbers of the elements that the tables hold.
        program: compiled phases.
        arrays: weights, vectors by element, radial tables and the first row of each pair of types.
    """

    parameters: Versions
    types: frozenset[int]
    program: Program
    arrays: dict[str, Tensor]


def load(network: GatedNetwork, present: frozenset[int]) -> Loaded:
    """Folded weights and tables for pairs of the elements that are present."""
    settings, dtype = network.settings, network.embedding.dtype
    gates = [cast("Gate", gate) for gate in network.gates]
    n_types = len(settings.elements)
    grid = table_grid(network, gates)
    kernel_settings = KernelSettings(
        torch.finfo(dtype).bits, settings.channels, blocked=True, vector_bytes=vector_bytes()
    )
    levels = level_codes(network)
    compiled = program(levels, kernel_settings, grid, settings.max_degree_edges, n_types)
    pairs = [a * n_types + b for a in sorted(present) for b in sorted(present)]
    starts = torch.full((n_types**2,), -1)
    starts[pairs] = torch.arange(len(pairs)) * grid.rows
    arrays = {"weights": compiled.weights(_matrices(gates)), "tables": starts, **_vectors(network, gates)}
    for number, gate in enumerate(gates):
        layer = hidden_layer(radial_of(gate), pairs, settings.envelope_power)
        splines = torch.from_numpy(interpolate(layer, grid)).view(grid.rows, len(pairs), -1)
        table = _table(network, gate, number, splines.transpose(0, 1), pairs)
        arrays[f"table{number}"] = table.to(dtype).contiguous()
    arrays = {name: a if a.dtype == torch.int64 else a.to(dtype).contiguous() for name, a in arrays.items()}
    compiled.check(arrays, "weights", {"types": n_types, "type pairs": n_types**2})
    return Loaded(Versions(network), present, compiled, arrays)


def level_codes(network: GatedNetwork) -> tuple[LevelCode, ...]:
    """What the code of each level depends on."""
    gates = [cast("Gate", gate) for gate in network.gates]
    return tuple(_level_code(gate, number, len(gates)) for number, gate in enumerate(gates))


def table_grid(network: GatedNetwork, gates: list[Gate]) -> Grid:
    """A grid fine enough for all pairs of elements, so that results do not depend on which have been met."""
    pairs, power = range(len(network.settings.elements) ** 2), network.settings.envelope_power
    layers = [
        hidden_layer(radial_of(gate), list(pairs[start : start + _PAIRS_AT_ONCE]), power)
        for gate in gates
        for start in pairs[::_PAIRS_AT_ONCE]
    ]
    degree, tolerance = TABLES[network.embedding.dtype]
    return fitted_grid(layers, network.settings.cutoff, degree=degree, tolerance=tolerance)


_PAIRS_AT_ONCE = 64  # bounds the memory of models of many elements


def _level_code(gate: Gate, number: int, levels: int) -> LevelCode:
    many_body = gate.many_body
    return LevelCode(
        messages=gate.aggregation.table,
        pairs=many_body.pairs if many_body.body_order >= 3 else None,
        triples=many_body.triples if many_body.body_order >= 4 else None,
        irreps_out=gate.shape.irreps_out,
        number=number,
        last=number == levels - 1,
    )


def radial_of(gate: Gate) -> LearnedRadial:
    """The radial network of a practical gate."""
    return cast("LearnedAggregation", gate.aggregation).radial


def hidden_layer(radial: LearnedRadial, pairs: list[int], envelope_power: int) -> Functions:
    """Last hidden layer of the pairs of types times the envelope, as a function of distances, (R, pairs H)."""
    weights = {name: p.detach().double() for name, p in radial.named_parameters()}
    first = weights["first"].view(len(radial.first_bias), radial.n_bessel, -1)[pairs]
    bias = weights["first_bias"][pairs]
    orders = torch.arange(1, radial.n_bessel + 1, dtype=torch.float64)

    def hidden(distances: NDArray[np.floating]) -> NDArray[np.float64]:
        r = torch.from_numpy(distances).unsqueeze(1)
        basis = orders * (2**0.5 * math.pi / radial.cutoff) * torch.sinc(r * orders / radial.cutoff)  # (R, B)
        layer = functional.silu(torch.einsum("rb,pbh->rph", basis, first) + bias) * SILU_GAIN
        layer = functional.silu(layer @ weights["second"] + weights["second_bias"]) * SILU_GAIN
        values: NDArray[np.float64] = (
            (layer * smooth_envelope(r, radial.cutoff, envelope_power).unsqueeze(2)).flatten(1).numpy()
        )
        return values

    return hidden


def _table(network: GatedNetwork, gate: Gate, number: int, splines: Tensor, pairs: list[int]) -> Tensor:
    """Coefficients of the radial weights, (pairs, rows, paths C), from those of the hidden layers (pairs, rows, H)."""
    last = radial_of(gate).last.double() * gate.average_neighbours**-0.5
    if number > 0:
        return torch.matmul(splines, last)
    table, channels = gate.aggregation.table, network.settings.channels
    by_path = last.view(len(last), table.n_paths, channels)
    senders = network.embedding.double()[[pair % len(network.settings.elements) for pair in pairs]]  # (pairs, C)
    mixing = torch.stack([gate.many_body.factor.weights[str(path.irrep)].double() for path in table.paths])
    folded = torch.einsum("hpc,sc,pcd->shpd", by_path, senders, mixing).flatten(2)  # (pairs, H, paths C)
    return torch.matmul(splines, folded)


def _matrices(gates: list[Gate]) -> dict[str, Tensor]:
    """Mixing matrices and their transposes by the names that the phases use."""
    matrices = {}
    for number, gate in enumerate(gates):
        for name, mixing in _mixings(gate).items():
            for irrep, weights in mixing.weights.items():
                matrices[f"{name}{number}_{irrep}"] = weights.detach()
                matrices[f"back_{name}{number}_{irrep}"] = weights.detach().T
    return matrices


def _mixings(gate: Gate) -> dict[str, Mixing]:
    many_body = gate.many_body
    mixings = {"factor": many_body.factor, "linear": many_body.linear, "own": gate.own}
    if many_body.body_order >= 3:
        mixings["mix_pairs"] = many_body.mix_pairs
    if many_body.body_order >= 4:
        mixings |= {"pair_factor": many_body.pair_factor, "mix_triples": many_body.mix_triples}
    return mixings


def _vectors(network: GatedNetwork, gates: list[Gate]) -> dict[str, Tensor]:
    """What has one vector per element: readouts, folded with the mixing at the last level, and the own part."""
    vectors = {}
    for number, gate in enumerate(gates):
        vectors[f"readout{number}_vectors"] = gate.readout.detach()
        vectors[f"own_scale{number}_vectors"] = gate.own_scale.detach()
        scalar = str(SCALAR)
        for name, mixing in _mixings(gate).items():
            if scalar in mixing.weights and name not in ("own", "factor", "pair_factor"):
                vectors[f"{name}{number}_vectors"] = (gate.readout @ mixing.weights[scalar].T).detach()
    scaled = network.embedding * gates[0].own_scale
    vectors["own0_vectors"] = (scaled @ gates[0].own.weights[str(SCALAR)]).detach()
    return vectors
