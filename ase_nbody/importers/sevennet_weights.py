"""How the weights of a model of the package `sevenn` become those of our own network.

Theirs are flat lists in the order of e3nn's instructions, which are divided by the root of their fan-in when used; ours
are matrices by irrep, used as they are. Clebsch-Gordan coefficients and harmonics differ by a sign for each path, which
goes into the last matrix of the radial networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ase_nbody.algebra import Irrep
from ase_nbody.algebra.tables import coefficients
from ase_nbody.architectures.sevennet import SevenNetNetwork
from ase_nbody.architectures.sevennet_layers import SevenNetLayer
from ase_nbody.math import spherical_harmonics
from ase_nbody.steps.state_irreps import StateIrreps

_SORTED_SINCE = (0, 11, 0)  # version of sevenn from which on the radial weights of paths are sorted by their irrep
_SCALAR = Irrep(0, 1)


class Instruction(NamedTuple):
    """One path of a convolution: numbers of the factors' irreps, irrep of the result, and channels."""

    first: int
    second: int
    irrep: Irrep
    channels: int


def copy_weights(
    network: SevenNetNetwork,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    version: tuple[int, ...],
    modality: int | None,
) -> float:
    """Set all parameters of a network, in place.

    Args:
        network: of the settings that give the model's states, in float64.
        config: settings of the model.
        tensors: of the model.
        version: of sevenn that wrote them.
        modality: place of the modality that is wanted, where the model has several.

    Returns:
        What the readout of this modality adds to the energy of every atom.
    """
    number_of_modalities = 0 if modality is None else int(config["_number_of_modalities"])
    n_types = len(network.settings.elements)
    embedding = tensors["onehot_to_feature_x.linear.weight"].double().view(n_types, -1)
    network.embedding.copy_(embedding / n_types**0.5)
    network.roots.copy_(tensors["edge_embedding.basis_function.coeffs"])
    signs = _harmonic_signs(network.settings.max_degree)
    layers = [layer for layer in network.layers if isinstance(layer, SevenNetLayer)]
    for number, layer in enumerate(layers):
        own = {name.partition("_")[2]: t.double() for name, t in tensors.items() if name.startswith(f"{number}_")}
        network.message_factors[number] = 1 / float(own["convolution.denominator"][0])
        modal = _Modal(modality, number_of_modalities) if config.get("use_modality") else _Modal(None, 0)
        _copy_layer(layer, own, signs, version, modal)
    return _copy_readout(network, config, tensors, _Modal(modality, number_of_modalities))


class _Modal(NamedTuple):
    """A modality, and how many there are; none: None and 0."""

    number: int | None
    size: int


def _copy_layer(
    layer: SevenNetLayer, own: Mapping[str, Tensor], signs: Mapping[int, float], version: tuple[int, ...], modal: _Modal
) -> None:
    instructions = list(_instructions(layer))
    result_order = sorted(instructions, key=lambda one: _e3nn_order(one.irrep))
    in_order = result_order if version >= _SORTED_SINCE else instructions
    _copy_radial(layer, own, in_order, signs)
    squares = [(block.irrep, block.columns, block.columns) for block in layer.irreps]
    before, bias = _linear(own["self_interaction_1.linear.weight"], squares, modal)
    for irrep, matrix in before.items():
        layer.before[str(irrep)].copy_(matrix)
    if bias is not None:
        layer.before_bias.copy_(bias)
    _copy_after(layer, own["self_interaction_2.linear.weight"], result_order, modal)
    connected = [(b.irrep, b.columns, layer.width(b.irrep)) for b in layer.irreps if str(b.irrep) in layer.own]
    matrices, _ = _linear(own["self_connection_intro.linear.weight"], connected, _Modal(None, 0))
    for irrep, matrix in matrices.items():
        layer.own[str(irrep)].copy_(matrix)


def _instructions(layer: SevenNetLayer) -> Iterator[Instruction]:
    """Paths in the order in which sevenn makes them."""
    kept = {block.irrep.degree for block in layer.irreps_out}
    for first, block in enumerate(layer.irreps):
        harmonics = layer.tables[block.irrep].second_irreps
        for second, harmonic in enumerate(harmonics):
            for irrep in block.irrep.products(harmonic):
                if irrep.degree <= max(kept):
                    yield Instruction(first, second, irrep, block.columns)


def _e3nn_order(irrep: Irrep) -> tuple[int, int]:
    """e3nn sorts irreps by degree, then by parity."""
    return irrep.degree, -irrep.parity * (-1) ** irrep.degree


def _copy_radial(
    layer: SevenNetLayer, own: Mapping[str, Tensor], instructions: list[Instruction], signs: Mapping[int, float]
) -> None:
    """The radial network; columns of its last matrix are ordered by instruction."""
    matrices = [own[f"convolution.weight_nn.layer{n}.weight"] for n in range(len(layer.hidden) + 1)]
    matrices = [matrix / len(matrix) ** 0.5 for matrix in matrices]
    for parameter, matrix in zip(layer.hidden, matrices[:-1], strict=True):
        parameter.copy_(matrix)
    columns = torch.split(matrices[-1], [one.channels for one in instructions], dim=1)
    by_path = {one[:3]: column for one, column in zip(instructions, columns, strict=True)}
    for first, block in enumerate(layer.irreps):
        table, parts = layer.tables[block.irrep], []
        for path in table.paths:
            degree = table.second_irreps[path.second].degree
            theirs = _coefficients(own, block.irrep.degree, degree, path.irrep.degree)
            ours = torch.from_numpy(coefficients(table, path)) / path.irrep.dimension**0.5
            factor = _factor(theirs, ours, f"Clebsch-Gordan coefficients of {block.irrep} and degree {degree}")
            parts.append(by_path[first, path.second, path.irrep] * (factor * signs[degree]))
        layer.last[str(block.irrep)].copy_(torch.cat(parts, dim=1))


def _coefficients(own: Mapping[str, Tensor], first: int, second: int, result: int) -> Tensor:
    """The model's Clebsch-Gordan coefficients of norm 1: those in its file, e3nn's where it has none."""
    stored = own.get(f"convolution.convolution._compiled_main_left_right._w3j_{first}_{second}_{result}")
    if stored is not None:
        return stored
    from e3nn.o3 import wigner_3j

    found: Tensor = wigner_3j(first, second, result, dtype=torch.float64)
    return found


def _harmonic_signs(max_degree: int) -> dict[int, float]:
    """By degree, the factor between e3nn's harmonics and ours."""
    from e3nn.o3 import spherical_harmonics as theirs

    directions = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = directions / directions.norm(dim=1, keepdim=True)
    ours = torch.split(spherical_harmonics(directions, max_degree), [2 * n + 1 for n in range(max_degree + 1)], dim=1)
    return {
        degree: _factor(theirs(degree, directions, True, "component"), block, f"harmonics of degree {degree}")
        for degree, block in enumerate(ours)
    }


def _factor(theirs: Tensor, ours: Tensor, what: str) -> float:
    """The number by which ours must be multiplied to be theirs, which is 1 or -1.

    Raises:
        ValueError: there is none.
    """
    sign = float(torch.sign((theirs.double() * ours).sum()))
    if not torch.allclose(theirs.double(), sign * ours, rtol=0, atol=1e-6):
        raise ValueError(f"the model's {what} are not ours up to a sign, so its weights cannot be taken over")
    return sign


def _linear(
    flat: Tensor, blocks: list[tuple[Irrep, int, int]], modal: _Modal
) -> tuple[dict[Irrep, Tensor], Tensor | None]:
    """Matrices of an e3nn Linear by irrep, and the constant that a modality adds to the invariants.

    Args:
        flat: the weights of all blocks, then those of the modalities, (count, columns of 0e).
        blocks: irrep, rows and columns of each.
        modal: modality.
    """
    matrices, start = {}, 0
    for irrep, rows, columns in blocks:
        extra = modal.size * (irrep == _SCALAR)
        matrices[irrep] = flat[start : start + rows * columns].view(rows, columns) / (rows + extra) ** 0.5
        start += rows * columns
    rest = flat[start:]
    if modal.number is None:
        if len(rest):
            raise ValueError(f"a linear layer of the model has {len(rest)} weights more than its states account for")
        return matrices, None
    _, rows, columns = next(block for block in blocks if block[0] == _SCALAR)
    constants = rest.view(modal.size, columns) / (rows + modal.size) ** 0.5
    return matrices, constants[modal.number]


def _copy_after(layer: SevenNetLayer, flat: Tensor, instructions: list[Instruction], modal: _Modal) -> None:
    """Mixing of messages: rows of an irrep are ordered by instruction."""
    irreps = sorted({one.irrep for one in instructions}, key=_e3nn_order)
    rows = {irrep: sum(one.channels for one in instructions if one.irrep == irrep) for irrep in irreps}
    wanted = [block.irrep for block in layer.irreps_out]
    blocks = [(irrep, rows[irrep], layer.width(irrep)) for irrep in irreps if irrep in wanted]
    matrices, bias = _linear(flat, blocks, modal)
    if bias is not None:
        layer.after_bias.copy_(bias)
    for irrep, matrix in matrices.items():
        ones = [one for one in instructions if one.irrep == irrep]
        parts = dict(zip([one[:2] for one in ones], torch.split(matrix, [one.channels for one in ones]), strict=True))
        for first, block in enumerate(layer.irreps):
            paths = [path for path in layer.tables[block.irrep].paths if path.irrep == irrep]
            if paths:
                joined = torch.cat([parts[first, path.second] for path in paths])
                layer.after[f"{block.irrep}_{irrep}"].copy_(joined)


def _copy_readout(
    network: SevenNetNetwork, config: Mapping[str, Any], tensors: Mapping[str, Tensor], modal: _Modal
) -> float:
    """The two linear layers of the readout as one; the constant of the modality."""
    hidden = tensors["reduce_hidden_to_energy.linear.weight"].double()
    last: StateIrreps = network.layers[-1].irreps_out  # type: ignore[assignment]
    if not config.get("use_modal_output_block"):
        modal = _Modal(None, 0)
    flat = tensors["reduce_input_to_hidden.linear.weight"].double()
    matrices, bias = _linear(flat, [(_SCALAR, last[0].columns, len(hidden))], modal)
    energies = hidden / len(hidden) ** 0.5
    network.readout.copy_((matrices[_SCALAR] @ energies).unsqueeze(1))
    return 0.0 if bias is None else float(bias @ energies)
