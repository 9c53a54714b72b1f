"""An N-body network as a list of steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from ase_nbody.architectures.nbody_gates import SCALARS, Gate, GatedNetwork
from ase_nbody.architectures.stepped import radial
from ase_nbody.math.radial import smooth_envelope
from ase_nbody.nn.gates import LearnedAggregation
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import SILU_GAIN, LearnedRadial
from ase_nbody.steps import (
    Contract,
    Description,
    Embed,
    Mix,
    Product,
    Readout,
    ScaleByElement,
    StateIrreps,
    Step,
    StepWeights,
    state_irreps,
)
from ase_nbody.steps.dual_learned import LearnedLayers
from ase_nbody.steps.radial import RadialNetwork


def describe(network: GatedNetwork) -> Description:
    """Steps of a network of learned radial functions over neighbourhoods."""
    settings = network.settings
    irreps_of: dict[str, StateIrreps] = {"leaves": state_irreps(SCALARS, settings.channels)}
    steps: list[Step] = [Embed("leaves", "embedding")]
    gates = gates_of(network)
    for number, gate in enumerate(gates):
        below = f"states{number - 1}" if number else "leaves"
        irreps_of |= _irreps_of(gate, number, settings.channels)
        steps += _level(gate, number, below, is_last=number == len(gates) - 1)
    size = len(settings.elements), settings.max_degree_edges
    return Description(tuple(irreps_of.items()), tuple(steps), *size, power=2)


def _irreps_of(gate: Gate, number: int, channels: int) -> dict[str, StateIrreps]:
    """Of the states of one level."""
    messages, many_body = gate.aggregation.table, gate.many_body
    products = {"fragments": messages}
    irreps = {"factor": messages.output_irreps, "states": gate.shape.irreps_out, "scaled": gate.shape.irreps}
    if many_body.body_order >= 3:
        products["pairs"] = many_body.pairs
    if many_body.body_order >= 4:
        products["triples"] = many_body.triples
        irreps["pair_factor"] = many_body.triples.first_irreps
    made = {name: state_irreps(t.output_irreps, channels, t.output_multiplicities) for name, t in products.items()}
    made |= {name: state_irreps(its_irreps, channels) for name, its_irreps in irreps.items()}
    return {f"{name}{number}": its_irreps for name, its_irreps in made.items()}


def _level(gate: Gate, number: int, below: str, *, is_last: bool) -> Iterator[Step]:
    """Messages, products, states and their energies, and the atom's own state."""
    many_body, channels = gate.many_body, gate.own_scale.shape[1]
    fragments, factor, pairs, pair_factor, triples, states, scaled = (
        f"{name}{number}" for name in ("fragments", "factor", "pairs", "pair_factor", "triples", "states", "scaled")
    )
    yield Contract(below, fragments, gate.aggregation.table, channels, f"radial{number}")
    yield Mix(fragments, factor, factor)
    if many_body.body_order >= 3:
        yield Product(factor, factor, pairs, many_body.pairs, channels)
    if many_body.body_order >= 4:
        yield Mix(pairs, pair_factor, pair_factor)
        yield Product(pair_factor, factor, triples, many_body.triples, channels)
    yield Mix(factor, states, f"linear{number}")
    if many_body.body_order >= 3:
        yield Mix(pairs, states, f"mix_pairs{number}")
    if many_body.body_order >= 4:
        yield Mix(triples, states, f"mix_triples{number}")
    yield Readout(states, f"readout{number}")
    if not is_last:
        yield ScaleByElement(below, scaled, f"own_scale{number}")
        yield Mix(scaled, states, f"own{number}")


def weights_of_steps(network: GatedNetwork) -> StepWeights:
    """What the parameters are for these steps."""
    settings = network.settings
    weights = StepWeights(torch.arange(len(settings.elements) ** 2))
    weights.vectors["embedding"] = network.embedding
    for number, gate in enumerate(gates_of(network)):
        weights.vectors[f"readout{number}"] = gate.readout
        weights.vectors[f"own_scale{number}"] = gate.own_scale
        for name, mixing in _mixings(gate).items():
            for irrep, matrix in mixing.weights.items():
                weights.matrices[f"{name}{number}_{irrep}"] = matrix
        learned = radial_of(gate)
        factor = torch.tensor(gate.average_neighbours**-0.5, dtype=torch.float64)
        layers = RadialNetwork(LearnedLayers(learned, settings.envelope_power), learned.last, factor)
        hidden = _Hidden(learned, settings.envelope_power)
        weights.radial[f"radial{number}"] = radial(hidden, layers, same_hidden=False)
    return weights


def gates_of(network: GatedNetwork) -> list[Gate]:
    """The gates of all levels."""
    return [cast("Gate", gate) for gate in network.gates]


def radial_of(gate: Gate) -> LearnedRadial:
    """The radial network of a practical gate."""
    return cast("LearnedAggregation", gate.aggregation).radial


def _mixings(gate: Gate) -> dict[str, Mixing]:
    many_body = gate.many_body
    mixings = {"factor": many_body.factor, "linear": many_body.linear, "own": gate.own}
    if many_body.body_order >= 3:
        mixings["mix_pairs"] = many_body.mix_pairs
    if many_body.body_order >= 4:
        mixings |= {"pair_factor": many_body.pair_factor, "mix_triples": many_body.mix_triples}
    return mixings


class _Hidden:
    """The last hidden layer of a radial network times the envelope, for some pairs of elements.

    Args:
        radial: the network.
        envelope_power: of the envelope.
    """

    def __init__(self, radial: LearnedRadial, envelope_power: int) -> None:
        self._radial, self._power = radial, envelope_power

    def __call__(self, distances: Tensor, pairs: list[int], piece: int) -> Tensor:
        """Of distances (R,), (R, pairs, H)."""
        radial = self._radial
        weights = {name: p.double() for name, p in radial.named_parameters()}
        first = weights["first"].view(len(radial.first_bias), radial.n_bessel, -1)[pairs]
        bias = weights["first_bias"][pairs]
        orders = torch.arange(1, radial.n_bessel + 1, dtype=torch.float64)
        r = distances.unsqueeze(1)
        basis = orders * (2**0.5 * math.pi / radial.cutoff) * torch.sinc(r * orders / radial.cutoff)  # (R, B)
        layer = functional.silu(torch.einsum("rb,pbh->rph", basis, first) + bias) * SILU_GAIN
        layer = functional.silu(layer @ weights["second"] + weights["second_bias"]) * SILU_GAIN
        return layer * smooth_envelope(r, radial.cutoff, self._power).unsqueeze(2)
