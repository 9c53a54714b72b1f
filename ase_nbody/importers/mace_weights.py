"""How the weights of a model of the package `mace-torch` become those of our own MACE network.

Theirs, as mace_export.py writes them, have a row or a column for every single irrep, in e3nn's order; ours have blocks
of equal channels. Where the two differ, the difference goes into the weights:

- Clebsch-Gordan coefficients and harmonics differ by a sign for each path and degree, and edges point the other way,
  which, with the normalisation of the path, goes into the last matrix of the radial network;
- symmetric contractions are sums of monomials in another basis of the same space, which least squares find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ase_nbody.algebra.irreps import dimension, parse_irreps
from ase_nbody.algebra.polynomials import basis, monomials
from ase_nbody.algebra.tables import coefficients
from ase_nbody.architectures.mace import MaceNetwork
from ase_nbody.architectures.mace_layers import MaceLayer
from ase_nbody.architectures.mace_radial import ElementRadialNetwork, MaceRadial
from ase_nbody.importers.exported import Exported
from ase_nbody.math import spherical_harmonics
from ase_nbody.nn.nequip_layers import E3NN_SILU_GAIN

Arrays = Mapping[str, NDArray[Any]]
Numbers = NDArray[np.float64]
Numbering = NDArray[np.int64]
Described = Mapping[str, Any]
_SAME = 1e-5  # coefficients of order one, made in float32 in some files


def copy_weights(network: MaceNetwork, exported: Exported) -> float:
    """Set all parameters of a network, in place.

    Args:
        network: of the settings that give the model's states, in float64.
        exported: the model.

    Returns:
        What its readout adds to the energy of every atom, in its own units.

    Raises:
        ValueError: its coefficients, harmonics or contractions are not ours up to a change of basis.
    """
    described, arrays = exported.description, exported.arrays
    _set(network.embedding, arrays["embedding"])
    signs = _harmonic_signs(arrays, network.settings.max_degree)
    for number, (layer, one) in enumerate(zip(network.layers, described["layers"], strict=True)):
        assert isinstance(layer, MaceLayer)
        own = {name.partition(".")[2]: a for name, a in arrays.items() if name.startswith(f"layer{number}.")}
        _copy_layer(layer, one, own, signs)
    for number, readout in enumerate(network.readouts):
        _set(readout, arrays[f"readout{number}"][: len(readout)])
    gain = float(arrays["gain"]) / E3NN_SILU_GAIN
    _set(network.inner, arrays["inner"][: len(network.inner)])
    if network.settings.readout_depth == 2:
        _set(network.middle, arrays["middle"] * gain)
        _set(network.middle_constants, arrays["middle_constants"])
    _set(network.outer, arrays["outer"] * gain)
    return float(arrays["outer_constant"])


def _copy_layer(layer: MaceLayer, described: Described, arrays: Arrays, signs: Sequence[float]) -> None:
    _copy_radial(layer, described, arrays, signs)
    below, senders, features, states = (_blocks(described[n]) for n in ("below", "senders", "features", "states"))
    _copy(layer.before, arrays["before"], below, senders)
    factor = layer.settings.average_neighbours / described["average_neighbours"]
    made = features
    if layer.kind == "nonlinear":
        alpha, beta = (float(number) for number in arrays["divisor"])
        factor = 1 / alpha
        layer.density_weight.fill_(beta / alpha)
        made, gates = _with_gates(described["features"])
        _copy(layer.residual, arrays["residual"], senders, made)
        _copy(layer.residual_gates, arrays["residual"], senders, gates)
        _copy(layer.after_gates, arrays["after"] * factor, _fragments(layer, described), gates)
        _copy(layer.turned, arrays["turned"], features, features)
    elif hasattr(layer, "density"):
        factor = 1.0
    _copy(layer.after, arrays["after"] * factor, _fragments(layer, described), made)
    _copy(layer.own, arrays["own"], *(_blocks(listed) for listed in described["own"]))
    _copy(layer.products, arrays["products"], states, states)
    for name, weight in layer.contraction.items():
        irrep, factors = name.split("_")
        theirs = arrays[f"coupling.{irrep}.{factors}"], arrays[f"weights.{irrep}.{factors}"]
        _set(weight, _contraction(layer, irrep, int(factors), *theirs))


def _copy(
    weights: nn.ParameterDict, matrix: NDArray[Any], rows: Mapping[str, Numbering], columns: Mapping[str, Numbering]
) -> None:
    """Blocks of a matrix (rows, columns), or (rows, elements, columns), to weights by irrep."""
    for irrep, weight in weights.items():
        block = matrix[rows[irrep]][..., columns[irrep]]
        _set(weight, block if block.ndim == 2 else block.transpose(1, 0, 2))


def _blocks(listed: Sequence[tuple[str, int]]) -> dict[str, Numbering]:
    """Numbers of the single irreps of each kind."""
    ends = accumulate((count for _, count in listed), initial=0)
    return {irrep: np.arange(a, b) for (irrep, _), (a, b) in zip(listed, pairwise(ends), strict=True)}


def _with_gates(features: Sequence[tuple[str, int]]) -> tuple[dict[str, Numbering], dict[str, Numbering]]:
    """Numbers of features before gates, and of gates, which stand behind the invariants."""
    (first, channels), *others = features
    gates = sum(count for _, count in others)
    both = _blocks([(first, channels), ("gates", gates), *others])
    return both, {first: both["gates"]}


def _fragments(layer: MaceLayer, described: Described) -> dict[str, Numbering]:
    """Numbers of theirs among all fragments, in the order of our paths of each irrep."""
    ends = accumulate((count for _, count in described["fragments"]), initial=0)
    slots = [np.arange(a, b) for a, b in pairwise(ends)]
    table, used = layer.shapes.product, [slots[described["paths"][n][2]] for n in _their_paths(layer, described)]
    return {
        str(irrep): np.concatenate([s for s, path in zip(used, table.paths, strict=True) if path.irrep == irrep])
        for irrep in table.output_irreps
    }


def _their_paths(layer: MaceLayer, described: Described) -> list[int]:
    """For each of our paths, the number of theirs."""
    table = layer.shapes.product
    first, second = table.first_irreps, table.second_irreps
    ours = [[str(first[p.first]), str(second[p.second]), str(p.irrep)] for p in table.paths]
    if sorted(ours) != sorted(described["path_irreps"]):
        raise ValueError("the model's layers have other paths than those of mace in ase_nbody")
    return [described["path_irreps"].index(names) for names in ours]


def _copy_radial(layer: MaceLayer, described: Described, arrays: Arrays, signs: Sequence[float]) -> None:
    """The radial networks; columns of the last matrix are ordered by path."""
    last = _copy_network(layer.radial, described["radial"], arrays, "radial")
    sizes = [described["senders"][path[0]][1] for path in described["paths"]]
    ends = accumulate(sizes, initial=0)
    columns, table, parts = [slice(a, b) for a, b in pairwise(ends)], layer.shapes.product, []
    for path, number in zip(table.paths, _their_paths(layer, described), strict=True):
        names = described["path_irreps"][number]
        what = f"Clebsch-Gordan coefficients {' x '.join(names[:2])} -> {names[2]}"
        factor = _factor(arrays[f"path{number}"], coefficients(table, path), what)
        parts.append(last[:, columns[number]] * (factor * signs[table.second_irreps[path.second].degree]))
    _set(layer.last, np.concatenate(parts, axis=1))
    if hasattr(layer, "density"):
        _set(layer.density_last, _copy_network(layer.density, described["density"], arrays, "density"))


def _copy_network(network: nn.Module, count: int, arrays: Arrays, name: str) -> Numbers:
    """Set hidden layers; returns the last matrix, with constants as its last row where there are some."""
    assert isinstance(network, MaceRadial | ElementRadialNetwork)
    for number, weight in enumerate(network.hidden):
        _set(weight, arrays[f"{name}.{number}"])
    last = arrays[f"{name}.{count - 1}"].astype(np.float64)
    if isinstance(network, MaceRadial):
        return last
    _set(network.senders, arrays[f"{name}.senders"])
    _set(network.receivers, arrays[f"{name}.receivers"])
    for number in range(count - 1):
        for part in ("constants", "scales", "shifts"):
            _set(getattr(network, part)[number], arrays[f"{name}.{part}{number}"])
    return np.concatenate([last, arrays[f"{name}.constants{count - 1}"][None]])


def _harmonic_signs(arrays: Arrays, max_degree: int) -> list[float]:
    """By degree, the factor between harmonics of their vectors, from sender to receiver, and ours of the opposite."""
    ours = spherical_harmonics(torch.as_tensor(arrays["directions"]), max_degree).numpy()
    blocks = [slice(degree**2, (degree + 1) ** 2) for degree in range(max_degree + 1)]
    factors = [_factor(arrays["harmonics"][:, b], ours[:, b], f"harmonics of degree {n}") for n, b in enumerate(blocks)]
    return [factor * (-1) ** degree for degree, factor in enumerate(factors)]


def _factor(theirs: NDArray[Any], ours: NDArray[Any], what: str) -> float:
    factor = float((theirs * ours).sum() / (ours * ours).sum())
    if not np.allclose(theirs, factor * ours, rtol=0, atol=_SAME):
        raise ValueError(f"the model's {what} are not ours times a number, so its weights cannot be taken over")
    return factor


def _contraction(layer: MaceLayer, irrep: str, factors: int, coupling: NDArray[Any], weights: NDArray[Any]) -> Numbers:
    """Weights of our polynomials, (sets, polynomials, C), that make the sums of monomials that theirs make.

    Args:
        layer: of ours.
        irrep: of the result.
        factors: how many.
        coupling: tensors of theirs, (2l + 1, M, ..., M, K).
        weights: of theirs, (sets, K, C).
    """
    irreps, (result,) = layer.shapes.polynomials.irreps, parse_irreps(irrep)
    numbers = {monomial: number for number, monomial in enumerate(monomials(dimension(irreps), factors))}
    places = [numbers[tuple(sorted(index))] for index in np.ndindex(*[dimension(irreps)] * factors)]
    summed = np.zeros((len(numbers), result.dimension, coupling.shape[-1]))
    np.add.at(summed, places, np.moveaxis(coupling.reshape(result.dimension, len(places), -1), 0, 1))
    ours = basis(irreps, factors, result).reshape(-1, result.dimension * len(numbers))
    theirs = summed.transpose(1, 0, 2).reshape(ours.shape[1], -1)
    change, *_ = np.linalg.lstsq(ours.T, theirs, rcond=None)  # (polynomials, K)
    if not np.allclose(ours.T @ change, theirs, rtol=0, atol=_SAME):
        raise ValueError(f"the model's symmetric contraction of {factors} factors to {irrep} is not covariant")
    found: Numbers = np.einsum("pk,skc->spc", change, weights.astype(np.float64))
    return found


def _set(parameter: Tensor, values: NDArray[Any]) -> None:
    if parameter.shape != values.shape:
        raise ValueError(
            f"a matrix of the model has shape {values.shape} where ase_nbody's has {tuple(parameter.shape)}"
        )
    parameter.copy_(torch.as_tensor(np.ascontiguousarray(values)))
