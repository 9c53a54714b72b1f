"""A NequIP network as a list of steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ase_nbody.algebra import Irreps
from ase_nbody.architectures.nequip_settings import NequipParts, NequipSettings
from ase_nbody.architectures.stepped import radial
from ase_nbody.math.radial import smooth_envelope
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN, E3NN_TANH_GAIN, SCALARS, NequipInteraction
from ase_nbody.steps import (
    Activate,
    ActivationFunction,
    Block,
    Contract,
    Description,
    Embed,
    Mix,
    MixByElement,
    Readout,
    StateIrreps,
    Step,
    StepWeights,
    state_irreps,
)
from ase_nbody.steps.dual_perceptron import PerceptronLayers, sloped_polynomial
from ase_nbody.steps.radial import RadialNetwork
from ase_nbody.steps.weights import Hidden

_SCALAR = SCALARS[0]


def has_steps(settings: NequipSettings) -> bool:
    """Whether there is code of all nonlinearities: of gelu in readouts there is none."""
    return settings.readout_activation != "gelu" or settings.readout_depth == 0


def describe(settings: NequipSettings, parts: NequipParts) -> Description:
    """Steps of a network that `has_steps`."""
    layers, scales = parts.layers, parts.neighbour_scales
    by_kind = _differ(scales)
    irreps_of: dict[str, StateIrreps] = {"leaves": state_irreps(SCALARS, layers[0].shape.channels)}
    steps: list[Step] = [Embed("leaves", "embedding")]
    for number, layer in enumerate(layers):
        below = f"states{number - 1}" if number else "leaves"
        irreps_of |= _irreps_of(layer, number)
        steps += _layer(layer, number, below, by_kind=by_kind)
    steps += _readout(settings, parts, f"states{len(layers) - 1}", irreps_of)
    return Description(tuple(irreps_of.items()), tuple(steps), len(settings.elements), settings.max_degree)


def _irreps_of(layer: NequipInteraction, number: int) -> dict[str, StateIrreps]:
    """Of the states of one layer."""
    sizes, table = layer.shape, layer.table
    made = {
        "senders": state_irreps(sizes.irreps, sizes.channels),
        "messages": state_irreps(table.output_irreps, sizes.channels, table.output_multiplicities),
        "mixed": state_irreps(sizes.irreps_out, sizes.channels_out),
        "states": state_irreps(sizes.irreps_out, sizes.channels_out),
    }
    if sizes.gated:
        made["gates"] = (Block(_SCALAR, len(sizes.gated) * sizes.channels_out),)
    return {f"{name}{number}": its_irreps for name, its_irreps in made.items()}


def _layer(layer: NequipInteraction, number: int, below: str, *, by_kind: bool) -> Iterator[Step]:
    """Convolution, self-interactions, self-connection and gate."""
    senders, messages, mixed, states = (f"{name}{number}" for name in ("senders", "messages", "mixed", "states"))
    gates = f"gates{number}" if layer.shape.gated else ""
    yield Mix(below, senders, f"before{number}")
    yield Contract(senders, messages, layer.table, layer.shape.channels, f"radial{number}", by_kind=by_kind)
    yield Mix(messages, mixed, f"after{number}")
    if gates:
        yield Mix(messages, gates, f"after_gates{number}")
    if layer.own is not None:
        yield MixByElement(below, mixed, f"own{number}")
    if layer.own_gates is not None:
        yield MixByElement(below, gates, f"own_gates{number}")
    yield Activate(mixed, gates, states, gate_functions(layer.shape.irreps_out))


def gate_functions(irreps: Irreps) -> tuple[ActivationFunction, ...]:
    """Tanh of odd invariants, silu of even ones and of gates, with e3nn's factors."""
    silu, tanh = ActivationFunction("silu", E3NN_SILU_GAIN), ActivationFunction("tanh", E3NN_TANH_GAIN)
    return tuple(tanh if irrep.degree == 0 and irrep.parity < 0 else silu for irrep in irreps)


def _readout(
    settings: NequipSettings, parts: NequipParts, source: str, irreps_of: dict[str, StateIrreps]
) -> Iterator[Step]:
    """Hidden layers and energies; adds the irreps of the layers."""
    activation, states = settings.readout_activation, source
    *hidden, _ = parts.readout.weights
    for number, weight in enumerate(hidden):
        inner, active = f"inner{number}", f"active{number}"
        irreps_of[inner] = irreps_of[active] = (Block(_SCALAR, weight.shape[1]),)
        yield Mix(source, inner, f"readout{number}")
        assert activation != "gelu"
        yield Activate(inner, "", active, (ActivationFunction(activation, 1.0),))
        source = active
    yield Readout(source, "energies", hidden_from=states)


def weights_of_steps(settings: NequipSettings, parts: NequipParts) -> StepWeights:
    """What the parameters are for these steps. Edges are of as many kinds as there are elements of senders."""
    n_types, embedding, scales = len(settings.elements), parts.embedding, parts.neighbour_scales
    weights = StepWeights(torch.arange(n_types**2, device=embedding.device) % n_types)
    weights.vectors["embedding"] = embedding
    factors = scales if _differ(scales) else scales[0]
    orders = torch.arange(1, settings.bessel_functions + 1, dtype=embedding.dtype, device=embedding.device)
    roots, envelope = orders * (math.pi / settings.cutoff), sloped_polynomial(settings.cutoff, settings.envelope_power)
    for number, layer in enumerate(parts.layers):
        mixings = {"before": layer.before, "after": layer.after, "after_gates": layer.after_gates}
        for name, mixing in mixings.items():
            for irrep, matrix in {} if mixing is None else mixing.weights.items():
                weights.matrices[f"{name}{number}_{irrep}"] = matrix
        for name, own in {"own": layer.own, "own_gates": layer.own_gates}.items():
            for irrep, matrix in {} if own is None else own.weights.items():
                weights.matrices[f"{name}{number}_{irrep}"] = torch.einsum("tv,uvw->tuw", embedding, matrix)
        *inner, last = layer.radial.weights
        layers = PerceptronLayers(roots, settings.cutoff, envelope, inner, gain=1.0)
        hidden = _hidden(inner, settings.cutoff, settings.bessel_functions, settings.envelope_power)
        network = RadialNetwork(layers, last, factors)
        weights.radial[f"radial{number}"] = radial(hidden, network, same_hidden=True)
    *inner, last = parts.readout.weights
    weights.matrices |= {f"readout{number}_{_SCALAR}": matrix for number, matrix in enumerate(inner)}
    weights.vectors["energies"] = parts.energy_scales.unsqueeze(1) * last[:, 0]
    return weights


def _differ(scales: Tensor) -> bool:
    """Whether elements have different factors."""
    return bool((scales != scales[0]).any())


def _hidden(matrices: Sequence[Tensor], cutoff: float, n_bessel: int, envelope_power: int) -> Hidden:
    """The last hidden layer of a radial network, the same for all kinds of edges."""

    def hidden(distances: Tensor, kinds: list[int], piece: int) -> Tensor:
        r = distances.unsqueeze(1)
        orders = torch.arange(1, n_bessel + 1, dtype=torch.float64, device=r.device)
        layer: Tensor = orders * (2 * math.pi / cutoff**2) * torch.sinc(r * orders / cutoff)
        layer = layer * smooth_envelope(r, cutoff, envelope_power)
        for matrix in matrices:
            layer = functional.silu(layer @ matrix.double())
        return layer.unsqueeze(1).expand(-1, len(kinds), -1)

    return hidden
